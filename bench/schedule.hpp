// When requests of an open loop are meant to leave. The schedule never looks at the server: a slow
// answer does not delay the next intended instant, which is what keeps coordinated omission out of
// the latencies. Pure; the seed makes it repeatable.
#pragma once

#include <cmath>
#include <cstdint>

namespace weir::bench {

enum class arrivals { constant, poisson };

/// Intended send instants in nanoseconds, rising, at `rate` requests per second on average from
/// `start_ns` on.
class arrival_schedule {
 public:
  arrival_schedule(arrivals kind, double rate, std::uint64_t start_ns, std::uint64_t seed) noexcept
      : kind_(kind), gap_ns_(1e9 / rate), start_ns_(start_ns), state_(seed) {
    if (kind_ == arrivals::poisson) advance();
  }

  /// The next intended instant that has not been popped.
  std::uint64_t next() const noexcept { return start_ns_ + static_cast<std::uint64_t>(offset_ns_); }

  void pop() noexcept { advance(); }

 private:
  void advance() noexcept {
    ++index_;
    // The constant schedule is computed from the index, so that rounding never adds up to drift.
    offset_ns_ = kind_ == arrivals::constant ? static_cast<double>(index_) * gap_ns_
                                             : offset_ns_ - std::log(uniform()) * gap_ns_;
  }

  /// Uniform in (0, 1]: splitmix64, whose upper 53 bits make the fraction.
  double uniform() noexcept {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (static_cast<double>(z >> 11) + 1) * 0x1.0p-53;
  }

  arrivals kind_;
  double gap_ns_;
  std::uint64_t start_ns_;
  std::uint64_t state_;
  std::uint64_t index_ = 0;
  double offset_ns_ = 0;
};

}  // namespace weir::bench
