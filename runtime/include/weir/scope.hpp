// scope: structured concurrency. A scope owns the tasks spawned into it, bounds their number,
// reports their failures, and ends them: drain() waits for a while and then cancels the rest. There
// is no way to detach a task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>

#include "weir/shard.hpp"
#include "weir/task.hpp"

namespace weir {

struct scope_options {
  /// How many tasks may run at once; one more is refused.
  std::size_t max = std::numeric_limits<std::size_t>::max();
};

/// What drain() saw.
struct drain_result {
  bool in_time = true;        ///< every task ended before the deadline, none had to be cancelled
  std::size_t cancelled = 0;  ///< tasks that were cancelled
};

namespace detail {
class scope_state;

/// Waits until a scope is empty; cancels what is left at the deadline, or at once when the waiter
/// is cancelled. Waiting itself is never cut short: the tasks may refer to what the waiting
/// coroutine owns.
class [[nodiscard]] drain_awaiter : public ready_node,
                                    private detail::cancel_node,
                                    private detail::timer_node {
 public:
  drain_awaiter(scope_state& state, duration limit)
      : cancel_node(&drain_awaiter::on_cancel),
        timer_node(&drain_awaiter::on_deadline),
        state_(&state),
        limit_(limit) {}
  bool await_ready() const noexcept;
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    handle = waiter;
    return park(waiter.promise().cancel);
  }
  /// Throws the first failure that no handler took.
  drain_result await_resume();

 private:
  friend class scope_state;
  bool park(cancel_state* governing);
  void give_up() noexcept;
  static void on_cancel(detail::cancel_node& node) noexcept {
    static_cast<drain_awaiter&>(node).give_up();
  }
  static void on_deadline(detail::timer_node& node) noexcept {
    static_cast<drain_awaiter&>(node).give_up();
  }

  scope_state* state_;
  duration limit_;
  drain_result outcome_;
};
}  // namespace detail

/// Owns the tasks spawned into it. Await drain() or join() before it goes: a scope that goes early
/// (an exception passed by) cancels its tasks and leaves them to the shard, which does not end
/// before they do - but what they refer to in the coroutine that owned the scope is gone by then.
///
/// Failures. A task that ends with an io_error met an operating error of its own connection: it is
/// counted (io_errors()) and the others go on. Any other exception fails the scope: it is logged,
/// the other tasks are cancelled, and drain() throws it. on_failure() replaces both: the handler
/// gets every exception and nothing else happens.
class scope {
 public:
  explicit scope(shard& owner, scope_options options = {});
  ~scope();
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;

  /// Starts a task on the scope's shard; it first runs after the caller suspends. False: the scope
  /// is full or cancelled; the task is destroyed without having run (a stream it held closes), and
  /// counted in refused().
  bool spawn(task<> child);

  std::size_t size() const;  ///< tasks that run
  std::uint64_t refused() const;
  std::uint64_t io_errors() const;
  void on_failure(std::function<void(std::exception_ptr)> handler);

  /// Cancels every task; does not wait.
  void cancel() noexcept;

  /// Waits for all tasks; cancels those that run after `limit` (negative: at once), and waits for
  /// them too.
  detail::drain_awaiter drain(duration limit) { return {*state_, limit}; }
  /// The same without a deadline.
  detail::drain_awaiter join() { return {*state_, no_limit}; }

 private:
  detail::scope_state* state_;
};

}  // namespace weir
