// One wait of one coroutine: the state that every awaitable operation of weir shares. It lives in
// the awaiter, so in the waiting coroutine's frame: starting, finishing, timing out and cancelling
// an operation allocates nothing.
//
// Life: fresh -> starting (inside await_suspend) -> done at once, or pending -> done (the coroutine
// is in the ready queue). Whoever carries the operation out calls complete() exactly once. A
// timeout or a cancellation asks that one, through request_cancel(), to finish early; what
// complete() then reports decides: a success that won stays a success. The memory that an operation
// lends (buffers) is in use until complete() was called, never longer.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <system_error>
#include <utility>

#include "weir/detail/cancel.hpp"
#include "weir/detail/ready.hpp"
#include "weir/detail/timer.hpp"
#include "weir/detail/waiting.hpp"
#include "weir/error.hpp"
#include "weir/task.hpp"

namespace weir::detail {

// Of runtime/core/shard.cpp; declared here so that awaiters need not know the shard's inside.
void make_ready(shard& owner, ready_node& node) noexcept;
void arm_timer(shard& owner, timer_node& node, duration from_now) noexcept;
/// Counts an operation that finished without suspending. False: this turn's share is used up, go
/// through the queue.
/// What finishes inline costs a part of the turn. A read costs a little more than what is done with
/// the bytes: who hands on what it reads must not outrun who takes it.
inline constexpr unsigned operation_cost = 4, read_cost = 5;
bool spend_budget(shard& owner, unsigned cost = operation_cost) noexcept;
/// A coroutine waits from now on.
void note_waiting(promise_base& waiter) noexcept;

class operation : public ready_node, private detail::cancel_node, private detail::timer_node {
 public:
  enum class state : std::uint8_t { fresh, starting, pending, done };

  shard& owner() const { return *owner_; }
  bool pending() const { return state_ == state::pending; }
  std::error_code error() const { return error_; }
  /// A timeout or a cancellation wants it to end early.
  bool asked_to_end() const { return asked_; }

  /// The operation is over. With an error, whatever else it reports must be true too (bytes moved
  /// so far).
  void complete(std::error_code error = {}) noexcept {
    assert(state_ == state::starting || state_ == state::pending);
    error_ = error;
    bool parked = state_ == state::pending;
    state_ = state::done;
    if (!parked) return;
    cancel_node::unlink();
    timer_node::disarm();
    make_ready(*owner_, *this);
  }

 protected:
  /// Asks for an early end: complete() follows, now or later. Called at most once, only while
  /// pending.
  using cancel_function = void (*)(operation&) noexcept;
  /// How an operation keeps it, with what it tells of itself.
  using cancel_hook = const cancel_kind*;
  template <cancel_function Request>
  static void ask(detail::cancel_node& node) noexcept {
    auto& self = static_cast<operation&>(node);
    if (self.asked_ || self.state_ != state::pending) return;
    self.asked_ = true;
    Request(self);
  }
  template <cancel_function Request>
  static void tell_kind(const detail::cancel_node& node, wait_told& out) noexcept {
    told(node, out);
    out.operation = class_in(__PRETTY_FUNCTION__);
  }
  template <cancel_function Request, cancel_kind::teller Tell = &operation::tell_kind<Request>>
  static constexpr cancel_kind hook{&operation::ask<Request>, Tell};

  /// For tellers: says what every operation can, and gives the operation.
  static const operation& told(const detail::cancel_node& node, wait_told& out) noexcept;

  explicit operation(cancel_hook kind) : cancel_node(*kind), timer_node(&operation::on_timeout) {
    set_timeout(no_limit);
  }
  operation(const operation&) = delete;
  ~operation() {
    assert(state_ != state::pending && "a frame with a pending operation was destroyed");
  }

  /// A negative duration is none at all: zero.
  void set_timeout(duration d) { timer_node::set_aside(std::max(d, duration(0))); }

  /// await_suspend of every awaiter: `start` begins the operation and may complete it at once.
  template <weir_promise Promise, class Start>
  bool suspend(std::coroutine_handle<Promise> waiter, Start&& start) {
    promise_base& promise = waiter.promise();
    assert(owner_ == nullptr || owner_ == promise.owner);
    owner_ = promise.owner;
    handle = waiter;
    state_ = state::starting;
    if (promise.cancel != nullptr && promise.cancel->requested())
      complete(canceled_error());
    else
      start();
    if (state_ == state::done) {
      if (spend_budget(*owner_)) return false;
      make_ready(*owner_, *this);  // done, but others want a turn
      return true;
    }
    park(promise);
    return true;
  }

