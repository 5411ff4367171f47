// A UDP socket of a shard on a dedicated stack, in two halves as a connection's record is
// (channel.hpp). Received datagrams stay where the stack has them, charged to the socket as on
// every stack; some at a time are shown to the shard, which copies them out and says so. What is to
// be sent is read out of the senders' memory.
#pragma once

#include <array>
#include <cstdint>
#include <system_error>

#include "runtime/transport/stack/dedicated/channel.hpp"
#include "weir/detail/datagram.hpp"
#include "weir/stack/host.hpp"

namespace weir::detail {

/// The shard's half, and what is handed over.
struct dedicated_datagram_half : datagram_socket, asking, stack::list_link<> {
  /// Datagrams that are with the shard at most; the rest waits in the stack's queue.
  static constexpr std::uint32_t window = 64;

  dedicated_datagram_half() : asking(true) {}

  bool sending = false;                                    // there is something in `handed`
  std::uint32_t next = 0;                                  // of what was shown
  std::uint32_t unread = 0;                                // of it
  std::error_code failure;                                 // to be told once
  stack::intrusive_queue<send_datagram_operation> behind;  // for when `handed` is over

  // --- Handed over.
  stack::intrusive_queue<send_datagram_operation> handed;  // by the shard, with ask::send
  std::array<stack::lent_datagram, window> shown;          // by the stack, with tell::data
};

struct dedicated_datagram_socket final : dedicated_datagram_half {
  struct half : telling, stack::list_link<> {
    explicit half(asking& record) : telling(record, true) {}

    stack::socket_id id = stack::socket_id::none;
    // Of `shown`, since the beginning: those that are in it, that were told, and that came back.
    std::uint32_t put = 0, told = 0, back = 0;
    std::error_code failure;  // to be told
  };
  alignas(64) half stack{*this};
};

}  // namespace weir::detail
