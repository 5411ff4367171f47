// when_all and when_any: several tasks or operations at once under one co_await, on this
// coroutine's shard. Both wait for every one to end before they return, so nothing outlives the
// expression: when one fails (all) or wins (any) the rest are cancelled and awaited.
#pragma once

#include <cstddef>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "weir/shard.hpp"
#include "weir/task.hpp"

namespace weir {

/// In place of a task<>'s missing result.
using none = std::monostate;

template <class... Ts>
class any_result;

namespace detail {

template <class T>
using value_or_none = std::conditional_t<std::is_void_v<T>, none, T>;

/// What the tasks of one when_all or when_any have in common.
struct join_state : ready_node {
  cancel_state cancel;
  shard* owner = nullptr;
  std::size_t running = 0;
  bool parked = false;
  bool first_wins = false;
  bool decided = false;  // a task won (any) or failed (all); the rest are cancelled
  std::size_t winner = 0;
  std::exception_ptr failure;

  void ended(std::size_t index, const std::exception_ptr& failed) noexcept {
    if (!decided && (first_wins || failed)) {
      decided = true;
      winner = index;
      if (!first_wins) failure = failed;
      cancel.request();
    }
    if (--running == 0 && parked) make_ready(*owner, *this);
  }
};

/// One of the tasks.
template <class T>
class join_child : public completion {
 public:
  explicit join_child(task<T> t)
      : completion{&kind_of_end<&join_child::on_end, &join_child::tell>}, frame_(t.release()) {}
  join_child(join_child&& other) noexcept
      : completion{&kind_of_end<&join_child::on_end, &join_child::tell>},
        frame_(std::exchange(other.frame_, nullptr)) {}
  ~join_child() {
    if (frame_) frame_.destroy();
  }

  void start(join_state& state, std::size_t index) {
    state_ = &state;
    index_ = index;
    auto& promise = frame_.promise();
    promise.owner = state.owner;
    promise.cancel = &state.cancel;
    promise.on_done = this;
    frame_.resume();
  }
  bool failed() const { return frame_.promise().failure != nullptr; }
  value_or_none<T> take() {
    if constexpr (std::is_void_v<T>) {
      frame_.promise().take();
      return {};
    } else {
      return frame_.promise().take();
    }
  }

 private:
  // The frame stays, finally suspended, until the result was taken.
  static void on_end(completion& c, promise_base&) noexcept {
    auto& self = static_cast<join_child&>(c);
    self.state_->ended(self.index_, self.frame_.promise().failure);
  }

  static void tell(const completion& c, belonging_told& out) noexcept {
    out.of = belonging_told::kind::join;
    out.parent = static_cast<const join_child&>(c).state_->handle;
  }

  std::coroutine_handle<task_promise<T>> frame_;
  join_state* state_ = nullptr;
  std::size_t index_ = 0;
};

/// Starts children and waits for the last of them. Derived has start_all().
class join_awaiter {
 public:
  explicit join_awaiter(bool first_wins) { state_.first_wins = first_wins; }
  bool await_ready() const noexcept { return false; }

 protected:
  template <class Promise, class StartAll>
  bool run(std::coroutine_handle<Promise> parent, std::size_t count, StartAll&& start_all) {
    state_.owner = parent.promise().owner;
    state_.cancel.attach(parent.promise().cancel);
    state_.handle = parent;
    state_.running =
        count + 1;  // one for this function, so that no child ends the wait before all were started
    start_all();
    if (--state_.running == 0) return false;
    state_.parked = true;
    return true;
  }
  void finish() {
    state_.cancel.detach();
    if (state_.failure) std::rethrow_exception(state_.failure);
  }

  join_state state_;
};

template <class... Ts>
class [[nodiscard]] join_tuple : public join_awaiter {
 public:
  join_tuple(bool first_wins, task<Ts>... tasks)
      : join_awaiter(first_wins), children_(std::move(tasks)...) {}

  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    return run(parent, sizeof...(Ts), [this] { start_all(std::index_sequence_for<Ts...>{}); });
  }

 protected:
  template <std::size_t... Is>
  void start_all(std::index_sequence<Is...>) {
    (std::get<Is>(children_).start(state_, Is), ...);
  }
  std::tuple<join_child<Ts>...> children_;
};

template <class... Ts>
class [[nodiscard]] all_of_tuple : public join_tuple<Ts...> {
 public:
  explicit all_of_tuple(task<Ts>... tasks) : join_tuple<Ts...>(false, std::move(tasks)...) {}
  std::tuple<value_or_none<Ts>...> await_resume() {
    this->finish();
    return std::apply(
        [](auto&... child) { return std::tuple<value_or_none<Ts>...>(child.take()...); },
        this->children_);
  }
};

template <class... Ts>
class any_operation;

template <class... Ts>
class [[nodiscard]] any_of_tuple : public join_tuple<Ts...> {
 public:
  using value = std::variant<value_or_none<Ts>...>;
  explicit any_of_tuple(task<Ts>... tasks) : join_tuple<Ts...>(true, std::move(tasks)...) {}
  value await_resume() {
    this->finish();
    return pick(std::index_sequence_for<Ts...>{});
  }

