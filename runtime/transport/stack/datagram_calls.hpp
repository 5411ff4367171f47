// What a shard with a stack inside and a stack on a thread of its own ask of a host alike about
// UDP: sockets as options want them, datagrams that leave, and what is shown of a socket.
#pragma once

#include <system_error>

#include "runtime/observe/snapshot.hpp"
#include "weir/detail/datagram.hpp"
#include "weir/stack/host.hpp"

namespace weir::detail {

/// As datagram_transport::open(): the options are complete.
result<stack::socket_id> open_datagrams(stack::host& host, const endpoint& local,
                                        const endpoint* remote, const udp_options& options);

/// All that the operation has, or up to an error; `sent` says how many of a batch.
std::error_code send_datagrams(stack::host& host, instant now, stack::socket_id id,
                               send_datagram_operation& op);

/// What is known of a datagram beside its bytes.
template <class Received>
void describe(const Received& from, incoming_datagram& to) {
  to.segment = 0;
  to.from = from.from;
  to.to = {from.to, 0};
  to.mark = static_cast<ecn_mark>(from.ecn);
}

/// Adds the socket to what is shown; one that has gone is left out.
void show_datagrams(const stack::host& host, stack::socket_id id, known read_waits,
                    shard_snapshot& into);

}  // namespace weir::detail
