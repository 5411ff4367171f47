// Medians and spreads over the rounds of a benchmark, and the rule that refuses to call a
// difference that is smaller than the spread. Pure arithmetic.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace weir::bench {

/// One figure over several rounds: its median, the smallest and largest value seen, and between
/// which of the values seen the median of all possible rounds lies, as far as these can tell.
struct summary {
  double median = 0;
  double low = 0;
  double high = 0;
  double median_low = 0;
  double median_high = 0;
  std::size_t rounds = 0;

  /// Half the range as a share of the median: 0.04 reads "plus or minus 4 %".
  double relative_spread() const noexcept { return median == 0 ? 0 : (high - low) / 2 / median; }
};

/// How many of the lowest, and of the highest, of `rounds` values may be left out so that what is
/// left still holds the median, with the certainty that five rounds whole give (15 in 16). Each
/// round lies above the median or below it with the same chance (the sign test), whatever the
/// distribution: 0 up to eight rounds, 3 of fifteen.
inline std::size_t outside_the_median(std::size_t rounds) {
  constexpr double certainty = 15.0 / 16;
  double chance = std::ldexp(1.0, -static_cast<int>(rounds)), below = 0;
  for (std::size_t k = 0; k < rounds / 2; ++k) {
    below += chance;
    if (1 - 2 * below < certainty) return k == 0 ? 0 : k - 1;
    chance *= static_cast<double>(rounds - k) / static_cast<double>(k + 1);
  }
  return 0;
}

inline summary summarize(std::vector<double> values) {
  summary out;
  out.rounds = values.size();
  if (values.empty()) return out;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  out.median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  out.low = values.front();
  out.high = values.back();
  const auto outside = outside_the_median(values.size());
  out.median_low = values[outside];
  out.median_high = values[values.size() - 1 - outside];
  return out;
}

/// The ratios of two figures measured side by side: round by round, since what a machine does to
/// one it does to its neighbour.
inline summary ratio(const std::vector<double>& of, const std::vector<double>& to) {
  std::vector<double> out;
  for (std::size_t i = 0; i < std::min(of.size(), to.size()); ++i)
    if (to[i] != 0) out.push_back(of[i] / to[i]);
  return summarize(std::move(out));
}

/// What to say of a figure that has to be at most (or at least) so much.
enum class standing { no_figure, too_few_rounds, met, not_met, within_the_spread };

/// Fewer rounds than these say nothing about a spread.
inline constexpr std::size_t least_rounds = 3;

/// Met, or not met, only where the median is known well enough: up to eight rounds every one of
/// them has to say so.
inline standing judge(const summary& s, bool at_most, double target,
                      std::size_t rounds = least_rounds) noexcept {
  if (s.rounds == 0) return standing::no_figure;
  if (s.rounds < rounds) return standing::too_few_rounds;
  const double best = at_most ? s.median_low : s.median_high,
               worst = at_most ? s.median_high : s.median_low;
  const auto good = [&](double value) { return at_most ? value <= target : value >= target; };
  return good(worst) ? standing::met : good(best) ? standing::within_the_spread : standing::not_met;
}

enum class verdict { too_close, lower, higher, too_few_rounds };

/// Compares `after` with `before`. A difference counts only when the ranges that hold their medians
/// do not overlap and each has at least three rounds behind it: what one unlucky round could
/// explain is not called a difference.
inline verdict compare(const summary& before, const summary& after) noexcept {
  if (before.rounds < least_rounds || after.rounds < least_rounds) return verdict::too_few_rounds;
  if (after.median_low > before.median_high) return verdict::higher;
  if (after.median_high < before.median_low) return verdict::lower;
  return verdict::too_close;
}

}  // namespace weir::bench
