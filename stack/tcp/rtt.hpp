// Round-trip estimation and the retransmission timeout (RFC 6298), and the smallest round trip of
// late for RACK (RFC 8985 6.2). Microseconds inside. Samples of retransmitted segments never get
// here (Karn, RFC 6298 3).
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>

#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

class rtt_estimator {
 public:
  /// `expected`: how many samples one round trip brings (RFC 7323 4.2).
  void sample(duration measured, instant now, std::uint32_t expected = 1) {
    const auto us = static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(measured.count() / 1000, 1, std::int64_t{1} << 30));
    const auto value = static_cast<float>(us);
    // RFC 6298 2.2 and 2.3; the variance before the mean.
    if (smoothed_us_ == 0) {
      smoothed_us_ = value;
      variance_us_ = value / 2;
    } else {
      const auto share = 1.0f / static_cast<float>(std::max(1u, expected));
      variance_us_ += (std::abs(value - smoothed_us_) - variance_us_) * (share / 4);
      smoothed_us_ += (value - smoothed_us_) * (share / 8);
    }
    // A windowed minimum: two halves of five seconds each, so that an old path is forgotten (RFC
    // 8985 6.2).
    const auto window = static_cast<std::uint32_t>(now.ns() / 5'000'000'000);
    if (window != window_) {
      previous_min_us_ = window == window_ + 1 ? current_min_us_ : us;
      current_min_us_ = us;
      window_ = window;
    }
    current_min_us_ = std::min(current_min_us_, us);
  }

  bool measured() const { return smoothed_us_ != 0; }
  duration smoothed() const { return std::chrono::microseconds(whole(smoothed_us_)); }
  duration variance() const { return std::chrono::microseconds(whole(variance_us_)); }
  duration minimum() const {
    return std::chrono::microseconds(std::min(current_min_us_, previous_min_us_));
  }

  /// Before back-off. As Linux reads RFC 6298 2.4: the variance term, not the sum, is at least
  /// `floor`.
  duration timeout(duration initial, duration floor, duration ceiling) const {
    if (!measured()) return std::min(initial, ceiling);
    return std::min(smoothed() + std::max(floor, variance() * 4), ceiling);
  }

 private:
  // To the nearest; never negative. Not us + 0.5f, which from 2^23 on rounds before it is cut off.
  static std::int64_t whole(float us) { return (static_cast<std::int64_t>(us * 2) + 1) / 2; }

  float smoothed_us_ = 0;  // 0: no sample yet
  float variance_us_ = 0;
  std::uint32_t current_min_us_ = UINT32_MAX;
  std::uint32_t previous_min_us_ = UINT32_MAX;
  std::uint32_t window_ = 0;
};

}  // namespace weir::stack::tcp
