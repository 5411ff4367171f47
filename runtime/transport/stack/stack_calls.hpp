// What a shard with a stack inside and a stack on a thread of its own ask of a host alike: a
// connection, its options, and a write, piece by piece.
#pragma once

#include <system_error>

#include "weir/detail/home.hpp"
#include "weir/options.hpp"
#include "weir/stack/host.hpp"

namespace weir::detail {

/// Begins what the operation asks for.
result<stack::socket_id> connect(stack::host& host, instant now, const connect_operation& op);

/// Of a connection that failed before it was made: connection_refused where the host knows no
/// reason.
std::error_code why_not_connected(const stack::host& host, stack::socket_id id);

std::error_code set_options(stack::host& host, instant now, stack::socket_id id,
                            const stream_options& options);

/// Sends as much as the host takes; it is asked until it takes no more, since only then it tells
/// when there is room. operation_would_block: it is not over. Anything else is how it ended.
std::error_code write_more(stack::host& host, instant now, stack::socket_id id,
                           write_operation& op);

}  // namespace weir::detail
