// What the kernel tells of its sockets (TCP_INFO, SIOCINQ, SIOCOUTQ, SO_MEMINFO) in the names that
// weir's own stack uses. What the kernel does not tell stays absent. For transport/uring and
// transport/asio; a few system calls a socket, so never on a data path.
#pragma once

#include "runtime/observe/snapshot.hpp"
#include "weir/detail/home.hpp"
#include "weir/options.hpp"

namespace weir::detail::kernel {

/// What a transport on the kernel's TCP sockets counts, whatever drives it.
struct tcp_counters {
  std::uint64_t accepted = 0;
  std::uint64_t connected = 0;
  std::uint64_t detached = 0;
  std::uint64_t attached = 0;
  std::uint64_t accept_exhausted =
      0;  ///< times a listener had to wait for a descriptor or for memory
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t file_bytes_sent = 0;  ///< of them, without a copy

  void count_from_file(std::size_t bytes) {
    bytes_sent += bytes;
    file_bytes_sent += bytes;
  }
};
void show(const tcp_counters& counters, shard_snapshot& into);

/// The accept queue's depth and bound, and how long it defers. Returns the system calls that it
/// took.
unsigned observe_listener(int fd, listener_snapshot& into);
/// Who shares the address: as the kernel's SO_REUSEPORT, which knows one policy and no keys.
void describe_sharing(sharing how, std::size_t members, listener_snapshot& into);
/// The receive queue, its bound and what found it full. Returns the system calls that it took.
unsigned observe_datagram(int fd, udp_snapshot& into);
/// Queues, limits, TCP's numbers and who waits in `s`; the queues of our own are the caller's.
/// Returns the system calls that it took.
unsigned observe_connection(int fd, const socket_base& s, connection_snapshot& into);

}  // namespace weir::detail::kernel
