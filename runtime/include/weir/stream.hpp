// any_stream: a connected stream of bytes, whatever carries it (TCP on any back end, a layer above
// one, a test's script). What is written against it runs on all of them and compiles once. A handle
// of one pointer: erasing the kind costs nothing, since every kind's socket stands behind the same
// interface.
//
// Every operation is awaited on the shard that owns the stream. Each throws io_error; .nothrow()
// hands the error back instead; .timeout(d) bounds it (timed_out); .until_stop() ends it with
// operation_canceled once the shard is asked to stop. Cancelling (a scope's, a timeout's) ends a
// wait with operation_canceled unless the result was there first. Buffers are the caller's and are
// in use until the co_await returns.
#pragma once

#include <cassert>
#include <span>
#include <string_view>
#include <utility>

#include "weir/buffers.hpp"
#include "weir/detail/net_awaiters.hpp"

namespace weir {

namespace detail {
struct detach_operation;
}

/// Bytes that were read, as text: std::as_bytes() the other way.
inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A connected stream. Move-only; closes when it goes: what was written is still delivered, unread
/// data makes it a reset. At most one read at a time (device_or_resource_busy); writes may overlap
/// and are carried out whole, in order. How a connection ended is said by each later read and
/// write, not only by the first.
class any_stream {
 public:
  any_stream() = default;
  explicit any_stream(detail::socket_base& socket) : socket_(&socket) {}
  any_stream(any_stream&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  any_stream& operator=(any_stream&& other) noexcept {
    if (this != &other) {
      close();
      socket_ = std::exchange(other.socket_, nullptr);
    }
    return *this;
  }
  ~any_stream() { close(); }

  explicit operator bool() const { return socket_ != nullptr; }

  /// At least one byte, as many as are there. Gives their number; 0 at end of stream, and for an
  /// empty buffer, at once. Errors: connection_reset, timed_out (the connection's own, or
  /// timeout()'s).
  detail::request<detail::read_awaiter> read_some(std::span<std::byte> into) {
    return read(into, into.empty() ? 0 : 1, "read_some", false);
  }
  /// Fills the buffer. Gives its size; error::end_of_stream when the peer ends before (nothrow: n
  /// tells how far it got).
  detail::request<detail::read_awaiter> read_exactly(std::span<std::byte> into) {
    return read(into, into.size(), "read_exactly", true);
  }
  /// The next received bytes, lent without a copy; an empty buffer at end of stream.
  detail::request<detail::receive_awaiter> receive() {
    return detail::request<detail::receive_awaiter>({&socket()});
  }

  /// Writes at least one byte, as many as the socket takes at once. Gives their number.
  /// Errors: broken_pipe (after shutdown_send()), connection_reset, timed_out.
  detail::request<detail::write_awaiter> write_some(std::span<const std::byte> bytes) {
    return write({&socket(), bytes, {}, "write_some", false, false});
  }
  /// Writes everything: returns when the socket has taken it all. On an error, nothrow's n tells
  /// how much went. With .more() a last segment that is not full waits for the write that follows,
  /// for 200 ms at most, as with Linux's MSG_MORE; only TCP listens to it.
  detail::request<detail::write_awaiter> write_all(std::span<const std::byte> bytes) {
    return write({&socket(), bytes, {}, "write_all", true, false});
  }
  detail::request<detail::write_awaiter> write_all(std::string_view text) {
    return write_all(std::as_bytes(std::span(text)));
  }
  /// Writes all parts in order, as one write. The array of parts stays valid until the co_await
  /// returns.
  detail::request<detail::write_awaiter> write_all(
      std::span<const std::span<const std::byte>> parts) {
    return write({&socket(), {}, parts, "write_all", true, true});
  }

  /// Writes a buffer that the operation takes over, whatever becomes of it. The stack sends from
  /// its memory without a copy and keeps it until the peer has acknowledged it, so it is often
  /// given back after the co_await returned; kernel sockets give it back when they have taken it
  /// all. At the latest it goes with the connection. co_await stream.write_all(co_await
  /// stream.receive()) sends on what came, as it is.
  detail::request<detail::owned_write_awaiter> write_all(owned_buffer&& bytes) {
    return detail::request<detail::owned_write_awaiter>({&socket(), std::move(bytes), "write_all"});
  }

  /// Waits until the peer has ended its sending direction or the connection has broken, and reads
  /// nothing: for whoever works on an answer, and wants to know whether somebody still wants it.
  /// What was sent before is read as ever; so is the end. Several may wait, beside reads and
  /// writes. A layer (TLS) gives what the stream under it does. Errors: operation_not_supported
  /// (what is neither socket nor pipe).
  detail::request<detail::peer_end_awaiter> peer_closed() {
    return detail::request<detail::peer_end_awaiter>({&socket()});
  }

  /// Half-close: the peer reads end of stream after what was written; reading goes on. Once is
  /// enough, more changes nothing. Throws not_connected where the connection has ended.
  void shutdown_send();
  void shutdown_send(std::error_code& error) noexcept;
  /// Ends the connection with a reset; what was not delivered is dropped. No operation may be
  /// pending.
  void abort() noexcept;
  /// What the destructor does. No operation may be pending on the stream (asserted).
  void close() noexcept;

  /// The addresses of its ends, also after it broke; the default endpoint where the kind has none.
  endpoint local_endpoint() const { return socket().at->local_endpoint(socket()); }
  endpoint remote_endpoint() const { return socket().at->remote_endpoint(socket()); }
  shard& owner() const { return socket().at->owner(); }
  /// The number of the descriptor behind it, which stays the stream's: for system calls that weir
  /// has no word for. Throws operation_not_supported where there is none: on the stack, in a
  /// simulation, for a layer (TLS).
  int native_handle() const { return detail::native_handle_of(socket()); }

 protected:
  detail::socket_base& socket() const {
    assert(socket_ != nullptr && "the stream was moved from or closed");
    return *socket_;
  }

 private:
  detail::request<detail::read_awaiter> read(std::span<std::byte> into, std::size_t at_least,
                                             const char* name, bool exactly) {
    return detail::request<detail::read_awaiter>({&socket(), into, at_least, name, exactly});
  }
  static detail::request<detail::write_awaiter> write(const detail::write_awaiter::arguments& of) {
    return detail::request<detail::write_awaiter>(of);
  }
  friend detail::detach_operation;
  detail::socket_base* socket_ = nullptr;
};

}  // namespace weir
