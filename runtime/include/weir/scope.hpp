// scope: structured concurrency. A scope owns the tasks spawned into it, bounds their number,
// reports their failures, and ends them: drain() waits for a while and then cancels the rest. There
// is no way to detach a task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "weir/shard.hpp"
#include "weir/sync.hpp"
#include "weir/task.hpp"

namespace weir {

struct scope_options {
  /// How many tasks may run at once; one more is refused.
  std::size_t max = std::numeric_limits<std::size_t>::max();
  /// For whoever looks at the tasks (weir-ps, logs); lives as long as the scope and its tasks do.
  std::string_view name = {};
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
      : cancel_node(kind_of_node<&drain_awaiter::on_cancel, &drain_awaiter::tell>),
        timer_node(&drain_awaiter::on_deadline),
        state_(&state),
        limit_(limit) {}
  bool await_ready() const noexcept;
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    handle = waiter;
    note_waiting(waiter.promise());
    return park(waiter.promise().cancel);
  }
  /// Throws the first failure that no handler took.
  drain_result await_resume();

 private:
  friend class scope_state;
  bool park(cancel_state* governing);
  void give_up() noexcept;
  /// It gave up, and there are still tasks: says which, now and then.
  void say_who_is_left() noexcept;
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept;
  static void on_cancel(detail::cancel_node& node) noexcept {
    static_cast<drain_awaiter&>(node).give_up();
  }
  static void on_deadline(detail::timer_node& node) noexcept {
    auto& self = static_cast<drain_awaiter&>(node);
    if (self.gave_up_)
      self.say_who_is_left();
    else
      self.give_up();
  }

  scope_state* state_;
  duration limit_;
  drain_result outcome_;
  bool gave_up_ = false;
  duration patience_ = std::chrono::seconds(1);  // until it is said who is left
};

/// Keeps a callable, with all that it captured, for as long as what it returned runs.
template <class F>
task<> call_and_keep(F f) {
  co_await f();
}

/// What a started task and its handle share.
template <class T>
struct started_state {
  event ended;
  std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>> value;
  std::exception_ptr failure;
  bool wanted = true;  // the handle is there
};

template <class T>
task<> run_started(std::shared_ptr<started_state<T>> state, task<T> work) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(work);
      state->value.emplace();
    } else {
      auto got = co_await std::move(work);
      state->value.emplace(std::move(got));
    }
  } catch (...) {
    state->failure = std::current_exception();
  }
  state->ended.set();
  // Nobody will ask: then it is the scope's, as any task's.
  if (state->failure && !state->wanted) std::rethrow_exception(state->failure);
}
}  // namespace detail

/// A task that runs in a scope, and its result to come. Move-only; the task goes on without it.
template <class T>
class started {
 public:
  started() = default;
  explicit started(std::shared_ptr<detail::started_state<T>> state) : state_(std::move(state)) {}
  started(started&&) noexcept = default;
  started& operator=(started&& other) noexcept {
    drop();
    state_ = std::move(other.state_);
    return *this;
  }
  ~started() { drop(); }

  /// False: the scope refused it.
  explicit operator bool() const { return state_ != nullptr; }
  bool ended() const { return state_->ended.is_set(); }
  /// Waits for its end, as an event (.timeout(d), .nothrow(), .until_stop()): it goes on when the
  /// wait ends early.
  auto wait() { return state_->ended.wait(); }
  /// Of a task that has ended, once: what it returned, or throws what it threw.
  T take() {
    assert(ended() && "a started task's result is taken after its end");
    if (state_->failure) std::rethrow_exception(state_->failure);
    if constexpr (!std::is_void_v<T>) return std::move(*state_->value);
  }

 private:
  void drop() {
    if (state_ != nullptr) state_->wanted = false;
  }
  std::shared_ptr<detail::started_state<T>> state_;
};

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
  explicit scope(shard& owner, scope_options options = {}, detail::source_at made = WEIR_HERE);
  ~scope();
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;

  /// Starts a task on the scope's shard; it first runs after the caller suspends. False: the scope
  /// is full or cancelled; the task is destroyed without having run (a stream it held closes), and
  /// counted in refused().
  bool spawn(task<> child);
  /// The same with what `f()` gives. The scope keeps `f` until that has ended: captures by value
  /// are safe, as parameters are.
  template <class F>
    requires std::is_invocable_r_v<task<>, F&>
  bool spawn(F f) {
    return spawn(detail::call_and_keep(std::move(f)));
  }

  /// Starts a task and gives a handle on its result. What it throws goes to the handle, and to the
  /// scope only where that has gone.
  template <class T>
  started<T> start(task<T> child) {
    auto state = std::make_shared<detail::started_state<T>>();
    if (!spawn(detail::run_started<T>(state, std::move(child)))) return {};
    return started<T>(std::move(state));
  }

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
