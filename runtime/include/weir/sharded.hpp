// One object for each shard of a run, and calls to them from every other shard. No lock: an object
// is made, used and destroyed on its own shard, and what is asked of it from elsewhere goes there.
//
//   weir::sharded<room> rooms;  // outlives run()
//   rooms.local(shard).enter(me);
//   co_await rooms.invoke_on(2, [&](room& theirs) { theirs.say(text); });
//   co_await rooms.invoke_on_all([](room& each) { each.tick(); });
#pragma once

#include <cassert>
#include <exception>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "weir/scope.hpp"
#include "weir/shard.hpp"
#include "weir/submit.hpp"
#include "weir/task.hpp"

namespace weir {

namespace detail {

/// What a shard keeps for the objects of type T that are spread over shards.
template <class T>
class kept_here {
 public:
  explicit kept_here(shard&) {}
  /// The object that belongs to `of`; null before keep().
  T* find(const std::shared_ptr<int>& of) const {
    for (const auto& each : kept_)
      if (each.of == of) return each.object.get();
    return nullptr;
  }
  T& keep(std::shared_ptr<int> of, std::unique_ptr<T> object) {
    kept_.push_back({std::move(of), std::move(object)});
    return *kept_.back().object;
  }

 private:
  struct kept_one {
    std::shared_ptr<int> of;  // kept, so that nothing else gets its address
    std::unique_ptr<T> object;
  };
  std::vector<kept_one> kept_;
};

template <class R>
struct awaited {
  using type = R;
};
template <class R>
struct awaited<task<R>> {
  using type = R;
};
/// What f(T&) gives, or what the task that it gives ends with.
template <class F, class T>
using awaited_result = typename awaited<std::invoke_result_t<F&, T&>>::type;

}  // namespace detail

template <class T>
class sharded {
 public:
  /// Each is made as T(shard), or T() where it knows no shard.
  sharded() : make_(&make_plain) {}
  /// Each is what `make` gives, which is called on its shard: on several threads at once.
  explicit sharded(std::function<std::unique_ptr<T>(shard&)> make) : make_(std::move(make)) {}
  sharded(const sharded&) = delete;
  sharded& operator=(const sharded&) = delete;

  /// This shard's: made when it is first asked for, here or from elsewhere; destroyed when the
  /// shard goes, before its back end, when nothing runs on any shard any more.
  T& local(shard& here) {
    assert(here.on_this_thread());
    auto& kept = here.local<detail::kept_here<T>>();
    if (auto* found = kept.find(key_)) return *found;
    return kept.keep(key_, make_(here));
  }

  /// Runs `f(T&)` on shard `index` of this run (shard::siblings()), with that shard's object, and
  /// gives what it returns, or what the task that it returned ends with. Cancelling the caller
  /// cancels that task, and waits for its end. References into the caller's frame stay valid.
  template <class F>
  task<detail::awaited_result<F, T>> invoke_on(unsigned index, F f) {
    auto& here = co_await this_shard();
    assert(index < here.siblings().size() && "no such shard");
    co_return co_await submit_to(*here.siblings()[index], call(f));
  }

  /// Runs a copy of `f(T&)` on every shard, all at the same time, and waits for all of them. What
  /// the first failure threw is thrown here, when those that it cancelled have ended.
  template <class F>
  task<> invoke_on_all(F f) {
    auto& here = co_await this_shard();
    scope calls(here);
    std::exception_ptr failure;
    calls.on_failure([&](std::exception_ptr one) {
      if (failure == nullptr) failure = std::move(one);
      calls.cancel();
    });
    const auto count = static_cast<unsigned>(here.siblings().size());
    for (unsigned i = 0; i < count; ++i) calls.spawn(call_there(i, f));
    co_await calls.join();
    if (failure) std::rethrow_exception(failure);
  }

 private:
  static std::unique_ptr<T> make_plain([[maybe_unused]] shard& here) {
    if constexpr (std::is_constructible_v<T, shard&>)
      return std::make_unique<T>(here);
    else
      return std::make_unique<T>();
  }

  /// On the object's shard.
  template <class F>
  task<detail::awaited_result<F, T>> call(F& f) {
    auto& here = co_await this_shard();
    auto& mine = local(here);
    if constexpr (std::is_same_v<std::invoke_result_t<F&, T&>, task<detail::awaited_result<F, T>>>)
      co_return co_await f(mine);
    else
      co_return f(mine);
  }
  template <class F>
  task<> call_there(unsigned index, F f) {
    auto& here = co_await this_shard();
    (void)co_await submit_to(*here.siblings()[index], call(f));
  }

  std::function<std::unique_ptr<T>(shard&)> make_;
  std::shared_ptr<int> key_ = std::make_shared<int>();
};

}  // namespace weir
