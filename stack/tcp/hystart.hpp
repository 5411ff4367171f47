// HyStart++ (RFC 9406): ends the first slow start when round trips grow longer, before the queue
// overflows. Told of acknowledgements; says when growth is to be slower (conservative slow start)
// and when it is to end. It never touches a window itself.
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/tcp/seq.hpp"

namespace weir::stack::tcp {

class hystart {
 public:
  /// RFC 9406 4.3: conservative slow start grows by this much less.
  static constexpr std::uint32_t growth_divisor = 4;

  /// Everything before `una` has arrived, `next` is sent next; `rtt_us` is the round trip that this
  /// acknowledgement measured, 0 if none. True: slow start is over.
  bool on_ack(seq una, seq next, std::uint32_t rtt_us) {
    if (!started_) {
      started_ = true;
      round_end_ = next;
    }
    if (rtt_us != 0) {
      current_us_ = std::min(current_us_, rtt_us);
      if (samples_ < 255) ++samples_;
    }
    if (samples_ >= enough_samples) judge();
    if (una < round_end_) return false;
    // The round is over (RFC 9406 4.2).
    last_us_ = current_us_;
    current_us_ = unknown;
    samples_ = 0;
    round_end_ = next;
    return conservative() && ++rounds_ > conservative_rounds;
  }
  bool conservative() const { return rounds_ > 0; }

 private:
  static constexpr std::uint32_t unknown = UINT32_MAX;
  static constexpr std::uint32_t least_step_us = 4000;  // RFC 9406 4.3: MIN_RTT_THRESH
  static constexpr std::uint32_t most_step_us = 16000;  // MAX_RTT_THRESH
  static constexpr std::uint32_t step_divisor = 8;      // MIN_RTT_DIVISOR
  static constexpr std::uint8_t enough_samples = 8;     // N_RTT_SAMPLE
  static constexpr std::uint8_t conservative_rounds = 5;

  void judge() {
    if (conservative()) {
      // The growth was a passing one: slow start goes on.
      if (current_us_ < baseline_us_) rounds_ = 0;
      return;
    }
    if (last_us_ == unknown) return;
    const auto step = std::clamp(last_us_ / step_divisor, least_step_us, most_step_us);
    if (current_us_ < last_us_ + step) return;
    baseline_us_ = current_us_;
    rounds_ = 1;  // the rest of this round counts
  }

  std::uint32_t last_us_ = unknown;
  std::uint32_t current_us_ = unknown;
  std::uint32_t baseline_us_ = unknown;
  seq round_end_;
  std::uint8_t samples_ = 0;
  std::uint8_t rounds_ = 0;  // of conservative slow start, the present one included; 0: not in it
  bool started_ = false;
};

}  // namespace weir::stack::tcp
