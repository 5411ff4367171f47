// offload(): work that blocks or computes for long, on a bounded pool of threads, while the shard
// goes on. In a simulation it runs on the simulation's one thread, at a virtual time.
#pragma once

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "weir/detail/offloading.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"
#include "weir/stack/result.hpp"

namespace weir {

namespace detail {

template <class F>
class [[nodiscard]] offload_awaiter : public offload_operation {
 public:
  using value = std::invoke_result_t<F&>;
  static_assert(!std::is_reference_v<value>, "give a pointer, or the value");

  struct arguments {
    F function;  // a reference for what was a named object
  };
  offload_awaiter(arguments&& of, duration limit)
      : offload_operation(&offload_awaiter::call,
                          &hook<&offload_operation::request_cancel, &offload_awaiter::tell>),
        function_(std::forward<F>(of.function)) {
    set_timeout(limit);
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(*this); });
  }
  value await_resume() {
    if (auto error = ended()) throw io_error(error, "offload");
    if constexpr (!std::is_void_v<value>) return std::move(*result_);
  }

 protected:
  using reported =
      std::conditional_t<std::is_void_v<value>, std::error_code,
                         result<std::conditional_t<std::is_void_v<value>, int, value>>>;
  reported outcome() {
    const auto error = ended();
    if constexpr (std::is_void_v<value>) {
      return error;
    } else {
      if (error) return error;
      return std::move(*result_);
    }
  }

 private:
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept {
    told(node, out);
    out.operation = "offload";
  }
  static void call(offload_operation& op) noexcept {
    auto& self = static_cast<offload_awaiter&>(op);
    try {
      if constexpr (std::is_void_v<value>)
        self.function_();
      else
        self.result_.emplace(self.function_());
    } catch (...) {
      self.thrown_ = std::current_exception();
    }
  }
  std::error_code ended() {
    end(*this);
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
    return final_error();
  }

  F function_;
  std::optional<std::conditional_t<std::is_void_v<value>, std::monostate, value>> result_;
  std::exception_ptr thrown_;
};

#if defined(__GNUC__) && !defined(__clang__) && (__GNUC__ == 12 && __GNUC_MINOR__ < 3)
template <class F>
inline constexpr bool survives_co_await =
    std::is_lvalue_reference_v<F> || std::is_trivially_destructible_v<F>;
#else
template <class F>
inline constexpr bool survives_co_await = true;
#endif

}  // namespace detail

/// Runs `f()` on a thread of the program's pool (offload.threads of them, made when first needed)
/// and gives what it returns, or throws what it throws, here. References into this coroutine's
/// frame hold meanwhile. `f` must not use anything that belongs to a shard: no stream, no event, no
/// co_await; posting (weir::poster) is how it speaks to one.
///
/// Errors: resource_unavailable_try_again: as many wait as offload.queue allows; it did not run.
/// operation_canceled, timed_out: the same, it was still waiting for a thread. Once it runs, it is
/// waited for, whatever asks for an early end (nothing can stop a thread in the middle of a call),
/// and what it gives counts. A shard that is asked to stop and has to wait for such a function says
/// so on stderr. operation_not_supported: a shard that was made without a pool.
///
/// .nothrow() gives a result<T> (an error_code where f returns nothing); what f threw is thrown
/// all the same. One pool serves all shards, in order. Nothing is allocated for a call.
template <class F>
  requires std::is_invocable_v<F&>
detail::request<detail::offload_awaiter<F>> offload(F&& f) {
  static_assert(detail::survives_co_await<F>,
                "g++ 12.2 destroys such a function object twice inside a co_await expression: give "
                "it a name first, and offload(name)");
  return detail::request<detail::offload_awaiter<F>>({std::forward<F>(f)});
}

/// Of the pool that this shard uses; all zero where it has none. Any thread.
offload_counters offload_counts(shard& of);

}  // namespace weir
