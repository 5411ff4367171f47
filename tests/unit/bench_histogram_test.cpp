// The latency histogram of weir-bench: what it reports against the exact answer from the sorted
// values.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "bench/histogram.hpp"

using weir::bench::latency_histogram;

namespace {

double relative_error(std::uint64_t reported, std::uint64_t exact) {
  return std::abs(static_cast<double>(reported) - static_cast<double>(exact)) /
         static_cast<double>(exact);
}

std::uint64_t exact_at(const std::vector<std::uint64_t>& sorted, double quantile) {
  const auto rank =
      static_cast<std::size_t>(std::ceil(quantile * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

}  // namespace

TEST_CASE("an_empty_histogram_reports_zero") {
  const latency_histogram h;
  CHECK(h.count() == 0);
  CHECK(h.at(0.5) == 0);
  CHECK(h.min() == 0);
  CHECK(h.max() == 0);
  CHECK(h.mean() == 0);
}

TEST_CASE("values_below_a_microsecond_are_exact") {
  for (std::uint64_t v = 0; v < 1024; ++v) {
    latency_histogram h;
    h.record(v);
    h.record(5'000'000);
    CHECK(h.at(0.5) == v);
  }
}

TEST_CASE("every_octave_is_reported_within_a_tenth_of_a_percent") {
  for (unsigned bit = 10; bit < 40; ++bit)
    for (const std::uint64_t v :
         {std::uint64_t{1} << bit, (std::uint64_t{1} << bit) + 1,
          (std::uint64_t{3} << (bit - 1)) - 1, (std::uint64_t{2} << bit) - 1}) {
      latency_histogram h;
      h.record(0);
      h.record(v);
      h.record(latency_histogram::largest);
      CHECK(relative_error(h.at(0.6), v) < 0.001);
    }
}

TEST_CASE("quantiles_agree_with_the_sorted_values") {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> shape(11, 1.5);  // around 60 us, with a long tail
  std::vector<std::uint64_t> values;
  latency_histogram h;
  for (int i = 0; i < 200'000; ++i) {
    values.push_back(static_cast<std::uint64_t>(shape(random)));
    h.record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double q : {0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999}) {
    CAPTURE(q);
    CHECK(relative_error(h.at(q), exact_at(values, q)) < 0.002);
  }
  CHECK(h.at(1) == values.back());
  CHECK(h.min() == values.front());
  CHECK(h.max() == values.back());
  CHECK(h.count() == values.size());
}

TEST_CASE("values_beyond_the_range_are_counted_as_the_largest") {
  latency_histogram h;
  h.record(~std::uint64_t{0});
  CHECK(h.count() == 1);
  CHECK(h.max() == latency_histogram::largest);
  CHECK(h.at(0.5) == latency_histogram::largest);
}

TEST_CASE("merging_equals_recording_in_one") {
  latency_histogram first, second, both;
  for (std::uint64_t v = 1; v < 1'000'000; v += 37) {
    (v % 2 == 0 ? first : second).record(v);
    both.record(v);
  }
  first.merge(second);
  CHECK(first.count() == both.count());
  CHECK(first.min() == both.min());
  CHECK(first.max() == both.max());
  CHECK(first.mean() == doctest::Approx(both.mean()));
  for (const double q : {0.01, 0.5, 0.99}) CHECK(first.at(q) == both.at(q));
}

TEST_CASE("merging_an_empty_histogram_changes_nothing") {
  latency_histogram h;
  h.record(42);
  h.merge(latency_histogram());
  CHECK(h.count() == 1);
  CHECK(h.min() == 42);
  CHECK(h.max() == 42);
}

TEST_CASE("for_each_visits_rising_values_and_all_counts") {
  latency_histogram h;
  for (std::uint64_t v = 1; v < (std::uint64_t{1} << 38); v = v * 3 / 2 + 1) h.record(v);
  std::uint64_t last = 0, total = 0;
  h.for_each([&](std::uint64_t value, std::uint64_t count) {
    CHECK(value > last);
    last = value;
    total += count;
  });
  CHECK(total == h.count());
}
