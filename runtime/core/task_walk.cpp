// The cursor, and the way from a coroutine up to whom it belongs to.
#include "runtime/core/task_walk.hpp"

namespace weir::detail {

void task_cursor::enter(cancel_state& state) {
  auto& at = levels_.emplace_back();
  at.here.put_behind(state.list_);
  at.end.put_behind(*state.list_.prev_);
}

bool task_cursor::step(const std::function<void(const wait_told&)>& seen) {
  if (levels_.empty()) return false;
  auto& at = levels_.back();
  // A state that went took our nodes out of itself.
  if (!at.here.linked() || !at.end.linked() || at.here.next_ == &at.end) {
    levels_.pop_back();
    return !levels_.empty();
  }
  auto* node = at.here.next_;
  at.here.unlink();
  at.here.put_behind(*node);
  if (node->kind_ == &kind_of_node<&cancel_state::from_parent>) {
    enter(static_cast<cancel_state&>(*node));
  } else if (node->kind_->tell != nullptr) {
    wait_told told;
    node->kind_->tell(*node, told);
    if (told.waiter) seen(told);
  }
  return true;
}

source_at place_of([[maybe_unused]] const promise_base& promise) noexcept {
#if WEIR_WITH_TASKS
  return promise.where;
#else
  return nullptr;
#endif
}

instant waits_since([[maybe_unused]] std::coroutine_handle<> waiter) noexcept {
#if WEIR_WITH_TASKS
  return instant::from_ns(static_cast<std::int64_t>(promise_of(waiter).waits_since));
#else
  return {};
#endif
}

chain_told chain_of(std::coroutine_handle<> waiter) {
  constexpr std::size_t deepest = 64;
  chain_told out;
  for (auto at = waiter; at && out.frames.size() < deepest;) {
    const auto& promise = promise_of(at);
    out.frames.push_back({place_of(promise), at.address()});
    if (promise.on_done == nullptr) {
      at = promise.turn.handle;
      continue;
    }
    out.belongs = {};
    if (promise.on_done->kind->tell != nullptr)
      promise.on_done->kind->tell(*promise.on_done, out.belongs);
    at = out.belongs.parent;  // of a join, or of a call from another shard
  }
  return out;
}

}  // namespace weir::detail
