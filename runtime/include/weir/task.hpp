// task<T>: a lazy, move-only coroutine that is awaited exactly once, and the promise that carries
// what every coroutine of weir inherits from its parent: the shard that it runs on and the
// cancellation that governs it.
//
// Awaiting a child never depends on guaranteed tail calls, which g++ leaves out at -O0/-O1 and
// under sanitizers: the child is resumed from a bool await_suspend that returns false when it has
// finished at once, and its final suspension transfers to the parent only when that really parked.
// (One shard is one thread, so "really parked" is a plain flag.)
#pragma once

#include <cassert>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

#include "weir/detail/cancel.hpp"
#include "weir/detail/place.hpp"
#include "weir/detail/ready.hpp"

namespace weir {

class shard;
template <class T = void>
class task;

namespace detail {

// Coroutine frames come from a per-thread free list of size classes (runtime/core/frame_pool.cpp).
void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size) noexcept;

struct promise_base;
struct belonging_told;

struct completion;
struct completion_kind {
  using function = void (*)(completion&, promise_base& ended) noexcept;
  using teller = void (*)(const completion&, belonging_told&) noexcept;

  function run;
  teller tell;  ///< what the coroutine belongs to; null: nothing to say
};
template <completion_kind::function Run, completion_kind::teller Tell = nullptr>
inline constexpr completion_kind kind_of_end{Run, Tell};

/// What ends a coroutine that no coroutine awaits. Called last in its life; it may destroy the
/// frame. One may serve many coroutines: it is told which has ended.
struct completion {
  const completion_kind* kind;
};

/// An awaitable that is awaited as it is, without an operator co_await.
template <class A>
concept own_awaiter = !requires(A&& a) { static_cast<A&&>(a).operator co_await(); } &&
                      !requires(A&& a) { operator co_await(static_cast<A&&>(a)); };

/// Stands for such a one: g++ would keep a copy of it in the frame.
template <class A>
class passed_on {
 public:
  explicit passed_on(A& awaiter) noexcept : awaiter_(&awaiter) {}
  bool await_ready() noexcept(noexcept(std::declval<A&>().await_ready())) {
    return awaiter_->await_ready();
  }
  template <class Promise>
  decltype(auto) await_suspend(std::coroutine_handle<Promise> waiter) {
    return awaiter_->await_suspend(waiter);
  }
  decltype(auto) await_resume() { return awaiter_->await_resume(); }

 private:
  A* awaiter_;
};

/// What a coroutine knows of its surroundings. Inherited by awaiting, never passed by hand.
struct promise_base {
  // `handle` is the parent, which goes on at the end. Before the beginning, the coroutine itself,
  // where it has to wait for its first turn: so that a scope keeps no record for each of its tasks.
  ready_node turn;
  weir::shard* owner = nullptr;
  cancel_state* cancel = nullptr;
  completion* on_done = nullptr;
  bool parked = false;  // the parent has suspended and waits for this coroutine's end
#if WEIR_WITH_TASKS
  std::uint64_t waits_since : 56 = 0;  // of the shard's clock, in ns: 2.2 years
#endif
  std::exception_ptr failure;
#if WEIR_WITH_TASKS
  source_at where = nullptr;  // of the last co_await; before the first, the function
#endif

  void inherit(const promise_base& parent) {
    owner = parent.owner;
    cancel = parent.cancel;
  }

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }

#if WEIR_WITH_TASKS
  std::suspend_always initial_suspend(source_at here = WEIR_HERE) noexcept {
    where = here;
    return {};
  }
  /// Every co_await of a task says where it stands, and is otherwise as it was.
  template <class A>
  decltype(auto) await_transform(A&& awaited, source_at here = WEIR_HERE) noexcept {
    where = here;
    if constexpr (own_awaiter<A>)
      return passed_on<std::remove_reference_t<A>>(awaited);
    else
      return static_cast<A&&>(awaited);
  }
#else
  std::suspend_always initial_suspend() noexcept { return {}; }
#endif

  struct final_awaiter {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      promise_base& promise = self.promise();
      if (promise.on_done != nullptr) {
        // The frame, and this awaiter in it, may be gone from here on.
        promise.on_done->kind->run(*promise.on_done, promise);
        return std::noop_coroutine();
      }
      return promise.parked ? promise.turn.handle : std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };
  final_awaiter final_suspend() noexcept { return {}; }

  void unhandled_exception() noexcept { failure = std::current_exception(); }
};

