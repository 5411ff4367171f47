// Carrying out a write on a host, piece by piece: which part of it comes next is in the operation's
// scratch space.
#pragma once

#include <system_error>

#include "weir/detail/transport.hpp"
#include "weir/stack/host.hpp"

namespace weir::detail {

/// Before the first write_more().
void begin_write(write_operation& op) noexcept;
/// Sends as much as the host takes; it is asked until it takes no more, since only then it tells
/// when there is room. operation_would_block: it is not over. Anything else is how it ended.
std::error_code write_more(stack::host& host, instant now, stack::socket_id id,
                           write_operation& op);

}  // namespace weir::detail
