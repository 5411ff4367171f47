// A kernel socket as the uring transport keeps it. Pooled, never moved; it is given back only when
// every request on it has had its last completion.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <deque>
#include <memory>

#include "driver/uring/uring_driver.hpp"
#include "transport/kernel/kernel_socket.hpp"
#include "weir/detail/transport.hpp"

namespace weir::detail {

class uring_transport;

/// What streams and listeners have in common.
struct uring_socket_base : socket_base, ring_client {
  uring_socket_base(uring_transport& t, bool listens, handler h)
      : ring_client(h), home(&t), is_listener(listens) {}

  uring_transport* home;
  int fd = -1;
  unsigned in_flight = 0;  // requests whose last completion has not come
  bool is_listener;
  bool closing = false;
  uring_socket_base* prev_open = nullptr;
  uring_socket_base* next_open = nullptr;
};

/// Which request of the socket a completion belongs to.
enum uring_tag : unsigned {
  multishot_tag,  // receives into the pool until it ends
  direct_tag,     // one receive, into the reader's own memory or into a buffer taken for it
  send_tag,
  connect_tag,
  accept_tag,
  cancel_tag,  // a cancellation that found nothing
};

/// The vectors of one gathered send; lent to a socket while the kernel may read them.
struct send_batch {
  static constexpr std::size_t most_parts = 64;
  msghdr header{};
  std::array<iovec, most_parts> parts;
  send_batch* next = nullptr;
};

struct uring_stream final : uring_socket_base {
  static constexpr std::uint16_t none = 0xffff;
  enum class receiving : std::uint8_t { nothing, multishot, direct };

  uring_stream(uring_transport& t, handler h) : uring_socket_base(t, false, h) {}

  // Receiving. Received chunks are buffers of the pool, linked by id; the head is what rx_data
  // points into.
  receiving receive = receiving::nothing;
  bool withdrawing = false;  // the multishot was asked to end: the reader is behind
  bool end_of_stream = false;
  bool waits_for_buffer = false;  // in the transport's list
  bool reader_canceled = false;   // of a direct receive
  int receive_error = 0;
  std::uint16_t head = none, tail = none;
  std::uint16_t chunks = 0;
  std::uint16_t direct_buffer = none;  // of a lending reader
  bool reads_large = false;            // the last read's memory is some buffers long
  std::uint8_t large_reads =
      0;  // full buffers in a row for such reads; see uring_transport::wants_direct()
  uring_stream* next_waiting = nullptr;

  // Sending. The first `in_send` writers are in the kernel's hands.
  std::uint32_t in_send = 0;
  bool send_canceled = false;
  bool shutdown_wanted = false;
  bool aborted = false;
  send_batch* batch = nullptr;

  connect_operation* connecting = nullptr;
  sockaddr_in6 remote{};  // while connecting; large enough for IPv4 too
  uring_stream* next_free = nullptr;
};

struct uring_listener final : uring_socket_base {
  uring_listener(uring_transport& t, handler h) : uring_socket_base(t, true, h) {}

  accept_operation* first_acceptor = nullptr;
  accept_operation* last_acceptor = nullptr;
  std::deque<int> accepted;     // by the kernel's multishot, before somebody asked
  std::size_t queue_limit = 0;  // then the multishot is withdrawn
  std::uint64_t taken = 0;      // by the program
  bool armed = false;
  bool withdrawing = false;
  sharing how = sharing::exclusive;
  bool one_at_a_time = false;      // others accept from the same socket: none is taken in advance
  std::uint64_t group_member = 0;  // in the family's groups; 0: alone
  instant retry_at = instant::never();  // descriptors ran out
  instant last_logged;
  endpoint local;
};

}  // namespace weir::detail
