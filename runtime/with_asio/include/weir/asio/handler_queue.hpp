// Handlers of Asio's that wait for their turn on a shard: from any thread, run in order and outside
// every coroutine. Knows nothing of Asio.
#pragma once

#include <mutex>
#include <utility>

#include "weir/detail/mailbox.hpp"
#include "weir/shard.hpp"
#include "weir/stack/intrusive.hpp"

namespace weir::detail {

/// One that waits. Whoever made it knows its memory.
struct queued_handler : stack::queue_link<> {
  /// Ends its life; calls it before, where it is to be called.
  using end_function = void (*)(queued_handler&, bool call);
  queued_handler(const void* of, end_function f) : owner(of), end(f) {}
  const void* owner;  ///< the context that it was given to
  end_function end;
};

/// Of a shard: shard::local(). One message carries all that wait.
class handler_queue : private message {
 public:
  explicit handler_queue(shard& here) : message(&handler_queue::on_message), here_(&here) {}
  handler_queue(const handler_queue&) = delete;
  ~handler_queue() { drop_of(nullptr); }

  /// Any thread.
  void put(queued_handler& one) {
    std::lock_guard locked(lock_);
    waiting_.push_back(one);
    if (!std::exchange(sent_, true)) here_->deliver(*this);
  }
  /// Between the turns of an embedded shard: what the caller made ready is due. (In a turn it is
  /// seen anyhow.) The shard's thread.
  void stir() {
    if (!here_->pulse().sleeping.load(std::memory_order_relaxed)) return;
    std::lock_guard locked(lock_);
    if (!std::exchange(sent_, true)) here_->deliver(*this);
  }
  /// Those of a context that goes end without a call. Null: all.
  void drop_of(const void* owner) {
    for (auto* one = take_of(owner); one != nullptr; one = take_of(owner)) one->end(*one, false);
  }

 private:
  static void on_message(message& m) noexcept {
    auto& self = static_cast<handler_queue&>(m);
    // As many as wait now: what they put here has its turn later, behind others' work.
    std::size_t left = 0;
    {
      std::lock_guard locked(self.lock_);
      self.sent_ = false;
      left = self.waiting_.size();
    }
    for (; left > 0; --left) {
      auto* one = self.take();
      if (one == nullptr) return;  // a context went
      one->end(*one, true);
    }
  }
  queued_handler* take() {
    std::lock_guard locked(lock_);
    return waiting_.pop_front();
  }
  queued_handler* take_of(const void* owner) {
    std::lock_guard locked(lock_);
    for (auto* one = waiting_.front(); one != nullptr; one = waiting_.after(*one))
      if (owner == nullptr || one->owner == owner) {
        waiting_.remove(*one);
        return one;
      }
    return nullptr;
  }

  shard* here_;
  std::mutex lock_;  // of what follows
  stack::intrusive_queue<queued_handler> waiting_;
  bool sent_ = false;
};

}  // namespace weir::detail