  /// What to report: a cancellation that a timeout asked for is a timeout.
  std::error_code final_error() const {
    return timed_out_ && error_ == std::errc::operation_canceled ? timeout_error() : error_;
  }

  /// Whether the timeout, rather than anybody else, asked for the end.
  bool timed_out() const { return timed_out_; }

  /// Asks for an early end, once.
  void ask_to_end() noexcept { cancel_node::cancel(); }

  /// For awaiters that finish in await_ready.
  void finish_inline(std::error_code error = {}) { error_ = error, state_ = state::done; }

 private:
  /// It waits: hooks it into the tree, and into the timer wheel.
  void park(promise_base& waiter) noexcept;
  /// "read" of "... weir::detail::read_awaiter::request_cancel ...".
  static std::string_view class_in(std::string_view function) noexcept;
  static void on_timeout(detail::timer_node& node) noexcept;
  shard* owner_ = nullptr;
  std::error_code error_;
  state state_ = state::fresh;
  bool timed_out_ = false;
  bool asked_ = false;
};

template <class Awaiter>
class reporting;
template <class Awaiter>
class heeding_stop;

/// What read_some(), accept(), lock() and their like give: the arguments of an operation to come.
/// Only the co_await makes the operation itself, where it waits, so that a frame holds one of it
/// whatever was said about timeouts and errors before. (A frame keeps every temporary of an awaited
/// expression.) An awaiter has `arguments` and is made of them and a limit.
template <class Awaiter>
class [[nodiscard]] request {
 public:
  using arguments = typename Awaiter::arguments;

  explicit request(arguments of) : of_(std::move(of)) {}

  /// Ends with timed_out after `d`; a negative duration is zero, no_limit is none.
  [[nodiscard]] request&& timeout(duration d) && {
    limit_ = d;
    return std::move(*this);
  }
  /// Of writes: more follows at once.
  [[nodiscard]] request&& more() &&
    requires requires(arguments& of) { of.more; }
  {
    of_.more = true;
    return std::move(*this);
  }
  /// The form that reports instead of throwing.
  request<reporting<Awaiter>> nothrow() && { return {std::move(of_), limit_}; }
  /// It also ends, with operation_canceled, once the shard is asked to stop
  /// (shard::request_stop(), the first SIGINT or SIGTERM). For waits between two requests, when
  /// nobody is owed an answer.
  request<heeding_stop<Awaiter>> until_stop() && { return {std::move(of_), limit_}; }

  Awaiter operator co_await() && { return Awaiter(std::move(of_), limit_); }

 private:
  template <class>
  friend class request;
  request(arguments&& of, duration limit) : of_(std::move(of)), limit_(limit) {}

  arguments of_;
  duration limit_ = no_limit;
};

/// An awaiter's form that reports instead of throwing.
template <class Awaiter>
class [[nodiscard]] reporting : public Awaiter {
 public:
  using Awaiter::Awaiter;
  auto await_resume() { return this->outcome(); }
};

/// Of runtime/core/shard.cpp: where what ends with a request to stop is hooked in.
cancel_state& stopping(shard& owner) noexcept;

/// The form of an awaiter that a request to stop ends.
template <class Awaiter>
class [[nodiscard]] heeding_stop : public Awaiter {
 public:
  using Awaiter::Awaiter;

  bool await_ready() const noexcept { return false; }  // a shard that stops is seen there
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    if (!Awaiter::await_suspend(waiter)) return false;
    if (!this->pending()) return true;
    auto& stop = stopping(this->owner());
    if (stop.requested())
      this->ask_to_end();
    else
      stop.add(stop_hook_);
    return true;
  }

 private:
  struct stop_hook : detail::cancel_node {
    explicit stop_hook(heeding_stop& a)
        : detail::cancel_node(kind_of_node<&stop_hook::on_stop>), awaiter(a) {}
    static void on_stop(detail::cancel_node& node) noexcept {
      static_cast<stop_hook&>(node).awaiter.ask_to_end();
    }
    heeding_stop& awaiter;
  };
  stop_hook stop_hook_{*this};
};

}  // namespace weir::detail
