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
#include <exception>
#include <type_traits>
#include <utility>

#include "weir/detail/cancel.hpp"
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

/// What ends a coroutine that no coroutine awaits. Called last in its life; it may destroy the
/// frame. One may serve many coroutines: it is told which has ended.
struct completion {
  void (*run)(completion&, promise_base& ended) noexcept;
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
  std::exception_ptr failure;

  void inherit(const promise_base& parent) {
    owner = parent.owner;
    cancel = parent.cancel;
  }

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }

  std::suspend_always initial_suspend() noexcept { return {}; }

  struct final_awaiter {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      promise_base& promise = self.promise();
      if (promise.on_done != nullptr) {
        // The frame, and this awaiter in it, may be gone from here on.
        promise.on_done->run(*promise.on_done, promise);
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

 private:
  friend promise_type;
  explicit task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
  void reset() {
    if (frame_) frame_.destroy();
    frame_ = nullptr;
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
