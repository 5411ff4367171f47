// when_all and when_any: several tasks at once under one co_await, on this coroutine's shard. Both
// wait for every task to end before they return, so nothing outlives the expression: when one fails
// (all) or wins (any) the rest are cancelled and awaited.
#pragma once

#include <cstddef>
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
  explicit join_child(task<T> t) : completion{&join_child::on_end}, frame_(t.release()) {}
  join_child(join_child&& other) noexcept
      : completion{&join_child::on_end}, frame_(std::exchange(other.frame_, nullptr)) {}
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

/// Runs all tasks until the first one ends, cancels the others and waits for them. Gives that one's
/// result at its index of the variant, or throws what it threw. What the others return in spite of
/// the cancellation is dropped.
template <class... Ts>
  requires(sizeof...(Ts) > 0)
detail::any_of_tuple<Ts...> when_any(task<Ts>... tasks) {
  return detail::any_of_tuple<Ts...>(std::move(tasks)...);
}

}  // namespace weir
