// The awaiters behind tcp_listener and tcp_stream. What is queued is taken in await_ready, with
// neither a virtual call nor a system call; everything else goes to the transport.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>

#include "weir/detail/transport.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"
#include "weir/stack/result.hpp"

namespace weir {
class tcp_stream;
class lent_buffer;
}  // namespace weir

namespace weir::detail {

/// read_some and read_exactly.
class [[nodiscard]] read_awaiter : public read_operation {
 public:
  /// `exactly`: fewer than `at_least` bytes at the end of the stream are an error.
  read_awaiter(socket_base& s, std::span<std::byte> buffer, std::size_t at_least, const char* name,
               bool exactly = false)
      : read_operation(s, buffer, at_least, false, &read_awaiter::request_cancel),
        name_(name),
        exactly_(exactly) {}
  read_awaiter(read_awaiter&&) = default;

  [[nodiscard]] read_awaiter&& timeout(duration d) && {
    set_timeout(d);
    return std::move(*this);
  }
  nothrow_form<read_awaiter> nothrow() && { return nothrow_form<read_awaiter>(std::move(*this)); }

  bool await_ready() noexcept {
    if (socket->rx_size == 0 || socket->reader != nullptr || into.empty()) return false;
    auto n = std::min<std::size_t>(socket->rx_size, into.size());
    std::memcpy(into.data(), socket->rx_data, n);
    socket->rx_data += n;
    socket->rx_size -= static_cast<std::uint32_t>(n);
    note_spent(*socket);
    filled = n;
    if (filled < minimum || !detail::spend_budget(*socket->owner)) return false;
    finish_inline();
    return true;
  }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    if (filled >= minimum && filled > 0)
      return queue_finished(waiter);  // taken already, whatever was cancelled since
    return suspend(waiter, [this] { begin(*this); });
  }
  std::size_t await_resume() {
    auto done = outcome();
    if (done.ec) throw io_error(done.ec, name_);
    return done.n;
  }

  /// Checks that no other read waits, then hands the operation to the transport.
  static void begin(read_operation& op) noexcept;
  static void request_cancel(operation& op) noexcept;

 protected:
  transfer outcome() const noexcept {
    auto ec = final_error();
    if (!ec && exactly_ && filled < minimum) ec = make_error_code(weir::error::end_of_stream);
    return {ec, filled};
  }

 private:
  const char* name_;
  bool exactly_;
};

/// receive(): lends the next chunk.
class [[nodiscard]] receive_awaiter : public read_operation {
 public:
  explicit receive_awaiter(socket_base& s)
      : read_operation(s, {}, 1, true, &read_awaiter::request_cancel) {}
  receive_awaiter(receive_awaiter&&) = default;

  [[nodiscard]] receive_awaiter&& timeout(duration d) && {
    set_timeout(d);
    return std::move(*this);
  }
  nothrow_form<receive_awaiter> nothrow() && {
    return nothrow_form<receive_awaiter>(std::move(*this));
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { read_awaiter::begin(*this); });
  }
  lent_buffer await_resume();

 protected:
  result<lent_buffer> outcome();
};

/// write_some, write_all, gathered writes.
class [[nodiscard]] write_awaiter : public write_operation {
 public:
  write_awaiter(socket_base& s, std::span<const std::byte> bytes, bool whole, const char* name)
      : write_operation(s, bytes, whole, &write_awaiter::request_cancel), name_(name) {}
  write_awaiter(socket_base& s, std::span<const std::span<const std::byte>> many, bool whole,
                const char* name)
      : write_operation(s, many, whole, &write_awaiter::request_cancel), name_(name) {}
  write_awaiter(write_awaiter&&) = default;

  [[nodiscard]] write_awaiter&& timeout(duration d) && {
    set_timeout(d);
    return std::move(*this);
  }
  nothrow_form<write_awaiter> nothrow() && { return nothrow_form<write_awaiter>(std::move(*this)); }

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

 protected:
  transfer outcome() const noexcept { return {final_error(), written}; }

 private:
  static void begin(write_operation& op) noexcept;
  static void request_cancel(operation& op) noexcept;
  const char* name_;
};

/// accept(): also ends, with nothing, when the shard is asked to stop.
class [[nodiscard]] accept_awaiter : public accept_operation {
 public:
  explicit accept_awaiter(socket_base& s)
      : accept_operation(s, &accept_awaiter::request_cancel), stop_hook_(*this) {}
  accept_awaiter(accept_awaiter&& other) : accept_operation(std::move(other)), stop_hook_(*this) {}

  [[nodiscard]] accept_awaiter&& timeout(duration d) && {
    set_timeout(d);
    return std::move(*this);
  }
  nothrow_form<accept_awaiter> nothrow() && {
    return nothrow_form<accept_awaiter>(std::move(*this));
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    auto parked = suspend(waiter, [this] { begin(); });
    if (parked && pending()) socket->owner->stopping().add(stop_hook_);
    return parked;
  }
  std::optional<tcp_stream> await_resume();

 protected:
  result<std::optional<tcp_stream>> outcome();

 private:
  struct stop_hook : detail::cancel_node {
    explicit stop_hook(accept_awaiter& a) : detail::cancel_node(&stop_hook::on_stop), awaiter(&a) {}
    static void on_stop(detail::cancel_node& node) noexcept;
    accept_awaiter* awaiter;
  };
  void begin() noexcept;
  static void request_cancel(operation& op) noexcept;

  friend struct stop_hook;
  stop_hook stop_hook_;
  bool stopped_ = false;
};

/// connect().
struct [[nodiscard]] connect_awaiter : connect_operation {
  connect_awaiter(const endpoint& to, const connect_options& how)
      : connect_operation(to, nullptr, &connect_awaiter::request_cancel), options_(how) {}
  connect_awaiter(connect_awaiter&&) = default;

  [[nodiscard]] connect_awaiter&& timeout(duration d) && {
    set_timeout(d);
    return std::move(*this);
  }
  nothrow_form<connect_awaiter> nothrow() && {
    return nothrow_form<connect_awaiter>(std::move(*this));
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    options = &options_;
    return suspend(waiter, [this] { owner().transport().start_connect(*this); });
  }
  tcp_stream await_resume();

 protected:
  result<tcp_stream> outcome();

 private:
  static void request_cancel(operation& op) noexcept;
  connect_options options_;
};

}  // namespace weir::detail
