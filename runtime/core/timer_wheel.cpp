// The timer wheel's mechanics. See timer_wheel.hpp for what it promises.
#include "runtime/core/timer_wheel.hpp"

namespace weir::detail {

timer_wheel::~timer_wheel() {
  // Timers that outlive the wheel must not point into it.
  auto release = [](timer_node& list) {
    while (!is_empty(list)) list.next_->disarm();
    list.prev_ = list.next_ = nullptr;
  };
  for (auto& level : slots_)
    for (auto& slot : level) release(slot);
  release(due_);
}

void timer_wheel::append(timer_node& list, timer_node& timer) {
  timer.prev_ = list.prev_;
  timer.next_ = &list;
  list.prev_->next_ = &timer;
  list.prev_ = &timer;
}

void timer_wheel::move_all(timer_node& from, timer_node& to) {
  make_empty(to);
  if (is_empty(from)) return;
  to.next_ = from.next_;
  to.prev_ = from.prev_;
  to.next_->prev_ = &to;
  to.prev_->next_ = &to;
  make_empty(from);
}

void timer_wheel::arm(timer_node& timer, instant deadline) {
  timer.disarm();
  if (deadline.is_never()) return;
  timer.deadline_ = deadline;
  place(timer, tick_at_or_after(deadline));
}

void timer_wheel::place(timer_node& timer, std::uint64_t tick) {
  if (tick <= tick_) {
    append(due_, timer);
    return;
  }
  // The highest bit in which the two ticks differ says on which level they part.
  auto differing = static_cast<unsigned>(63 - std::countl_zero(tick ^ tick_));
  auto level = differing / slot_bits;
  auto slot = static_cast<unsigned>(tick >> (level * slot_bits)) & (slots - 1);
  append(slots_[level][slot], timer);
  occupied_[level] |= std::uint64_t{1} << slot;
}

timer_wheel::position timer_wheel::first_occupied() {
  for (unsigned level = 0; level < levels; ++level) {
    while (occupied_[level] != 0) {
      auto shift = level * slot_bits;
      auto here = static_cast<unsigned>(tick_ >> shift) & (slots - 1);
      // place() only uses slots ahead of the present one, within this level's present turn.
      auto slot = here + static_cast<unsigned>(
                             std::countr_zero(std::rotr(occupied_[level], static_cast<int>(here))));
      slot &= slots - 1;
      if (is_empty(slots_[level][slot])) {
        occupied_[level] &= ~(std::uint64_t{1} << slot);
        continue;
      }
      auto turn =
          shift + slot_bits >= 64 ? 0 : (tick_ >> (shift + slot_bits)) << (shift + slot_bits);
      return {level, slot, turn + (static_cast<std::uint64_t>(slot) << shift), true};
    }
  }
  return {};
}

std::size_t timer_wheel::fire(timer_node& list) {
  timer_node batch;
  move_all(list, batch);
  std::size_t fired = 0;
  while (!is_empty(batch)) {
    auto* timer = batch.next_;
    timer->disarm();
    timer->on_expire_(*timer);
    ++fired;
  }
  batch.prev_ = batch.next_ = nullptr;
  return fired;
}

std::size_t timer_wheel::expire(instant now) {
  auto target = tick_at_or_before(now);
  auto fired = fire(due_);
  for (;;) {
    auto first = first_occupied();
    if (!first.found || first.start > target) break;
    tick_ = first.start;
    occupied_[first.level] &= ~(std::uint64_t{1} << first.slot);
    timer_node batch;
    move_all(slots_[first.level][first.slot], batch);
    if (first.level == 0) {
      fired += fire(batch);
    } else {
      // Their slot's start has come: each goes to a finer level, or is due.
      while (!is_empty(batch)) {
        auto* timer = batch.next_;
        timer->disarm();
        place(*timer, tick_at_or_after(timer->deadline_));
      }
      fired += fire(due_);
    }
    batch.prev_ = batch.next_ = nullptr;
  }
  if (target > tick_) tick_ = target;
  return fired;
}

instant timer_wheel::next() {
  if (!is_empty(due_)) return instant::from_ns(static_cast<std::int64_t>(tick_ << tick_bits));
  auto first = first_occupied();
  if (!first.found) return instant::never();
  return instant::from_ns(static_cast<std::int64_t>(first.start << tick_bits));
}

}  // namespace weir::detail
