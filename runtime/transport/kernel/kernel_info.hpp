// What the kernel tells of its sockets (TCP_INFO, SIOCINQ, SIOCOUTQ, SO_MEMINFO) in the names that
// weir's own stack uses. What the kernel does not tell stays absent. For transport/uring and
// transport/asio; a few system calls a socket, so never on a data path.
#pragma once

#include "observe/snapshot.hpp"

namespace weir::detail::kernel {

/// The accept queue's depth and bound. Returns the system calls that it took.
unsigned observe_listener(int fd, listener_snapshot& into);
/// Queues, limits and TCP's numbers; `remote` and the queues of our own are the caller's. Returns
/// the system calls that it took.
unsigned observe_connection(int fd, connection_snapshot& into);

}  // namespace weir::detail::kernel
