// TCP for servers and clients: tcp_listener, tcp_stream, connect. The same on every back end;
// docs/backends.md lists the few options that one of them cannot honour, which are then
// operation_not_supported.
//
// Every operation is awaited on the shard that owns the stream. Each throws io_error; .nothrow()
// hands the error back instead; .timeout(d) bounds it (timed_out). Cancelling (a scope's, a
// timeout's) ends a wait with operation_canceled unless the result was there first. Buffers are the
// caller's and are in use until the co_await returns.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "weir/buffers.hpp"
#include "weir/detail/net_awaiters.hpp"

namespace weir {

/// A connected TCP socket. Move-only; closes when it goes: what was written is still delivered,
/// unread data makes it a reset. At most one read at a time (device_or_resource_busy); writes may
/// overlap and are carried out whole, in order.
class tcp_stream {
 public:
  tcp_stream() = default;
  explicit tcp_stream(detail::socket_base& socket) : socket_(&socket) {}
  tcp_stream(tcp_stream&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  tcp_stream& operator=(tcp_stream&& other) noexcept {
    if (this != &other) {
      close();
      socket_ = std::exchange(other.socket_, nullptr);
    }
    return *this;
  }
  ~tcp_stream() { close(); }

  explicit operator bool() const { return socket_ != nullptr; }

  /// At least one byte, as many as are there. Gives their number; 0 at end of stream.
  /// Errors: connection_reset, timed_out (the connection's own, or timeout()'s), invalid_argument
  /// (an empty buffer). Like every read, with .until_stop() also operation_canceled, once the shard
  /// is asked to stop.
  detail::request<detail::read_awaiter> read_some(std::span<std::byte> into) {
    return read(into, 1, "read_some", false);
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
  /// Errors: broken_pipe, connection_reset, timed_out.
  detail::request<detail::write_awaiter> write_some(std::span<const std::byte> bytes) {
    return write({&socket(), bytes, {}, "write_some", false, false});
  }
  /// Writes everything: returns when the socket has taken it all. On an error, nothrow's n tells
  /// how much went.
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
  detail::owned_write_awaiter write_all(owned_buffer&& bytes) {
    return {socket(), std::move(bytes), "write_all"};
  }

  /// Half-close: the peer reads end of stream after what was written; reading goes on. Throws
  /// not_connected.
  void shutdown_send();
  void shutdown_send(std::error_code& error) noexcept;
  /// Ends the connection with a reset; what was not delivered is dropped. No operation may be
  /// pending.
  void abort() noexcept;
  /// What the destructor does. No operation may be pending on the stream (asserted).
  void close() noexcept;

  /// Throws operation_not_supported for what this back end cannot honour.
  void set_options(const stream_options& options);

  endpoint local_endpoint() const;
  endpoint remote_endpoint() const;
  shard& owner() const { return *socket().owner; }

 private:
  detail::request<detail::read_awaiter> read(std::span<std::byte> into, std::size_t at_least,
                                             const char* name, bool exactly) {
    return detail::request<detail::read_awaiter>({&socket(), into, at_least, name, exactly});
  }
  static detail::request<detail::write_awaiter> write(const detail::write_awaiter::arguments& of) {
    return detail::request<detail::write_awaiter>(of);
  }
  detail::socket_base& socket() const {
    assert(socket_ != nullptr && "the stream was moved from or closed");
    return *socket_;
  }
  detail::socket_base* socket_ = nullptr;
};

/// A listening socket. Connections that nobody accepted are reset when it goes.
class tcp_listener {
 public:
  tcp_listener() = default;
  explicit tcp_listener(detail::socket_base& socket) : socket_(&socket) {}
  tcp_listener(tcp_listener&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  tcp_listener& operator=(tcp_listener&& other) noexcept {
    if (this != &other) {
      close();
      socket_ = std::exchange(other.socket_, nullptr);
    }
    return *this;
  }
  ~tcp_listener() { close(); }

  explicit operator bool() const { return socket_ != nullptr; }

  /// The next connection; empty once the shard was asked to stop. Many coroutines may wait; they
  /// are served in order. Errors: too_many_files_open and its like are waited out with a log line,
  /// not thrown.
  detail::accept_awaiter accept() { return detail::accept_awaiter(socket()); }

  void close() noexcept;
  endpoint local_endpoint() const;

 private:
  detail::socket_base& socket() const {
    assert(socket_ != nullptr && "the listener was moved from or closed");
    return *socket_;
  }
  detail::socket_base* socket_ = nullptr;
};

/// Connects from this coroutine's shard: co_await weir::connect({"127.0.0.1", 7}).
detail::connect_awaiter connect(const endpoint& remote, const connect_options& options = {});

}  // namespace weir

#include "weir/detail/net_inline.hpp"
