// See timer_wheel.hpp. Level n's slots are 64^n ticks wide; a node lives on the lowest level whose
// span its distance fits, and moves down when the wheel reaches its slot.
#include "stack/tcp/timer_wheel.hpp"

#include <algorithm>
#include <bit>

namespace weir::stack::tcp {
namespace {

constexpr duration one_tick{std::int64_t{1} << timer_wheel::tick_shift};

}  // namespace

timer_wheel::timer_wheel() {
  for (auto& level : wheel_)
    for (auto& head : level) head.next = head.previous = &head;
}

void timer_wheel::link(timer_node& node) {
  // The level is where the node's tick and the wheel's first differ, in digits of 64.
  const auto tick = std::max(node.tick, tick_);
  const auto differs = static_cast<std::uint64_t>(tick ^ tick_);
  int level = differs == 0 ? 0 : (63 - std::countl_zero(differs)) / slot_bits;
  level = std::min(level, levels - 1);
  const auto slot = static_cast<unsigned>(tick >> (level * slot_bits)) & (slots - 1);
  auto& head = wheel_[static_cast<std::size_t>(level)][slot];
  node.level = static_cast<std::uint8_t>(level);
  node.slot = static_cast<std::uint8_t>(slot);
  node.next = &head;
  node.previous = head.previous;
  head.previous->next = &node;
  head.previous = &node;
  occupied_[static_cast<std::size_t>(level)] |= std::uint64_t{1} << slot;
}

void timer_wheel::arm(timer_node& node, instant deadline) {
  disarm(node);
  if (deadline.is_never()) return;
  constexpr std::int64_t round_up = (std::int64_t{1} << tick_shift) - 1;
  // Capped short of the last level's overflow; the owner re-arms when it fires early.
  const auto ns = std::clamp<std::int64_t>(deadline.ns(), 0, INT64_MAX - round_up);
  constexpr std::int64_t reach = std::int64_t{1} << (levels * slot_bits - 1);
  node.tick = std::min((ns + round_up) >> tick_shift, tick_ + reach);
  link(node);
}

void timer_wheel::arm_by(timer_node& node, instant deadline) {
  if (deadline.is_never()) return;
  if (!node.armed() || deadline <= fires_at(node) - one_tick) {
    arm(node, deadline);
  }
}

void timer_wheel::disarm(timer_node& node) {
  if (!node.armed()) return;
  node.previous->next = node.next;
  node.next->previous = node.previous;
  auto& head = wheel_[node.level][node.slot];
  if (head.next == &head) occupied_[node.level] &= ~(std::uint64_t{1} << node.slot);
  node.next = node.previous = nullptr;
}

instant timer_wheel::next() const {
  for (int level = 0; level < levels; ++level) {
    const auto bits = occupied_[static_cast<std::size_t>(level)];
    if (bits == 0) continue;
    const auto shift = level * slot_bits;
    const auto at = static_cast<unsigned>(tick_ >> shift) & (slots - 1);
    // Slots before the wheel's own digit never hold anything: their nodes differ on a higher level.
    const auto slot = static_cast<unsigned>(std::countr_zero(bits >> at)) + at;
    const auto base = tick_ >> (shift + slot_bits) << (shift + slot_bits);
    const auto tick = std::max(tick_, base + (static_cast<std::int64_t>(slot) << shift));
    return instant::from_ns(tick << tick_shift);
  }
  return instant::never();
}

void timer_wheel::cascade(int level, unsigned slot) {
  auto& head = wheel_[static_cast<std::size_t>(level)][slot];
  occupied_[static_cast<std::size_t>(level)] &= ~(std::uint64_t{1} << slot);
  auto* node = head.next;
  head.next = head.previous = &head;
  while (node != &head) {
    auto* following = node->next;
    link(*node);
    node = following;
  }
}

timer_node* timer_wheel::take_due(instant now) {
  const auto until = now.ns() >> tick_shift;
  for (;;) {
    const auto due = next();
    const auto due_tick = due.ns() >> tick_shift;
    if (due.is_never() || due_tick > until) {
      tick_ = std::max(tick_, until);
      // The digits above may have moved on: what waits in the slots reached belongs further down.
      for (int level = levels - 1; level > 0; --level) {
        const auto slot = static_cast<unsigned>(tick_ >> (level * slot_bits)) & (slots - 1);
        if ((occupied_[static_cast<std::size_t>(level)] >> slot & 1) != 0) cascade(level, slot);
      }
      return nullptr;
    }
    tick_ = std::max(tick_, due_tick);
    bool moved = false;
    for (int level = levels - 1; level > 0; --level) {
      const auto slot = static_cast<unsigned>(tick_ >> (level * slot_bits)) & (slots - 1);
      if ((occupied_[static_cast<std::size_t>(level)] >> slot & 1) != 0) {
        cascade(level, slot);
        moved = true;
      }
    }
    if (moved) continue;
    const auto slot = static_cast<unsigned>(tick_) & (slots - 1);
    auto& head = wheel_[0][slot];
    if (head.next == &head) continue;
    auto* node = head.next;
    disarm(*node);
    return node;
  }
}

}  // namespace weir::stack::tcp
