// The last events of a shard as lines for stderr.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/flight_recorder.hpp"

namespace weir::detail {

/// "-1.204331 s accept 10.0.0.7:41022 at port 443", as much of it as there is room for. It
/// allocates nothing and calls nothing that a signal's handler may not.
std::string_view in_words(const flight_event& event, instant now, std::span<char> into) noexcept;

/// What stands in for an error, without a place in memory of its own. Never null.
const char* words_of_error(const flight_event& event) noexcept;

/// The last `most` events at most.
std::vector<std::string> lines_of_last(const flight_recorder& of, instant now, std::size_t most);

}  // namespace weir::detail
