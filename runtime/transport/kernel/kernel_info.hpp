// What the kernel tells of its sockets (TCP_INFO, SIOCINQ, SIOCOUTQ, SO_MEMINFO) in the names that
// weir's own stack uses. What the kernel does not tell stays absent. For transport/uring and
// transport/asio; a few system calls a socket, so never on a data path.
#pragma once

#include "observe/snapshot.hpp"
#include "weir/options.hpp"

namespace weir::detail::kernel {

/// The accept queue's depth and bound, and how long it defers. Returns the system calls that it
/// took.
unsigned observe_listener(int fd, listener_snapshot& into);
/// Who shares the address: as the kernel's SO_REUSEPORT, which knows one policy and no keys.
void describe_sharing(sharing how, std::size_t members, listener_snapshot& into);
/// The receive queue, its bound and what found it full. Returns the system calls that it took.
unsigned observe_datagram(int fd, udp_snapshot& into);
/// Queues, limits and TCP's numbers; `remote` and the queues of our own are the caller's. Returns
/// the system calls that it took.
unsigned observe_connection(int fd, connection_snapshot& into);

}  // namespace weir::detail::kernel
