// A hierarchical timer wheel: arming, disarming and firing a timer cost a constant few instructions
// and no memory of their own (timers are linked in place). Nine levels of 64 slots; one tick is
// 1024 ns, so a timer fires at most a microsecond late and never early. It reads no clock: expire()
// is told the time.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "weir/detail/timer.hpp"

namespace weir::detail {

class timer_wheel {
 public:
  explicit timer_wheel(instant now) : tick_(tick_at_or_before(now)) {
    for (auto& level : slots_)
      for (auto& slot : level) make_empty(slot);
    make_empty(due_);
  }
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;
  ~timer_wheel();

  void arm(timer_node& timer, instant deadline);
  /// Fires what is due at `now`, in order of their ticks; returns how many. Callbacks may arm and
  /// disarm any timer.
  std::size_t expire(instant now);
  /// When expire() must be called next at the latest; may be earlier than the first timer, never
  /// later.
  instant next();

 private:
  static constexpr unsigned tick_bits = 10, slot_bits = 6, slots = 1u << slot_bits, levels = 9;

  struct position {
    unsigned level = 0, slot = 0;
    std::uint64_t start = 0;  // in ticks
    bool found = false;
  };

  static std::uint64_t tick_at_or_before(instant t) {
    return t.ns() <= 0 ? 0 : static_cast<std::uint64_t>(t.ns()) >> tick_bits;
  }
  static std::uint64_t tick_at_or_after(instant t) {
    return t.ns() <= 0 ? 0
                       : (static_cast<std::uint64_t>(t.ns()) + (1u << tick_bits) - 1) >> tick_bits;
  }
  static void make_empty(timer_node& list) { list.prev_ = list.next_ = &list; }
  static bool is_empty(const timer_node& list) { return list.next_ == &list; }
  static void append(timer_node& list, timer_node& timer);
  static void move_all(timer_node& from, timer_node& to);

  void place(timer_node& timer, std::uint64_t tick);
  position first_occupied();
  std::size_t fire(timer_node& list);

  std::uint64_t tick_;
  std::array<std::uint64_t, levels>
      occupied_{};  // a set bit may be stale (its timers were disarmed), a clear one is not
  std::array<std::array<timer_node, slots>, levels> slots_;
  timer_node due_;
};

}  // namespace weir::detail
