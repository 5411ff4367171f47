// The awaiters behind streams and listeners. What is queued is taken in await_ready, with neither a
// virtual call nor a system call; everything else goes to the socket's home.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstring>
#include <optional>
#include <span>

#include "weir/buffers.hpp"
#include "weir/detail/home.hpp"
#include "weir/error.hpp"
#include "weir/options.hpp"
#include "weir/shard.hpp"
#include "weir/stack/result.hpp"

namespace weir {
class connection_request;
class tcp_stream;
}  // namespace weir

namespace weir::detail {

/// read_some and read_exactly.
class [[nodiscard]] read_awaiter : public read_operation {
 public:
  struct arguments {
    socket_base* socket;
    std::span<std::byte> into;
    std::size_t at_least;
    const char* name;
    bool exactly;  ///< fewer than `at_least` bytes at the end of the stream are an error
  };
  read_awaiter(const arguments& of, duration limit)
      : read_operation(*of.socket, of.into, of.at_least,
                       &hook<&read_awaiter::request_cancel, &read_awaiter::tell>),
        exactly_(of.exactly),
        name_(of.name) {
    set_timeout(limit);
  }

  /// Takes what is there if it is enough. Once the turn's share is used up nothing is taken here:
  /// await_suspend() sees a cancellation first.
  bool await_ready() noexcept {
    assert(socket->at->owner().on_this_thread() && "a stream is used on the shard that owns it");
    const auto n = std::min<std::size_t>(socket->rx_size, into().size());
    if (n == 0 || n < minimum() || socket->reader != nullptr) return false;
    if (!detail::spend_budget(socket->at->owner(), read_cost)) return false;
    std::memcpy(into().data(), socket->rx_data, n);
    socket->rx_data += n;
    socket->rx_size -= static_cast<std::uint32_t>(n);
    note_spent(*socket, n);
    filled = n;
    finish_inline();
    return true;
  }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(*this); });
  }
  std::size_t await_resume() {
    auto done = outcome();
    if (done.ec) throw io_error(done.ec, name_);
    return done.n;
  }

  /// Checks that no other read waits, then hands the operation to the home.
  static void begin(read_operation& op) noexcept;
  static void request_cancel(operation& op) noexcept;

 protected:
  transfer outcome() const noexcept {
    auto ec = final_error();
    if (!ec && exactly_ && filled < minimum()) ec = make_error_code(weir::error::end_of_stream);
    return {ec, filled};
  }

 private:
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept;

  bool exactly_;
  const char* name_;
};

/// receive(): lends the next chunk.
class [[nodiscard]] receive_awaiter : public read_operation {
 public:
  struct arguments {
    socket_base* socket;
  };
  receive_awaiter(const arguments& of, duration limit)
      : read_operation(*of.socket, &hook<&read_awaiter::request_cancel, &receive_awaiter::tell>) {
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { read_awaiter::begin(*this); });
  }
  lent_buffer await_resume() {
    auto got = outcome();
    if (!got) throw io_error(got.error(), "receive");
    return std::move(*got);
  }

 protected:
  result<lent_buffer> outcome() {
    if (auto ec = final_error()) return ec;
    return lent_buffer(*socket->at, lent);
  }

 private:
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept;
};

/// peer_closed().
class [[nodiscard]] peer_end_awaiter : public peer_end_operation {
 public:
  struct arguments {
    socket_base* socket;
  };
  peer_end_awaiter(const arguments& of, duration limit)
      : peer_end_operation(*of.socket,
                           &hook<&peer_end_awaiter::request_cancel, &peer_end_awaiter::tell>) {
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { socket->at->start_peer_end(*this); });
  }
  peer_end await_resume() {
    auto got = outcome();
    if (got.ec) throw io_error(got.ec, "peer_closed");
    return got;
  }

 protected:
  peer_end outcome() const noexcept { return {final_error(), why}; }

 private:
  static void request_cancel(operation& op) noexcept;
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept;
};

/// write_some, write_all, gathered writes.
class [[nodiscard]] write_awaiter : public write_operation {
 public:
  struct arguments {
    socket_base* socket;
    std::span<const std::byte> bytes;
    std::span<const std::span<const std::byte>>
        many;  ///< instead of `bytes`, where it is `gathered`
    const char* name;
    bool whole, gathered;
    bool more = false;
  };
  write_awaiter(const arguments& of, duration limit)
      : write_operation(*of.socket, of.bytes, of.many, of.gathered, of.whole,
                        &hook<&write_awaiter::request_cancel, &write_awaiter::tell>),
        name_(of.name) {
    more = of.more;
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(*this); });
  }
  std::size_t await_resume() {
    auto done = outcome();
    if (done.ec) throw io_error(done.ec, name_);
    return done.n;
  }

  static void begin(write_operation& op) noexcept;
  static void request_cancel(operation& op) noexcept;
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept;

 protected:
  transfer outcome() const noexcept { return {final_error(), written}; }

 private:
  const char* name_;
};

