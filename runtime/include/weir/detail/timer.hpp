// What a timer looks like to whoever owns one: a node that the shard's wheel links and calls.
// Public only because it lives inside awaiters; the wheel itself is runtime/core/timer_wheel.hpp.
#pragma once

#include <cstdint>

#include "weir/stack/time.hpp"

namespace weir::detail {

/// Armed with shard::arm(). The callback runs on the shard, outside every coroutine; the node is
/// unlinked before it.
class timer_node {
 public:
  using callback = void (*)(timer_node&) noexcept;

  explicit timer_node(callback on_expire) : on_expire_(on_expire) {}
  timer_node(const timer_node&) = delete;
  timer_node& operator=(const timer_node&) = delete;
  ~timer_node() { disarm(); }

  bool armed() const { return next_ != nullptr; }
  instant deadline() const { return deadline_; }
  void disarm() {
    if (next_ == nullptr) return;
    next_->prev_ = prev_;
    prev_->next_ = next_;
    next_ = prev_ = nullptr;
  }

  /// While it is not armed the deadline's place is its owner's.
  void set_aside(duration d) { deadline_ = instant::from_ns(d.count()); }
  duration set_aside() const { return duration(deadline_.ns()); }

  /// A list's head, for the wheel: never armed itself.
  timer_node() = default;

 private:
  friend class timer_wheel;

  timer_node* prev_ = nullptr;
  timer_node* next_ = nullptr;
  instant deadline_;
  callback on_expire_ = nullptr;
};

}  // namespace weir::detail
