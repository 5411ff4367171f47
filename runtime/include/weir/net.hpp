// TCP for servers and clients: tcp_listener, tcp_stream, connect. The same on every back end;
// docs/backends.md lists the few options that one of them cannot honour, which are then
// operation_not_supported. What a stream can do is any_stream's (weir/stream.hpp).
#pragma once

#include <utility>

#include "weir/stream.hpp"

namespace weir {

/// A connected TCP socket: an any_stream with TCP's options.
class tcp_stream : public any_stream {
 public:
  using any_stream::any_stream;

  /// Throws operation_not_supported for what this back end cannot honour.
  void set_options(const stream_options& options);

  /// Nothing more is read: a waiting read and each later one gives the end of the stream, and what
  /// was received and not read is dropped. The peer is not told, and sending goes on. What still
  /// comes is acknowledged and dropped on the stack. On kernel sockets it is as shutdown(2) has it
  /// with SHUT_RD: the peer may send until the kernel's buffer is full, and what is in it makes the
  /// close a reset. Throws not_connected where the connection has ended.
  void shutdown_receive();
  void shutdown_receive(std::error_code& error) noexcept;
};

/// A listening socket. Connections that nobody accepted are reset when it goes.
class tcp_listener {
 public:
  tcp_listener() = default;
  explicit tcp_listener(detail::listener_socket& socket) : socket_(&socket) {}
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
  /// are served in order. Errors: error::closed once the listener was closed. too_many_files_open
  /// and its like are waited out with a log line, not thrown.
  detail::request<detail::accept_awaiter> accept() {
    return detail::request<detail::accept_awaiter>({&socket()});
  }

  /// The next SYN of a listener that asks (listen_options::ask): who asks for whom, before anything
  /// is answered; empty once the shard was asked to stop. Include weir/request.hpp. Errors: as
  /// accept()'s, and operation_not_supported where the listener does not ask, as accept()'s where
  /// it does.
  detail::request<detail::accept_request_awaiter> accept_request() {
    return detail::request<detail::accept_request_awaiter>({&socket()});
  }

  void close() noexcept;
  /// Of one for others' addresses: their network, and port 0.
  endpoint local_endpoint() const { return socket().local; }
  /// As any_stream's.
  int native_handle() const { return detail::native_handle_of(socket()); }
  /// Another process accepts from the same socket: from now on none is taken in advance, and the
  /// socket listens on when this handle goes. True when nothing is left that was taken before;
  /// until then go on accepting, and ask again. On the stack, once another program has the device
  /// (stack.handover): no connection begins here any more, and it is true when those that had begun
  /// were accepted or came to nothing. Elsewhere nothing changes.
  bool leave_to_others() noexcept { return detail::leave_to_others(socket()); }
  /// Whether a program that takes this one's place listens by itself, and gets no descriptor: on
  /// the stack, where its device is handed over (stack.handover).
  bool successor_listens() const noexcept { return detail::successor_listens(socket()); }

 private:
  detail::listener_socket& socket() const {
    assert(socket_ != nullptr && "the listener was moved from or closed");
    return *socket_;
  }
  detail::listener_socket* socket_ = nullptr;
};

/// Connects from this coroutine's shard: co_await weir::connect({"127.0.0.1", 7}). Errors:
/// connection_refused (also of a connection to itself), timed_out, network_unreachable,
/// host_unreachable, connection_reset; address_not_available (the local address is not ours; the
/// remote one is unspecified or has port 0).
inline detail::request<detail::connect_awaiter> connect(const endpoint& remote,
                                                        const connect_options& options = {}) {
  return detail::request<detail::connect_awaiter>({remote, options});
}

namespace detail {

/// Of runtime/core/net.cpp: for tracers, and the shard's recorder.
void note_accepted(const accept_operation& op, std::error_code error, bool stopped) noexcept;
void note_connected(const connect_operation& op, std::error_code error) noexcept;
void note_detached(const socket_base& s) noexcept;
void note_attached(const socket_base& s) noexcept;

inline result<std::optional<tcp_stream>> accept_awaiter::outcome() {
  note_accepted(*this, final_error(), stopped_);
  if (accepted != nullptr) return std::optional<tcp_stream>(tcp_stream(*accepted));
  if (stopped_) return std::optional<tcp_stream>();
  return final_error();
}
inline std::optional<tcp_stream> accept_awaiter::await_resume() {
  auto got = outcome();
  if (!got) throw io_error(got.error(), "accept");
  return std::move(*got);
}

[[noreturn]] void connect_failed(std::error_code why, const connect_operation& op);

inline result<tcp_stream> connect_awaiter::outcome() {
  note_connected(*this, final_error());
  if (connected != nullptr) return tcp_stream(*connected);
  return final_error();
}
inline tcp_stream connect_awaiter::await_resume() {
  auto got = outcome();
  if (!got) connect_failed(got.error(), *this);
  return std::move(*got);
}

}  // namespace detail
}  // namespace weir