/// A write that brings its memory with it. A home that does not look takes it for any other.
struct owned_write_operation : write_operation {
  owned_write_operation(socket_base& s, owned_buffer&& bytes, cancel_hook c)
      : write_operation(s, bytes.bytes(), {}, false, true, c), buffer(std::move(bytes)) {
    owned = true;
  }

  owned_buffer buffer;
};

/// write_all() of an owned_buffer.
class [[nodiscard]] owned_write_awaiter : public owned_write_operation {
 public:
  struct arguments {
    socket_base* socket;
    owned_buffer buffer;
    const char* name;
    bool more = false;
  };
  owned_write_awaiter(arguments&& of, duration limit)
      : owned_write_operation(*of.socket, std::move(of.buffer),
                              &hook<&write_awaiter::request_cancel, &write_awaiter::tell>),
        name_(of.name) {
    more = of.more;
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { write_awaiter::begin(*this); });
  }
  std::size_t await_resume() {
    auto done = outcome();
    if (done.ec) throw io_error(done.ec, name_);
    return done.n;
  }

 protected:
  transfer outcome() noexcept {
    buffer.release();
    return {final_error(), written};
  }

 private:
  const char* name_;
};

/// accept(): also ends, with nothing, when the shard is asked to stop.
class [[nodiscard]] accept_awaiter : public accept_operation {
 public:
  struct arguments {
    listener_socket* socket;
  };
  accept_awaiter(const arguments& of, duration limit)
      : accept_operation(*of.socket, &hook<&accept_awaiter::request_cancel, &accept_awaiter::tell>),
        stop_hook_(*this) {
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    auto parked = suspend(waiter, [this] { begin(); });
    if (parked && pending()) stopping(owner()).add(stop_hook_);
    return parked;
  }
  std::optional<tcp_stream> await_resume();

 protected:
  result<std::optional<tcp_stream>> outcome();
  bool stopped_ = false;

 private:
  struct stop_hook : detail::cancel_node {
    explicit stop_hook(accept_awaiter& a)
        : detail::cancel_node(kind_of_node<&stop_hook::on_stop>), awaiter(&a) {}
    static void on_stop(detail::cancel_node& node) noexcept;
    accept_awaiter* awaiter;
  };
  void begin() noexcept;
  static void request_cancel(operation& op) noexcept;
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept;

  friend struct stop_hook;
  stop_hook stop_hook_;
};

/// accept_request().
class [[nodiscard]] accept_request_awaiter : public accept_awaiter {
 public:
  accept_request_awaiter(const arguments& of, duration limit) : accept_awaiter(of, limit) {
    wants_request = true;
  }
  std::optional<connection_request> await_resume();

 protected:
  result<std::optional<connection_request>> outcome();
};

/// connection_request::accept().
class [[nodiscard]] answer_awaiter : public answer_operation {
 public:
  struct arguments {
    socket_base** handle;  ///< the request leaves it when the operation begins
    endpoint destination;
  };
  answer_awaiter(const arguments& of, duration limit)
      : answer_operation(&hook<&answer_awaiter::request_cancel>),
        handle_(of.handle),
        destination_(of.destination) {
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(); });
  }
  tcp_stream await_resume();

 protected:
  result<tcp_stream> outcome();

 private:
  void begin() noexcept;
  static void request_cancel(operation& op) noexcept;
  socket_base** handle_;
  endpoint destination_;
};

/// connect().
class [[nodiscard]] connect_awaiter : public connect_operation {
 public:
  struct arguments {
    endpoint remote;
    connect_options options;
  };
  connect_awaiter(const arguments& of, duration limit)
      : connect_operation(of.remote, options_,
                          &hook<&connect_awaiter::request_cancel, &connect_awaiter::tell>),
        options_(of.options) {
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(); });
  }
  tcp_stream await_resume();

 protected:
  result<tcp_stream> outcome();

 private:
  void begin() noexcept;
  static void request_cancel(operation& op) noexcept;
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept;
  connect_options options_;
};

}  // namespace weir::detail
