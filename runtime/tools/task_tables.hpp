// What weir-ps prints: the server's /tasks as a list, a tree or counts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace ps {

enum class form : std::uint8_t { list, tree, groups };

/// Throws nlohmann::json::exception where it is not what /tasks gives.
std::string to_text(const nlohmann::json& tasks, form as, bool header);

/// "10s", "200ms", "5m", "2h", "3" (seconds), in milliseconds.
std::optional<std::uint64_t> milliseconds_in(std::string_view text);

}  // namespace ps
