// The sockets that have something to tell, in the order in which it happened. Each stands in it
// once: what it has to tell gathers in the socket until it is asked.
#pragma once

#include <cstddef>
#include <vector>

#include "weir/stack/sockets.hpp"

namespace weir::stack {

/// The kinds of sockets, told apart in their ids.
inline constexpr std::uint32_t listener_bit = 0x80000000u;
inline constexpr std::uint32_t udp_bit = 0x40000000u;
inline constexpr std::uint32_t request_bits = listener_bit | udp_bit;

constexpr std::uint32_t index_of(socket_id id) {
  return static_cast<std::uint32_t>(id) & 0x7fffffffu;
}
constexpr std::uint32_t generation_of(socket_id id) {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(id) >> 32);
}
constexpr bool is_listener(socket_id id) {
  return (static_cast<std::uint64_t>(id) & request_bits) == listener_bit;
}

class event_queue {
 public:
  /// Adds `what` to what `socket` has to tell. It is a connection, a listener or a UDP socket.
  template <class Socket>
  void post(Socket& socket, socket_id id, ready what) {
    socket.pending = socket.pending | what;
    if (socket.event_queued) return;
    socket.event_queued = true;
    push(id);
  }
  /// The next socket, perhaps gone meanwhile; none when nobody has anything to tell.
  socket_id pop() { return taken_ < ids_.size() ? ids_[taken_++] : socket_id::none; }

 private:
  void push(socket_id id);

  std::vector<socket_id> ids_;
  std::size_t taken_ = 0;
};

}  // namespace weir::stack
