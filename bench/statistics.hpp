// Medians and spreads over the rounds of a benchmark, and the rule that refuses to call a
// difference that is smaller than the spread. Pure arithmetic.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace weir::bench {

/// One figure over several rounds: its median, and the smallest and largest value seen.
struct summary {
  double median = 0;
  double low = 0;
  double high = 0;
  std::size_t rounds = 0;

  /// Half the range as a share of the median: 0.04 reads "plus or minus 4 %".
  double relative_spread() const noexcept { return median == 0 ? 0 : (high - low) / 2 / median; }
};

inline summary summarize(std::vector<double> values) {
  summary out;
  out.rounds = values.size();
  if (values.empty()) return out;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  out.median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  out.low = values.front();
  out.high = values.back();
  return out;
}

enum class verdict { too_close, lower, higher, too_few_rounds };

/// Compares `after` with `before`. A difference counts only when the two ranges do not overlap and
/// each has at least three rounds behind it: what one unlucky round could explain is not called a
/// difference.
inline verdict compare(const summary& before, const summary& after) noexcept {
  if (before.rounds < 3 || after.rounds < 3) return verdict::too_few_rounds;
  if (after.low > before.high) return verdict::higher;
  if (after.high < before.low) return verdict::lower;
  return verdict::too_close;
}

}  // namespace weir::bench
