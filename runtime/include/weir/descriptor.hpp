// In and out by descriptor: sockets, pipes and character devices that somebody else opened become
// weir's, and native_handle() of each handle gives the number of the one behind it.
//
// adopt_*() take the descriptor over on success only: what they throw leaves it with the caller.
// From then on it is closed with the handle. Each is called on the shard's thread. Errors:
// bad_file_descriptor (no descriptor), not_a_socket, wrong_protocol_type (a datagram socket where a
// stream is meant, and the reverse; a protocol other than TCP, UDP or ICMP),
// address_family_not_supported (neither IPv4 nor IPv6), not_connected, invalid_argument (a listener
// where a connection is meant, and the reverse; neither pipe nor character device),
// operation_not_supported (the sockets of this back end are not the kernel's).
//
// The open file itself may be shared with other processes. On uring a TCP or UDP socket is made
// blocking, on asio every socket non-blocking: whoever shares it sees that.
#pragma once

#include <utility>

#include "weir/net.hpp"
#include "weir/udp.hpp"

namespace weir {

/// A file descriptor that closes itself.
class unique_fd {
 public:
  unique_fd() = default;
  explicit unique_fd(int fd) : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~unique_fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

/// A TCP socket that listens already: of a service manager, of another process.
tcp_listener adopt_listener(shard& here, unique_fd&& fd);
result<tcp_listener> try_adopt_listener(shard& here, unique_fd& fd);

/// A connected TCP socket.
tcp_stream adopt_tcp(shard& here, unique_fd&& fd);
result<tcp_stream> try_adopt_tcp(shard& here, unique_fd& fd);

/// A bound UDP socket, connected or not; or one for echo requests (SOCK_DGRAM of IPPROTO_ICMP or
/// IPPROTO_ICMPV6), whose datagrams are ICMP messages.
udp_socket adopt_udp(shard& here, unique_fd&& fd);
result<udp_socket> try_adopt_udp(shard& here, unique_fd& fd);

/// A pipe, a FIFO, a terminal or another character device, read, written or both as it was opened.
/// On every back end that runs on this machine (the stack's too), not in simulations. Where it
/// waits (O_NONBLOCK is not set), it is opened again through /proc/self/fd, so that the flags of
/// whoever shares it stay as they are. What cannot be (another user's terminal, most devices) is
/// polled before each call instead. A terminal's other end (posix_openpt(3)) is made non-blocking.
///
/// The end of a pipe's last writer is end of stream; writing to one that nobody reads is
/// connection_reset. shutdown_send() closes what is only written; what is read too has no
/// half-close (not_connected).
any_stream adopt_pipe(shard& here, unique_fd&& fd);
result<any_stream> try_adopt_pipe(shard& here, unique_fd& fd);

}  // namespace weir
