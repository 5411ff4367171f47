// Carrying out a write on a host, piece by piece.
#pragma once

#include <system_error>

#include "weir/detail/home.hpp"
#include "weir/stack/host.hpp"

namespace weir::detail {

/// Sends as much as the host takes; it is asked until it takes no more, since only then it tells
/// when there is room. operation_would_block: it is not over. Anything else is how it ended.
std::error_code write_more(stack::host& host, instant now, stack::socket_id id,
                           write_operation& op);

}  // namespace weir::detail
