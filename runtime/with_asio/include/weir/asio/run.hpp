// async_run: a task of weir's as an operation of Asio's, for Asio's coroutines and callbacks.
#pragma once

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "weir/asio/context.hpp"
#include "weir/asio/flavour.hpp"
#include "weir/scope.hpp"
#include "weir/task.hpp"

namespace weir {
inline namespace WEIR_ASIO_FLAVOUR {

/// How a task ended.
template <class T>
struct task_outcome {
  std::exception_ptr failure;
  std::optional<T> value;
};
template <>
struct task_outcome<void> {
  std::exception_ptr failure;
};

template <class T>
task<> keep_outcome(task<T> work, task_outcome<T>& into) {
  try {
    if constexpr (std::is_void_v<T>)
      co_await std::move(work);
    else
      into.value.emplace(co_await std::move(work));
  } catch (...) {
    into.failure = std::current_exception();
  }
}

/// A handler with an outcome, as a function of none.
template <class T, class Handler>
struct bound_outcome {
  using allocator_type = typename asio_of::associated_allocator<Handler>::type;
  allocator_type get_allocator() const noexcept {
    return asio_of::get_associated_allocator(handler);
  }
  void operator()() {
    if constexpr (std::is_void_v<T>)
      handler(std::move(got.failure));
    else
      handler(std::move(got.failure), got.value ? std::move(*got.value) : T());
  }
  Handler handler;
  task_outcome<T> got;
};

template <class T, class Handler>
task<> run_and_tell(shard_context& on, task<T> work, Handler handler) {
  using executor =
      typename asio_of::associated_executor<Handler, shard_context::executor_type>::type;
  asio_of::executor_work_guard<executor> kept(
      asio_of::get_associated_executor(handler, on.get_executor()));
  task_outcome<T> got;
  weir::scope running(on.shard(), {.max = 1});
  running.spawn(keep_outcome(std::move(work), got));
#if WEIR_ASIO_HAS_SLOTS
  auto slot = asio_of::get_associated_cancellation_slot(handler);
  if (slot.is_connected())
    slot.assign([&running, &on](asio_of::cancellation_type type) {
      if (type == asio_of::cancellation_type::none) return;
      running.cancel();
      on.stir();
    });
#endif
  co_await running.join();
#if WEIR_ASIO_HAS_SLOTS
  if (slot.is_connected()) slot.clear();
#endif
  on.call_ended();
  bound_outcome<T, Handler> ready{std::move(handler), std::move(got)};
  asio_of::dispatch(kept.get_executor(), std::move(ready));
}

/// Runs `work` on the shard of `on`, from its thread; it begins with the shard's next round.
/// Handler: void(std::exception_ptr), or void(std::exception_ptr, T) where it has a result, which
/// is T() beside an exception: as asio::co_spawn() has it. Its cancellation slot cancels the task,
/// whose end is waited for.
template <class T, class Token>
auto async_run(shard_context& on, task<T> work, Token&& token) {
  const auto initiate = [&on](auto&& handler, task<T> what) {
    using kind = std::decay_t<decltype(handler)>;
    on.call_started();
    on.shard().start(
        run_and_tell<T, kind>(on, std::move(what), std::forward<decltype(handler)>(handler)),
        [](std::exception_ptr of_the_handler) {
          if (of_the_handler) std::terminate();
        });
    on.stir();
  };
  if constexpr (std::is_void_v<T>)
    return asio_of::async_initiate<Token, void(std::exception_ptr)>(initiate, token,
                                                                    std::move(work));
  else
    return asio_of::async_initiate<Token, void(std::exception_ptr, T)>(initiate, token,
                                                                       std::move(work));
}

}  // namespace WEIR_ASIO_FLAVOUR
}  // namespace weir
