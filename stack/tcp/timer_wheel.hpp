// The host's timers: a hierarchical wheel of intrusive nodes, constant time to arm, move and
// disarm. A deadline is rounded up to the wheel's tick, never down. Owners re-arm lazily: a node
// whose deadline moves later stays where it is and is looked at when it fires.
#pragma once

#include <array>
#include <cstdint>

#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

/// What the node belongs to, so that the host can find the owner back.
enum class timer_owner : std::uint8_t { connection, half_open, time_wait };

struct timer_node {
  timer_node* previous = nullptr;
  timer_node* next = nullptr;
  std::int64_t tick = 0;
  std::uint32_t index = 0;  ///< of the owner in its table
  timer_owner owner = timer_owner::connection;
  std::uint8_t level = 0;
  std::uint8_t slot = 0;

  bool armed() const { return next != nullptr; }
};

class timer_wheel {
 public:
  static constexpr int tick_shift = 17;  ///< 131 us
  static constexpr int slot_bits = 6;
  static constexpr int levels = 8;  ///< 2^48 ticks: over a thousand years

  timer_wheel();
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;

  /// Arms `node` for `deadline`, moving it if it was armed. never() disarms.
  void arm(timer_node& node, instant deadline);
  /// Arms `node` unless it is armed to fire no later: lazy re-arming.
  void arm_by(timer_node& node, instant deadline);
  void disarm(timer_node& node);
  /// When `node` will fire, which may be after the deadline it was armed with by less than a tick.
  static instant fires_at(const timer_node& node) {
    return instant::from_ns(node.tick << tick_shift);
  }

  /// Takes one node that is due at `now`, disarmed; null when there is none left.
  timer_node* take_due(instant now);
  /// A lower bound of the next firing; never() when nothing is armed.
  instant next() const;

 private:
  void link(timer_node& node);
  void cascade(int level, unsigned slot);
  static constexpr unsigned slots = 1u << slot_bits;

  std::array<std::array<timer_node, slots>, levels> wheel_;
  std::array<std::uint64_t, levels> occupied_{};
  std::int64_t tick_ = 0;  // everything before it has fired
};

}  // namespace weir::stack::tcp
