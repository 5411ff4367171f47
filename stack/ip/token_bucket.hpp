// A rate limit: so many events a second, a burst of as many (RFC 1812 4.3.2.8, RFC 4443 2.4 f).
#pragma once

#include <algorithm>
#include <cstdint>

#include "weir/stack/time.hpp"

namespace weir::stack {

class token_bucket {
 public:
  explicit token_bucket(std::uint32_t per_second) : per_second_(per_second), tokens_(full()) {}

  bool take(instant now) {
    refill(now);
    if (tokens_ < one) return false;
    tokens_ -= one;
    return true;
  }

 private:
  // Counted in billionths of a token, so that one nanosecond brings `per_second_` of them.
  static constexpr std::uint64_t one = 1'000'000'000;
  std::uint64_t full() const { return std::uint64_t{per_second_} * one; }

  void refill(instant now) {
    if (now <= last_) return;
    // After a second the bucket is full in any case; the bound also keeps the product small.
    auto elapsed = std::min<std::int64_t>((now - last_).count(), one);
    tokens_ = std::min(full(), tokens_ + static_cast<std::uint64_t>(elapsed) * per_second_);
    last_ = now;
  }

  std::uint32_t per_second_;
  std::uint64_t tokens_;
  instant last_;
};

}  // namespace weir::stack
