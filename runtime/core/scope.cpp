// The scope's state: children, their ends, and the one coroutine that waits for the last of them.
// It lives apart from the scope object, so that children can outlive a scope that goes early.
#include "weir/scope.hpp"

#include <cassert>
#include <memory>
#include <string>
#include <utility>

#include "runtime/core/flight_recorder.hpp"
#include "runtime/core/log.hpp"
#include "runtime/core/task_report.hpp"
#include "weir/error.hpp"

namespace weir {

namespace detail {

class scope_state : public completion {
 public:
  scope_state(shard& s, scope_options o, source_at at)
      : completion{&kind_of_end<&scope_state::ended, &scope_state::tell>},
        owner(&s),
        options(o),
        made(at),
        cancel(&s.root_cancel()) {}

  shard* owner;
  scope_options options;
  source_at made;
  cancel_state cancel;
  std::size_t size = 0;
  std::uint64_t refused = 0;
  std::uint64_t io_errors = 0;
  std::exception_ptr failure;
  std::function<void(std::exception_ptr)> handler;
  drain_awaiter* waiter = nullptr;
  bool orphaned = false;

  bool full() const { return size >= options.max || cancel.requested(); }
  void start(task<> child);
  /// `last` is the co_await that it began last.
  void note(std::exception_ptr failed, source_at last) noexcept;
  void child_ended() noexcept;
  void record(flight_event::kind what, source_at at, std::uint64_t tasks = 1) const noexcept {
    if (owner->recorder())
      owner->recorder()->add({.at = owner->now(), .count = tasks, .about = at, .what = what});
  }

 private:
  static void ended(completion& c, promise_base& child) noexcept;
  static void tell(const completion& c, belonging_told& out) noexcept;
};

void scope_state::tell(const completion& c, belonging_told& out) noexcept {
  const auto& self = static_cast<const scope_state&>(c);
  out.of = belonging_told::kind::scope;
  out.scope = &self;
  out.made = self.made;
  out.name = self.options.name;
  out.size = self.size;
  out.failures = self.io_errors;
  out.refused = self.refused;
  out.orphaned = self.orphaned;
}

// A child costs its frame and nothing else: its promise holds what is needed to start it and to
// hear of its end.
void scope_state::start(task<> t) {
  auto frame = t.release();
  auto& promise = frame.promise();
  promise.owner = owner;
  promise.cancel = &cancel;
  promise.on_done = this;
  promise.turn.handle = frame;
  ++size;
  owner->make_ready(promise.turn);
}

void scope_state::ended(completion& c, promise_base& child) noexcept {
  auto& state = static_cast<scope_state&>(c);
  using promise = task_promise<void>;
  auto frame = std::coroutine_handle<promise>::from_promise(static_cast<promise&>(child));
  auto failed = std::move(child.failure);
#if WEIR_WITH_TASKS
  const source_at last = child.where;
#else
  const source_at last = nullptr;
#endif
  frame.destroy();
  if (failed) state.note(std::move(failed), last);
  state.child_ended();
}

void scope_state::note(std::exception_ptr failed, source_at last) noexcept {
  if (handler) return handler(std::move(failed));
  std::string text;
  try {
    std::rethrow_exception(failed);
  } catch (const io_error& error) {
    if (error.code() != std::errc::operation_canceled) ++io_errors;
    return;
  } catch (const std::exception& error) {
    text = error.what();
  } catch (...) {
    text = "unknown exception";
  }
  try {
    if (last != nullptr) text += " (in " + in_words(last).function + ", " + short_place(last) + ")";
  } catch (const std::bad_alloc&) {
  }
  record(flight_event::kind::task_failed, last);
  log_line("a task failed and takes its scope with it: " + text);
  if (!failure) failure = std::move(failed);
  cancel.request();
}

void scope_state::child_ended() noexcept {
  if (--size != 0) return;
  if (waiter != nullptr) owner->make_ready(*std::exchange(waiter, nullptr));
  if (orphaned) {
    owner->root_ended();
    delete this;
  }
}

bool drain_awaiter::await_ready() const noexcept { return state_->size == 0; }

bool drain_awaiter::park(cancel_state* governing) {
  assert(state_->waiter == nullptr && "one coroutine at a time waits for a scope");
  state_->waiter = this;
  if (limit_ != no_limit)
    state_->record(flight_event::kind::drain_begun, state_->made, state_->size);
  if (governing != nullptr && governing->requested()) {
    give_up();
    return true;
  }
  if (governing != nullptr) governing->add(*this);
  if (limit_ != no_limit)
    state_->owner->arm(*this, state_->owner->now() + std::max(limit_, duration(0)));
  return true;
}

void drain_awaiter::give_up() noexcept {
  if (state_->size == 0) return;  // all have ended, and it is about to be resumed
  if (!state_->cancel.requested()) {
    outcome_.cancelled = state_->size;
    state_->record(flight_event::kind::drain_ended_early, state_->made, state_->size);
  }
  outcome_.in_time = false;
  gave_up_ = true;
  state_->owner->arm(*this, state_->owner->now() + patience_);
  state_->cancel.request();
}

void drain_awaiter::say_who_is_left() noexcept try {
  if (state_->size == 0) return;
  constexpr std::size_t most_lines = 20;
  log_line("a scope waits for " + std::to_string(state_->size) +
           " task(s) that were cancelled and have not ended" +
           (state_->made == nullptr ? "" : " (scope of " + short_place(state_->made) + ")"));
  for (const auto& line : lines_by_place(*state_->owner, state_->cancel, most_lines))
    log_line("  " + line);
  patience_ *= 2;
  constexpr duration last_word = std::chrono::seconds(60);
  if (patience_ < last_word) state_->owner->arm(*this, state_->owner->now() + patience_);
} catch (const std::bad_alloc&) {
}

void drain_awaiter::tell(const detail::cancel_node& node, wait_told& out) noexcept {
  const auto& self = static_cast<const drain_awaiter&>(node);
  out.operation = "the end of a scope";
  out.waiter = self.handle;
  out.have = static_cast<std::int64_t>(self.state_->size);
  out.asked = self.gave_up_;
}

drain_result drain_awaiter::await_resume() {
  detail::cancel_node::unlink();
  detail::timer_node::disarm();
  if (state_->failure) std::rethrow_exception(std::exchange(state_->failure, nullptr));
  return outcome_;
}

}  // namespace detail

scope::scope(shard& owner, scope_options options, detail::source_at made)
    : state_(new detail::scope_state(owner, options, made)) {}

scope::~scope() {
  assert(state_->waiter == nullptr);
  if (state_->size == 0) {
    delete state_;
    return;
  }
  state_->orphaned = true;
  state_->owner->root_started();
  state_->cancel.request();
}

bool scope::spawn(task<> child) {
  if (state_->full()) {
    state_->record(detail::flight_event::kind::task_refused, state_->made);
    if (state_->refused++ == 0 && !state_->cancel.requested())
      detail::log_line("a scope is full (" + std::to_string(state_->options.max) +
                       " tasks): refusing more");
    child.discard();
    return false;
  }
  state_->start(std::move(child));
  return true;
}

std::size_t scope::size() const { return state_->size; }
std::uint64_t scope::refused() const { return state_->refused; }
std::uint64_t scope::io_errors() const { return state_->io_errors; }
void scope::on_failure(std::function<void(std::exception_ptr)> handler) {
  state_->handler = std::move(handler);
}
void scope::cancel() noexcept { state_->cancel.request(); }

}  // namespace weir
