// A kernel socket as the uring transport keeps it. Streams are pooled, never moved, and given back
// only when every request on them has had its last completion.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>

#include "runtime/core/sockets/listener_core.hpp"
#include "runtime/driver/uring/uring_driver.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"

namespace weir::detail {

struct detach_operation;

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
struct send_batch : stack::queue_link<> {
  static constexpr std::size_t most_parts = 64;
  msghdr header{};
  std::array<iovec, most_parts> vectors;

  void fill(std::span<const std::span<const std::byte>> parts) noexcept {
    for (std::size_t i = 0; i < parts.size(); ++i)
      vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
    header = {};
    header.msg_iov = vectors.data();
    header.msg_iovlen = parts.size();
  }
};

struct uring_stream final : socket_base, ring_client, stack::queue_link<>, stack::list_link<> {
  static constexpr std::uint16_t none = 0xffff;
  enum class receiving : std::uint8_t { nothing, multishot, direct };

  explicit uring_stream(handler h) : ring_client(h) {}

  int fd = -1;
  unsigned in_flight = 0;  // requests whose last completion has not come
  bool closing = false;
  endpoint local, remote;

  // Receiving. Received chunks are buffers of the pool, linked by id; the head is what rx_data
  // points into, unless there is a stash, which comes before them.
  receiving receive = receiving::nothing;
  bool withdrawing = false;       // the multishot was asked to end: the reader is behind
  bool starved = false;           // the last receive found no buffer
  bool polls_first = false;       // and had waited for bytes before: they are there
  bool waits_for_buffer = false;  // in the transport's queue
  bool reads_large = false;       // the last read's memory is some buffers long
  std::uint8_t large_reads = 0;   // full buffers in a row for such reads; see wants_direct()
  std::uint16_t head = none, tail = none;
  std::uint16_t chunks = 0;
  std::uint16_t direct_buffer = none;  // of a lending reader
  std::unique_ptr<std::byte[]> stash;

  // Sending. The first `in_send` writers are in the kernel's hands.
  std::uint32_t in_send = 0;
  std::size_t asked_to_send = 0;  // bytes
  std::uint64_t wrote_in = 0;     // the shard's turn in which the last write was over
  bool send_canceled = false;
  bool aborted = false;
  send_batch* batch = nullptr;

  detach_operation* detaching = nullptr;  // waits for the last completion
  connect_operation* connecting = nullptr;
  std::unique_ptr<kernel::socket_address> connecting_to;
  uring_stream* next_free = nullptr;
};

struct uring_listener final : listener_socket, ring_client {
  explicit uring_listener(handler h) : ring_client(h) {}

  int fd = -1;
  std::deque<int> accepted;     // by the kernel's multishot, before somebody asked
  std::size_t queue_limit = 0;  // then the multishot is withdrawn
  std::uint64_t taken = 0;      // by the program
  bool armed = false;
  bool withdrawing = false;
  bool closing = false;
  sharing how = sharing::exclusive;
  bool adopted = false;  // whoever opened it may have it still, and listens on when this one goes
  std::uint64_t group_member = 0;       // in the family's groups; 0: alone
  instant retry_at = instant::never();  // descriptors ran out
  instant last_logged;

  /// Others accept from the same socket: none is taken in advance.
  bool one_at_a_time() const { return adopted || how == sharing::shared; }
};

}  // namespace weir::detail
