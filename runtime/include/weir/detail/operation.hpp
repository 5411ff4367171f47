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

#include <cassert>
#include <cstdint>
#include <system_error>

#include "weir/detail/cancel.hpp"
#include "weir/detail/ready.hpp"
#include "weir/detail/timer.hpp"
#include "weir/error.hpp"
#include "weir/task.hpp"

namespace weir::detail {

// Of runtime/core/shard.cpp; declared here so that awaiters need not know the shard's inside.
void make_ready(shard& owner, ready_node& node) noexcept;
void arm_timer(shard& owner, timer_node& node, duration from_now) noexcept;
/// Counts an operation that finished without suspending. False: this turn's share is used up, go
/// through the queue.
bool spend_budget(shard& owner) noexcept;

class operation : public ready_node, private detail::cancel_node, private detail::timer_node {
 public:
  enum class state : std::uint8_t { fresh, starting, pending, done };

  shard& owner() const { return *owner_; }
  bool pending() const { return state_ == state::pending; }
  std::error_code error() const { return error_; }

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
  /// How an operation keeps it: one function where three would do the same.
  using cancel_hook = detail::cancel_node::callback;
  template <cancel_function Request>
  static void hook(detail::cancel_node& node) noexcept {
    auto& self = static_cast<operation&>(node);
    if (self.asked_ || self.state_ != state::pending) return;
    self.asked_ = true;
    Request(self);
  }

  explicit operation(cancel_hook ask) : cancel_node(ask), timer_node(&operation::on_timeout) {
    set_timeout(duration(-1));
  }
  /// An operation moves only before it was started (into its nothrow form, out of timeout()).
  operation(operation&& other) noexcept
      : cancel_node(other.cancel_node::what()), timer_node(&operation::on_timeout) {
    assert(other.state_ == state::fresh && "an operation that was started never moves");
    owner_ = other.owner_;
    set_timeout(other.timer_node::set_aside());
  }
  operation(const operation&) = delete;
  ~operation() {
    assert(state_ != state::pending && "a frame with a pending operation was destroyed");
  }

  void set_timeout(duration d) { timer_node::set_aside(d); }

  /// await_suspend of every awaiter: `start` begins the operation and may complete it at once.
  template <weir_promise Promise, class Start>
  bool suspend(std::coroutine_handle<Promise> waiter, Start&& start) {
    promise_base& promise = waiter.promise();
    assert(owner_ == nullptr || owner_ == promise.owner);
    owner_ = promise.owner;
    handle = waiter;
    state_ = state::starting;
    if (promise.cancel != nullptr && promise.cancel->requested()) {
      complete(canceled_error());
      return false;
    }
    start();
    if (state_ == state::done) {
      if (spend_budget(*owner_)) return false;
      make_ready(*owner_, *this);  // done, but others want a turn
      return true;
    }
    state_ = state::pending;
    if (promise.cancel != nullptr) promise.cancel->add(*this);
    if (const auto limit = timer_node::set_aside(); limit.count() >= 0)
      arm_timer(*owner_, *this, limit);
    return true;
  }

  /// await_suspend of what has finished already, when this turn's share of inline completions is
  /// used up.
  template <weir_promise Promise>
  bool queue_finished(std::coroutine_handle<Promise> waiter) {
    owner_ = waiter.promise().owner;
    handle = waiter;
    finish_inline();
    make_ready(*owner_, *this);
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
  static void on_timeout(detail::timer_node& node) noexcept {
    auto& self = static_cast<operation&>(node);
    self.timed_out_ = !self.asked_;
    self.ask_to_end();
  }
  shard* owner_ = nullptr;
  std::error_code error_;
  state state_ = state::fresh;
  bool timed_out_ = false;
  bool asked_ = false;
};

/// The form of an operation that reports instead of throwing: co_await op.nothrow().
template <class Operation>
class [[nodiscard]] nothrow_form : public Operation {
 public:
  explicit nothrow_form(Operation&& throwing) : Operation(std::move(throwing)) {}
  [[nodiscard]] nothrow_form&& timeout(duration d) && {
    this->set_timeout(d);
    return std::move(*this);
  }
  auto await_resume() { return this->outcome(); }
};

}  // namespace weir::detail