 private:
  template <std::size_t... Is>
  value pick(std::index_sequence<Is...>) {
    using picker = value (*)(any_of_tuple&);
    static constexpr picker pickers[] = {[](any_of_tuple& self) {
      return value(std::in_place_index<Is>, std::get<Is>(self.children_).take());
    }...};
    return pickers[this->state_.winner](*this);
  }
};

/// when_any() of operations.
template <class... Ts>
class [[nodiscard]] any_operation : public join_tuple<Ts...> {
 public:
  explicit any_operation(task<Ts>... tasks) : join_tuple<Ts...>(true, std::move(tasks)...) {}
  any_result<Ts...> await_resume() {
    this->finish();
    any_result<Ts...> out(this->state_.winner);
    take(out, std::index_sequence_for<Ts...>{});
    return out;
  }

 private:
  template <std::size_t... Is>
  void take(any_result<Ts...>& out, std::index_sequence<Is...>) {
    // The first to end may have failed: that is thrown. The others failed since they were told to.
    const auto one = [&](auto& child, auto& into, std::size_t index) {
      if (index == out.index() || !child.failed()) into.emplace(child.take());
    };
    (one(std::get<Is>(this->children_), std::get<Is>(out.values_), Is), ...);
  }
};

/// What co_await makes of an operation, as a task.
template <class A>
decltype(auto) awaiter_of(A&& a) {
  if constexpr (requires { std::forward<A>(a).operator co_await(); })
    return std::forward<A>(a).operator co_await();
  else
    return std::forward<A>(a);
}
template <class A>
using awaited_t = std::remove_cvref_t<decltype(awaiter_of(std::declval<A>()).await_resume())>;

template <class A>
task<awaited_t<A>> as_task(A operation) {
  co_return co_await std::move(operation);
}
template <class T>
task<T> as_task(task<T> already) {
  return already;
}

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;
template <class T>
inline constexpr bool is_request = false;
template <class A>
inline constexpr bool is_request<request<A>> = true;
/// Tasks and operations, one operation at least.
template <class... As>
concept with_operations = ((is_task<As> || is_request<As>) && ...) && (is_request<As> || ...);

template <class T>
class [[nodiscard]] join_vector : public join_awaiter {
 public:
  join_vector(bool first_wins, std::vector<task<T>> tasks) : join_awaiter(first_wins) {
    children_.reserve(tasks.size());
    for (auto& t : tasks) children_.emplace_back(std::move(t));
  }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    return run(parent, children_.size(), [this] {
      for (std::size_t i = 0; i < children_.size(); ++i) children_[i].start(state_, i);
    });
  }

 protected:
  std::vector<join_child<T>> children_;
};

template <class T>
class [[nodiscard]] all_of_vector : public join_vector<T> {
 public:
  explicit all_of_vector(std::vector<task<T>> tasks) : join_vector<T>(false, std::move(tasks)) {}
  std::vector<value_or_none<T>> await_resume() {
    this->finish();
    std::vector<value_or_none<T>> values;
    values.reserve(this->children_.size());
    for (auto& child : this->children_) values.push_back(child.take());
    return values;
  }
};

}  // namespace detail

/// What when_any() of operations gave: which one ended first, and what each of them gave. A loser
/// that had its result in spite of the cancellation (bytes that came at the same moment) tells it
/// here, so that nothing is lost.
template <class... Ts>
class any_result {
 public:
  /// Which one was first.
  std::size_t index() const { return index_; }
  /// What number I gave; of a loser, mostly nothing.
  template <std::size_t I>
  auto& get() {
    return std::get<I>(values_);
  }

 private:
  friend class detail::any_operation<Ts...>;
  explicit any_result(std::size_t index) : index_(index) {}

  std::size_t index_;
  std::tuple<std::optional<detail::value_or_none<Ts>>...> values_;
};

/// Runs all tasks; gives their results in order (none for void). The first failure cancels the
/// others and is thrown when they have ended.
template <class... Ts>
detail::all_of_tuple<Ts...> when_all(task<Ts>... tasks) {
  return detail::all_of_tuple<Ts...>(std::move(tasks)...);
}
template <class T>
detail::all_of_vector<T> when_all(std::vector<task<T>> tasks) {
  return detail::all_of_vector<T>(std::move(tasks));
}

/// The same with operations among them: when_all(peer.read_some(a), other.read_some(b)).
template <class... As>
  requires detail::with_operations<As...>
detail::all_of_tuple<detail::awaited_t<As>...> when_all(As... operations) {
  return detail::all_of_tuple<detail::awaited_t<As>...>(detail::as_task(std::move(operations))...);
}

/// Runs all tasks until the first one ends, cancels the others and waits for them. Gives that one's
/// result at its index of the variant, or throws what it threw. What the others return in spite of
/// the cancellation is dropped.
template <class... Ts>
  requires(sizeof...(Ts) > 0)
detail::any_of_tuple<Ts...> when_any(task<Ts>... tasks) {
  return detail::any_of_tuple<Ts...>(std::move(tasks)...);
}
/// The same with operations among them: when_any(peer.read_some(buffer), stop_requested()). Gives
/// an any_result, or throws what the first to end threw.
template <class... As>
  requires detail::with_operations<As...>
detail::any_operation<detail::awaited_t<As>...> when_any(As... operations) {
  return detail::any_operation<detail::awaited_t<As>...>(detail::as_task(std::move(operations))...);
}

}  // namespace weir
