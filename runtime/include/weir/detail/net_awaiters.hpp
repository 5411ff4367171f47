// The awaiters behind tcp_listener and tcp_stream. What is queued is taken in await_ready, with
// neither a virtual call nor a system call; everything else goes to the transport.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstring>
#include <optional>
#include <span>

#include "weir/buffers.hpp"
#include "weir/detail/transport.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"
#include "weir/stack/result.hpp"

namespace weir {
class tcp_stream;
}  // namespace weir

namespace weir::detail {

template <class Awaiter>
class reporting;
template <class Awaiter>
class heeding_stop;

/// What read_some() and its like give: the arguments of an operation to come. Only the co_await
/// makes the operation itself, where it waits, so that a frame holds one of it whatever was said
/// about timeouts and errors before. (A frame keeps every temporary of an awaited expression.)
template <class Awaiter>
class [[nodiscard]] request {
 public:
  using arguments = typename Awaiter::arguments;

  explicit request(const arguments& of) : of_(of) {}

  [[nodiscard]] request&& timeout(duration d) && {
    limit_ = d;
    return std::move(*this);
  }
  /// The form that reports instead of throwing.
  request<reporting<Awaiter>> nothrow() && { return {of_, limit_}; }
  /// Of a read: it also ends, with operation_canceled, once the shard is asked to stop
  /// (shard::request_stop(), the first SIGINT or SIGTERM). For waits between two requests, when
  /// nobody is owed an answer.
  request<heeding_stop<Awaiter>> until_stop() &&
    requires std::derived_from<Awaiter, read_operation>
  {
    return {of_, limit_};
  }

  Awaiter operator co_await() && { return Awaiter(of_, limit_); }

 private:
  template <class>
  friend class request;
  request(const arguments& of, duration limit) : of_(of), limit_(limit) {}

  arguments of_;
  duration limit_{-1};
};

/// An awaiter's form that reports instead of throwing.
template <class Awaiter>
class [[nodiscard]] reporting : public Awaiter {
 public:
  using Awaiter::Awaiter;
  auto await_resume() { return this->outcome(); }
};

/// A read's form that a request to stop ends.
template <class Awaiter>
class [[nodiscard]] heeding_stop : public Awaiter {
 public:
  using Awaiter::Awaiter;

  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    if (!Awaiter::await_suspend(waiter)) return false;
    if (!this->pending()) return true;
    auto& stop = this->owner().stopping();
    if (stop.requested())
      this->ask_to_end();
    else
      stop.add(stop_hook_);
    return true;
  }

 private:
  struct stop_hook : detail::cancel_node {
    explicit stop_hook(heeding_stop& a) : detail::cancel_node(&stop_hook::on_stop), awaiter(a) {}
    static void on_stop(detail::cancel_node& node) noexcept {
      static_cast<stop_hook&>(node).awaiter.ask_to_end();
    }
    heeding_stop& awaiter;
  };
  stop_hook stop_hook_{*this};
};

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
      : read_operation(*of.socket, of.into, of.at_least, &hook<&read_awaiter::request_cancel>),
        exactly_(of.exactly),
        name_(of.name) {
    set_timeout(limit);
  }

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
      : read_operation(*of.socket, &hook<&read_awaiter::request_cancel>) {
    set_timeout(limit);
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
  struct arguments {
    socket_base* socket;
    std::span<const std::byte> bytes;
    std::span<const std::span<const std::byte>>
        many;  ///< instead of `bytes`, where it is `gathered`
    const char* name;
    bool whole, gathered;
  };
  write_awaiter(const arguments& of, duration limit)
      : write_operation(*of.socket, of.bytes, of.many, of.gathered, of.whole,
                        &hook<&write_awaiter::request_cancel>),
        name_(of.name) {
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

 protected:
  transfer outcome() const noexcept { return {final_error(), written}; }

 private:
  friend class owned_write_awaiter;
  static void begin(write_operation& op) noexcept;
  static void request_cancel(operation& op) noexcept;
  const char* name_;
};

/// A write that brings its memory with it. A transport that does not look takes it for any other.
struct owned_write_operation : write_operation {
  owned_write_operation(socket_base& s, owned_buffer&& bytes, cancel_hook c)
      : write_operation(s, bytes.bytes(), {}, false, true, c), buffer(std::move(bytes)) {
    owned = true;
  }
  owned_write_operation(owned_write_operation&&) = default;

  owned_buffer buffer;
};

/// write_all() of an owned_buffer.
class [[nodiscard]] owned_write_awaiter : public owned_write_operation {
 public:
  owned_write_awaiter(socket_base& s, owned_buffer&& bytes, const char* name)
      : owned_write_operation(s, std::move(bytes), &hook<&write_awaiter::request_cancel>),
        name_(name) {}
  owned_write_awaiter(owned_write_awaiter&&) = default;

  [[nodiscard]] owned_write_awaiter&& timeout(duration d) && {
    set_timeout(d);
    return std::move(*this);
  }
  nothrow_form<owned_write_awaiter> nothrow() && {
    return nothrow_form<owned_write_awaiter>(std::move(*this));
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
  explicit accept_awaiter(socket_base& s)
      : accept_operation(s, &hook<&accept_awaiter::request_cancel>), stop_hook_(*this) {}
  accept_awaiter(accept_awaiter&& other) noexcept
      : accept_operation(std::move(other)), stop_hook_(*this) {}

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
      : connect_operation(to, nullptr, &hook<&connect_awaiter::request_cancel>), options_(how) {}
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
    return suspend(waiter, [this] { start_connect(owner(), *this); });
  }
  tcp_stream await_resume();

 protected:
  result<tcp_stream> outcome();

 private:
  static void request_cancel(operation& op) noexcept;
  connect_options options_;
};

}  // namespace weir::detail
