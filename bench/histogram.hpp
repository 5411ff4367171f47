// A latency histogram in the manner of HDR: logarithmic octaves, each cut into 512 equal parts, so
// that every recorded value is reported with an error below 0.1 % while the whole table stays at
// 128 KiB. Owns counts only; knows no clock.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace weir::bench {

/// Counts of latencies in nanoseconds. Recording never allocates. Values above `largest` are
/// counted as `largest`.
class latency_histogram {
 public:
  static constexpr unsigned part_bits = 9;
  static constexpr std::uint64_t parts = 1u << part_bits;
  static constexpr std::uint64_t largest = (std::uint64_t{1} << 40) - 1;  // some 18 minutes

  latency_histogram() : counts_(index_of(largest) + 1, 0) {}

  void record(std::uint64_t value_ns, std::uint64_t times = 1) noexcept {
    value_ns = std::min(value_ns, largest);
    counts_[index_of(value_ns)] += times;
    count_ += times;
    smallest_seen_ = std::min(smallest_seen_, value_ns);
    largest_seen_ = std::max(largest_seen_, value_ns);
    sum_ += static_cast<double>(value_ns) * static_cast<double>(times);
  }

  void merge(const latency_histogram& other) noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    smallest_seen_ = std::min(smallest_seen_, other.smallest_seen_);
    largest_seen_ = std::max(largest_seen_, other.largest_seen_);
    sum_ += other.sum_;
  }

  void clear() noexcept { *this = latency_histogram(); }

  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t min() const noexcept { return count_ == 0 ? 0 : smallest_seen_; }
  std::uint64_t max() const noexcept { return largest_seen_; }
  double mean() const noexcept { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

  /// The value that a share `quantile` (0 to 1) of all recorded values does not exceed, by nearest
  /// rank. 0 when empty.
  std::uint64_t at(double quantile) const noexcept {
    if (count_ == 0) return 0;
    const double wanted = std::ceil(std::clamp(quantile, 0.0, 1.0) * static_cast<double>(count_));
    const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, count_);
    if (rank == count_) return largest_seen_;
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= rank) return std::clamp(middle_of(i), smallest_seen_, largest_seen_);
    }
    return largest_seen_;
  }

  /// Calls `visit(value_ns, count)` for each occupied bucket, in rising order.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t i = 0; i < counts_.size(); ++i)
      if (counts_[i] != 0) visit(middle_of(i), counts_[i]);
  }

 private:
  static constexpr std::size_t index_of(std::uint64_t value) noexcept {
    if (value < 2 * parts) return static_cast<std::size_t>(value);  // exact below 1024 ns
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - (part_bits + 1);
    return static_cast<std::size_t>(shift * parts + (value >> shift));
  }
  static constexpr std::uint64_t middle_of(std::size_t index) noexcept {
    if (index < 2 * parts) return index;
    const auto shift = static_cast<unsigned>(index / parts) - 1;
    const std::uint64_t floor = (index - shift * parts) << shift;
    return floor + (std::uint64_t{1} << shift) / 2;
  }

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t smallest_seen_ = ~std::uint64_t{0};
  std::uint64_t largest_seen_ = 0;
  double sum_ = 0;
};

}  // namespace weir::bench
