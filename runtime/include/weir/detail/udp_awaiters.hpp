// The awaiters behind udp_socket.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>

#include "weir/detail/datagram.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"

namespace weir {
class udp_socket;

/// A datagram that was received. Trivial, so that it may be destructured.
struct datagram {
  std::error_code ec;    ///< nothing; or why there is none; or message_size: it was cut short
  std::size_t n = 0;     ///< bytes in the buffer; 0 is a datagram without payload, not an end
  std::size_t size = 0;  ///< bytes that the sender sent: more than n where the buffer was too small
  endpoint from;
  explicit operator bool() const { return !ec; }
};

namespace detail {

/// receive_from() and receive(). The former, on a socket without a remote, also ends when the shard
/// is asked to stop.
class [[nodiscard]] receive_datagram_awaiter : public receive_datagram_operation {
 public:
  struct arguments {
    datagram_socket* socket;
    std::span<std::byte> into;
    bool connected_only;
    const char* name;
  };
  receive_datagram_awaiter(const arguments& of, duration limit,
                           std::span<incoming_datagram> several = {})
      : receive_datagram_operation(
            *of.socket, of.into,
            &hook<&receive_datagram_awaiter::request_cancel, &receive_datagram_awaiter::tell>),
        stop_hook_(*this),
        name_(of.name),
        connected_only_(of.connected_only) {
    batch = several;
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    auto parked = suspend(waiter, [this] { begin(); });
    if (parked && pending() && heeds_stop()) stopping(owner()).add(stop_hook_);
    return parked;
  }
  datagram await_resume() {
    auto got = outcome();
    if (got.ec && got.ec != weir::error::closed) throw io_error(got.ec, name_);
    return got;
  }

 protected:
  datagram outcome() const noexcept;

 private:
  struct stop_hook : detail::cancel_node {
    explicit stop_hook(receive_datagram_awaiter& a)
        : detail::cancel_node(kind_of_node<&stop_hook::on_stop>), awaiter(&a) {}
    static void on_stop(detail::cancel_node& node) noexcept;
    receive_datagram_awaiter* awaiter;
  };
  bool heeds_stop() const { return !connected_only_ && !socket->connected; }
  void begin() noexcept;
  static void request_cancel(operation& op) noexcept;
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept;

  friend struct stop_hook;
  stop_hook stop_hook_;
  const char* name_;
  bool connected_only_;
  bool stopped_ = false;
};

/// receive_batch().
class [[nodiscard]] receive_batch_awaiter : public receive_datagram_awaiter {
 public:
  struct arguments {
    datagram_socket* socket;
    std::span<incoming_datagram> into;
  };
  receive_batch_awaiter(const arguments& of, duration limit)
      : receive_datagram_awaiter({of.socket, {}, false, "receive_batch"}, limit, of.into) {}
  std::size_t await_resume() { return receive_datagram_awaiter::await_resume().size; }

 protected:
  transfer outcome() const noexcept {
    const auto got = receive_datagram_awaiter::outcome();
    return {got.ec, got.size};
  }
};

/// udp_flow_listener::accept(): also ends, with nothing, when the shard is asked to stop.
class [[nodiscard]] accept_flow_awaiter : public accept_flow_operation {
 public:
  struct arguments {
    flow_listener_socket* socket;
  };
  accept_flow_awaiter(const arguments& of, duration limit)
      : accept_flow_operation(*of.socket, &hook<&accept_flow_awaiter::request_cancel>),
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
  std::optional<udp_socket> await_resume();

 protected:
  result<std::optional<udp_socket>> outcome();

 private:
  struct stop_hook : detail::cancel_node {
    explicit stop_hook(accept_flow_awaiter& a)
        : detail::cancel_node(kind_of_node<&stop_hook::on_stop>), awaiter(&a) {}
    static void on_stop(detail::cancel_node& node) noexcept;
    accept_flow_awaiter* awaiter;
  };
  void begin() noexcept;
  static void request_cancel(operation& op) noexcept;

  friend struct stop_hook;
  stop_hook stop_hook_;
  bool stopped_ = false;
};

/// send_to() and send().
class [[nodiscard]] send_datagram_awaiter : public send_datagram_operation {
 public:
  struct arguments {
    datagram_socket* socket;
    std::span<const std::byte> bytes;
    endpoint to;
    bool to_remote;  ///< of a connected socket, instead of `to`
    const char* name;
  };
  send_datagram_awaiter(const arguments& of, duration limit)
      : send_datagram_operation(
            *of.socket, of.bytes, of.to_remote ? nullptr : &of.to,
            &hook<&send_datagram_awaiter::request_cancel, &send_datagram_awaiter::tell>),
        name_(of.name) {
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(); });
  }
  std::size_t await_resume() {
    auto done = outcome();
    if (done.ec) throw io_error(done.ec, name_);
    return done.n;
  }

 protected:
  transfer outcome() const noexcept {
    auto ec = final_error();
    return {ec, ec ? 0 : bytes.size()};
  }

  bool several_ = false;
  std::error_code refused_;  // why the next one of a batch cannot be sent

 private:
  void begin() noexcept;
  void begin_batch() noexcept;
  static void request_cancel(operation& op) noexcept;
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept;
  const char* name_;
};

/// send_batch().
class [[nodiscard]] send_batch_awaiter : public send_datagram_awaiter {
 public:
  struct arguments {
    datagram_socket* socket;
    std::span<const outgoing_datagram> datagrams;
  };
  send_batch_awaiter(const arguments& of, duration limit)
      : send_datagram_awaiter({of.socket, {}, {}, true, "send_batch"}, limit) {
    batch = of.datagrams;
    several_ = true;
  }
  std::size_t await_resume() {
    const auto done = outcome();
    if (done.ec) throw io_error(done.ec, "send_batch");
    return done.n;
  }

 protected:
  transfer outcome() const noexcept {
    const auto ec = final_error();
    return {ec ? ec : refused_, sent};
  }
};

}  // namespace detail
}  // namespace weir
