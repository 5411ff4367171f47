// How long a driver spins before it sleeps: not at all, for as long as configured, or for as long
// as the traffic makes it pay. Waking a sleeping core costs most of an idle round trip; a spin that
// finds nothing costs a core's time. Pure: it sees how long waits were, and no clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "weir/config.hpp"
#include "weir/stack/time.hpp"

namespace weir::detail {

class spin_policy {
 public:
  /// Of `auto`: the longest spin. A peer that itself has to be woken answers within it.
  static constexpr duration longest_spin = std::chrono::microseconds(200);
  /// Of `auto`: a wait that was slept through, the waking included, counts as worth a spin up to
  /// this.
  static constexpr duration longest_sleep_worth_it = std::chrono::microseconds(300);

  /// Always the same.
  template <class Rep, class Period>
  spin_policy(std::chrono::duration<Rep, Period> fixed)  // NOLINT: a number is a policy
      : fixed_(std::chrono::duration_cast<duration>(fixed)) {}
  /// What the configuration says.
  static spin_policy from(std::uint32_t busy_poll_us) {
    spin_policy out{std::chrono::microseconds(busy_poll_us)};
    if (busy_poll_us == config::busy_poll_auto) out.fixed_ = duration(-1);
    return out;
  }

  /// True when waits must be reported.
  bool adapts() const noexcept { return fixed_.count() < 0; }
  /// How long the next wait may spin; 0: sleep at once.
  duration limit() const noexcept {
    if (!adapts()) return fixed_;
    return spinning_ ? longest_spin : duration(0);
  }

  /// Work was there after a spin of at most limit(), without a sleep.
  void found_while_spinning() noexcept {
    misses_ = 0;
    if (hits_ == hits_that_clear) return;
    if (++hits_ == hits_that_clear) needed_ = least_needed;
  }
  /// A wait that ended in sleep took this long, a spin before it included.
  void slept(duration whole) noexcept {
    if (spinning_) {
      if (++misses_ < misses_that_end_it) return;
      // A spin that did not pay for long makes the next one harder to come by: on a core that its
      // peer needs it would never pay.
      needed_ = hits_ < hits_that_clear ? std::min(needed_ * 2, most_needed) : least_needed;
      spinning_ = false;
      short_waits_ = 0;
      return;
    }
    if (whole > longest_sleep_worth_it) {
      short_waits_ = 0;
      return;
    }
    if (++short_waits_ < needed_) return;
    spinning_ = true;
    hits_ = misses_ = 0;
  }

  bool spinning() const noexcept { return spinning_; }

  static constexpr std::uint32_t least_needed = 16;  ///< short waits in a row before it spins
  static constexpr std::uint32_t most_needed = 4096;
  static constexpr std::uint32_t misses_that_end_it = 4;  ///< in a row
  static constexpr std::uint32_t hits_that_clear = 256;

 private:
  duration fixed_;
  bool spinning_ = false;
  std::uint32_t short_waits_ = 0;
  std::uint32_t hits_ = 0;
  std::uint32_t misses_ = 0;
  std::uint32_t needed_ = least_needed;
};

}  // namespace weir::detail