template <class Promise>
concept weir_promise = std::is_base_of_v<promise_base, Promise>;

template <class T>
struct task_promise : promise_base {
  task<T> get_return_object() noexcept;

  template <class U>
    requires std::is_constructible_v<T, U&&>
  void return_value(U&& value) noexcept(std::is_nothrow_constructible_v<T, U&&>) {
    ::new (static_cast<void*>(storage)) T(std::forward<U>(value));
    has_value = true;
  }
  T take() {
    if (failure) std::rethrow_exception(std::move(failure));
    assert(has_value && "a task with a result ended without co_return");
    return std::move(*reinterpret_cast<T*>(storage));
  }
  ~task_promise() {
    if (has_value) reinterpret_cast<T*>(storage)->~T();
  }

  static_assert(alignof(T) <= 2 * sizeof(void*), "frames are aligned as operator new aligns");
  alignas(T) std::byte storage[sizeof(T)];
  bool has_value = false;
};

template <class T>
struct task_promise<T&> : promise_base {
  task<T&> get_return_object() noexcept;
  void return_value(T& value) noexcept { pointer = &value; }
  T& take() {
    if (failure) std::rethrow_exception(std::move(failure));
    assert(pointer != nullptr && "a task with a result ended without co_return");
    return *pointer;
  }
  T* pointer = nullptr;
};

template <>
struct task_promise<void> : promise_base {
  task<void> get_return_object() noexcept;
  void return_void() noexcept {}
  void take() {
    if (failure) std::rethrow_exception(std::move(failure));
  }
};

/// The promise of any of weir's coroutines. Promises are aligned as frames are, so it stands behind
/// the two words that every frame begins with.
inline promise_base& promise_of(std::coroutine_handle<> any) noexcept {
  return std::coroutine_handle<promise_base>::from_address(any.address()).promise();
}

/// Says, in a line on stderr, which function's task goes without ever having run.
void note_never_run(const promise_base& task) noexcept;

/// Resumes `child` on behalf of `parent`. True: the parent must stay suspended.
template <class Promise>
bool run_child(std::coroutine_handle<Promise> child, std::coroutine_handle<> parent) {
  child.promise().turn.handle = parent;
  child.resume();
  if (child.done()) return false;
  child.promise().parked = true;
  return true;
}

}  // namespace detail

/// A coroutine that runs when it is awaited, on its parent's shard, under its parent's
/// cancellation. Completion: co_await gives what it returned, or throws what it threw. Lifetime:
/// the frame goes with the task object; a task that runs must not be destroyed (asserted).
template <class T>
class [[nodiscard("a task runs only when it is awaited or spawned")]] task {
 public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  task() = default;
  task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      reset();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~task() { reset(); }

  explicit operator bool() const { return frame_ != nullptr; }

  class awaiter {
   public:
    explicit awaiter(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
    bool await_ready() noexcept { return false; }
    template <detail::weir_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> parent) {
      frame_.promise().inherit(parent.promise());
      return detail::run_child(frame_, parent);
    }
    T await_resume() { return frame_.promise().take(); }

   private:
    std::coroutine_handle<promise_type> frame_;
  };
  awaiter operator co_await() && {
    assert(frame_ && !frame_.done() && "a task is awaited exactly once");
    return awaiter(frame_);
  }

  /// For scope, when_all and their like: the frame, whose owner becomes the caller.
  std::coroutine_handle<promise_type> release() { return std::exchange(frame_, nullptr); }

  /// Lets a task go that shall not run. (One that goes otherwise without having run was forgotten,
  /// most likely: that is said on stderr.)
  void discard() noexcept {
    if (frame_) frame_.destroy();
    frame_ = nullptr;
  }

 private:
  friend promise_type;
  explicit task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
  void reset() {
#if WEIR_WITH_TASKS
    if (frame_ && frame_.promise().owner == nullptr) detail::note_never_run(frame_.promise());
#endif
    discard();
  }

  std::coroutine_handle<promise_type> frame_;
};

template <class T>
task<T> detail::task_promise<T>::get_return_object() noexcept {
  return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}
template <class T>
task<T&> detail::task_promise<T&>::get_return_object() noexcept {
  return task<T&>(std::coroutine_handle<task_promise>::from_promise(*this));
}
inline task<void> detail::task_promise<void>::get_return_object() noexcept {
  return task<void>(std::coroutine_handle<task_promise>::from_promise(*this));
}

}  // namespace weir
