// Time for coroutines: sleep_for, sleep_until, yield, with_timeout. All on the shard's timer wheel:
// virtual time in a simulation, CLOCK_MONOTONIC elsewhere. A wait under a second is never early; a
// longer one counts from the start of the present turn of the loop. Either is late by a turn at
// most.
#pragma once

#include <utility>

#include "weir/detail/operation.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"
#include "weir/task.hpp"

namespace weir {

namespace detail {

/// An operation that nothing completes: its timeout is its success.
class [[nodiscard]] sleep_awaiter : public operation {
 public:
  struct arguments {
    duration time;
  };
  sleep_awaiter(const arguments& of, duration limit)
      : operation(&hook<&sleep_awaiter::end, &sleep_awaiter::tell>), cut_short_(limit < of.time) {
    set_timeout(cut_short_ ? limit : of.time);
  }
  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [] {});
  }
  void await_resume() {
    if (auto why = outcome()) throw io_error(why, "sleep");
  }

 protected:
  std::error_code outcome() const {
    if (!timed_out()) return error();
    return cut_short_ ? timeout_error() : std::error_code();
  }

 private:
  bool cut_short_;
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept {
    told(node, out);
    out.operation = "sleep";
  }
  static void end(operation& op) noexcept { op.complete(canceled_error()); }
};

/// Lets everything that is ready run first.
class [[nodiscard]] yield_awaiter : public ready_node {
 public:
  yield_awaiter() = default;
  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  void await_suspend(std::coroutine_handle<Promise> waiter) {
    handle = waiter;
    make_ready(*waiter.promise().owner, *this);
  }
  void await_resume() const noexcept {}
};

/// Runs a task under a cancellation of its own, which a timer requests.
template <class T>
class [[nodiscard]] timeout_awaiter : private detail::timer_node {
 public:
  timeout_awaiter(duration limit, task<T> child)
      : timer_node(&timeout_awaiter::on_deadline), limit_(limit), child_(std::move(child)) {}
  timeout_awaiter(timeout_awaiter&& other) noexcept
      : timer_node(&timeout_awaiter::on_deadline),
        limit_(other.limit_),
        child_(std::move(other.child_)) {}
  ~timeout_awaiter() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    promise_base& mine = parent.promise();
    cancel_.attach(mine.cancel);
    if (limit_ != no_limit) arm_timer(*mine.owner, *this, limit_);
    frame_ = child_.release();
    frame_.promise().inherit(mine);
    frame_.promise().cancel = &cancel_;
    return run_child(frame_, parent);
  }
  /// What the task returned or threw; io_error(timed_out) when it ended by the cancellation that
  /// the deadline asked for.
  T await_resume() {
    disarm();
    cancel_.detach();
    try {
      return frame_.promise().take();
    } catch (const io_error& error) {
      if (late_ && error.code() == std::errc::operation_canceled)
        throw io_error(timeout_error(), "with_timeout");
      throw;
    }
  }

 private:
  static void on_deadline(detail::timer_node& node) noexcept {
    auto& self = static_cast<timeout_awaiter&>(node);
    self.late_ = !self.cancel_.requested();
    self.cancel_.request();
  }

  duration limit_;
  task<T> child_;
  cancel_state cancel_;
  std::coroutine_handle<task_promise<T>> frame_;
  bool late_ = false;
};

}  // namespace detail

/// Waits for `d`; not at all where that is negative; until it is cancelled where it is no_limit.
/// Throws operation_canceled when cancelled.
inline detail::request<detail::sleep_awaiter> sleep_for(duration d) {
  return detail::request<detail::sleep_awaiter>({d});
}

/// Lets every other coroutine that is ready run once.
inline detail::yield_awaiter yield() { return {}; }

/// Awaits `child` for at most `limit` (negative: 0; no_limit: for ever), then cancels it and waits
/// for its end. A result that came in time, or in spite of the cancellation, counts; otherwise
/// io_error(timed_out).
template <class T>
detail::timeout_awaiter<T> with_timeout(duration limit, task<T> child) {
  return {limit, std::move(child)};
}

}  // namespace weir
