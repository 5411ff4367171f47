// What the calls on a host's sockets take and give: ids, events, datagrams, lent bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "weir/stack/address.hpp"

namespace weir::stack {

/// Names a socket of one host. Carries a generation: an id that was closed is refused
/// (bad_file_descriptor).
enum class socket_id : std::uint64_t { none = 0 };
/// Whether the id names a request to connect that waits for an answer.
constexpr bool is_request(socket_id id) {
  return (static_cast<std::uint64_t>(id) & 0xc0000000u) == 0xc0000000u;
}
/// Whether the id names a UDP socket.
constexpr bool is_udp(socket_id id) {
  return (static_cast<std::uint64_t>(id) & 0xc0000000u) == 0x40000000u;
}

/// Readiness. Level changes are told once, at the edge, and again after the call that saw
/// would_block.
enum class ready : std::uint8_t {
  none = 0,
  acceptable = 1,  ///< the accept queue is no longer empty; of a listener that asks: a request came
  connected = 2,   ///< an active open completed, or a request that was answered
  readable = 4,    ///< bytes, end of stream, or an error to be read
  writable = 8,    ///< the send queue has room again after would_block
  failed = 16,  ///< reset, refused, timed out: error() says which; nothing more will happen on this
                ///< socket
  sent = 32,    ///< all that was sent is acknowledged (only where asked for)
  warned = 64,  ///< soft_error() says of what (only where asked for); the connection goes on
};
constexpr ready operator|(ready a, ready b) {
  return static_cast<ready>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
constexpr bool any(ready set, ready wanted) {
  return (static_cast<std::uint8_t>(set) & static_cast<std::uint8_t>(wanted)) != 0;
}

struct event {
  socket_id socket = socket_id::none;
  void* user = nullptr;  ///< what set_user() gave
  ready what = ready::none;
};

/// What udp_receive() took out of the queue.
struct received_datagram {
  std::size_t size = 0;  ///< payload bytes of the datagram; more than the buffer: the rest is lost
  std::size_t copied = 0;  ///< of them, in the buffer
  endpoint from;
  ip_address to;         ///< which of the host's addresses it was sent to
  std::uint8_t ecn = 0;  ///< of its IP header (RFC 3168 5)
};

/// What of a datagram's IP header udp_send() is told.
struct udp_header_choice {
  ip_address source;  ///< unspecified: the socket's, else what fits the destination
  std::uint8_t ecn = 0;
};

/// Bytes that a host lends, or keeps for its user: whoever has it holds their memory until
/// host::release(), which it calls once, before the host goes. A plain value, for others to wrap.
struct lent_chunk {
  const std::byte* data = nullptr;
  std::uint32_t size = 0;  ///< 0: nothing is lent, nothing to release
  std::uint32_t token = 0;
  void* chunk = nullptr;

  std::span<const std::byte> bytes() const { return {data, size}; }
};

}  // namespace weir::stack
