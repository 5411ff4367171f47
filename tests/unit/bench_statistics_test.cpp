// Medians, spreads and the verdict of weir-bench's comparison, and the instants of its open loop.
#include <doctest/doctest.h>

#include "bench/schedule.hpp"
#include "bench/statistics.hpp"

using namespace weir::bench;

TEST_CASE("the_median_of_an_odd_and_an_even_number_of_rounds") {
  CHECK(summarize({3, 1, 2}).median == 2);
  CHECK(summarize({4, 1, 3, 2}).median == 2.5);
  CHECK(summarize({7}).median == 7);
  CHECK(summarize({}).rounds == 0);
}

TEST_CASE("the_spread_is_half_the_range_over_the_median") {
  const summary s = summarize({90, 100, 110, 105, 95});
  CHECK(s.low == 90);
  CHECK(s.high == 110);
  CHECK(s.relative_spread() == doctest::Approx(0.1));
  CHECK(summary{}.relative_spread() == 0);
}

TEST_CASE("a_difference_within_the_spread_is_not_called") {
  CHECK(compare(summarize({100, 104, 96}), summarize({103, 108, 101})) == verdict::too_close);
}

TEST_CASE("a_difference_beyond_the_spread_is_called") {
  CHECK(compare(summarize({100, 104, 96}), summarize({110, 108, 106})) == verdict::higher);
  CHECK(compare(summarize({100, 104, 96}), summarize({90, 95, 85})) == verdict::lower);
}

TEST_CASE("the_more_rounds_the_narrower_the_range_that_holds_the_median") {
  // From a table of the binomial distribution: how often at most k of n fair coins fall heads.
  CHECK(outside_the_median(1) == 0);
  CHECK(outside_the_median(5) == 0);
  CHECK(outside_the_median(8) == 0);   // without the two extremes 0.930, wanted 0.9375
  CHECK(outside_the_median(9) == 1);   // 0.961
  CHECK(outside_the_median(15) == 3);  // 0.965; with one less at each end 0.882
  CHECK(outside_the_median(101) == 40);
  const summary few = summarize({5, 1, 3, 2, 4});
  CHECK(few.median_low == few.low);
  CHECK(few.median_high == few.high);
  const summary many = summarize({15, 1, 14, 2, 13, 3, 12, 4, 11, 5, 10, 6, 9, 7, 8});
  CHECK(many.median == 8);
  CHECK(many.low == 1);
  CHECK(many.high == 15);
  CHECK(many.median_low == 4);
  CHECK(many.median_high == 12);
  CHECK(judge(many, true, 12) == standing::met);
  CHECK(judge(many, true, 11) == standing::within_the_spread);
  CHECK(judge(many, true, 3) == standing::not_met);
}

TEST_CASE("two_rounds_are_too_few_to_call_anything") {
  CHECK(compare(summarize({1, 1}), summarize({100, 100, 100})) == verdict::too_few_rounds);
  CHECK(compare(summarize({1, 1, 1}), summarize({100})) == verdict::too_few_rounds);
}

TEST_CASE("constant_arrivals_are_evenly_spaced_and_do_not_drift") {
  arrival_schedule schedule(arrivals::constant, 3'000, 1'000, 1);
  CHECK(schedule.next() == 1'000);
  for (int i = 0; i < 3'000'000; ++i) schedule.pop();
  CHECK(schedule.next() == 1'000 + 1'000'000'000'000u);
}

TEST_CASE("poisson_arrivals_rise_and_keep_their_mean_rate") {
  arrival_schedule schedule(arrivals::poisson, 100'000, 0, 42);
  std::uint64_t last = 0;
  double squares = 0;
  constexpr int count = 200'000;
  for (int i = 0; i < count; ++i) {
    REQUIRE(schedule.next() >= last);
    const double gap = static_cast<double>(schedule.next() - last);
    squares += gap * gap;
    last = schedule.next();
    schedule.pop();
  }
  const double mean = static_cast<double>(last) / count;
  CHECK(mean == doctest::Approx(10'000).epsilon(0.02));
  // An exponential gap has a standard deviation equal to its mean: E[g^2] = 2 m^2.
  CHECK(squares / count == doctest::Approx(2 * mean * mean).epsilon(0.05));
}

TEST_CASE("a_seed_repeats_its_arrivals_and_another_does_not") {
  arrival_schedule a(arrivals::poisson, 1e6, 0, 5), b(arrivals::poisson, 1e6, 0, 5),
      c(arrivals::poisson, 1e6, 0, 6);
  bool same = true, other = false;
  for (int i = 0; i < 1000; ++i, a.pop(), b.pop(), c.pop()) {
    same = same && a.next() == b.next();
    other = other || a.next() != c.next();
  }
  CHECK(same);
  CHECK(other);
}

TEST_CASE("ratios_are_taken_round_by_round") {
  const summary s = ratio({10, 30, 20}, {10, 20, 10});
  CHECK(s.low == 1);
  CHECK(s.median == 1.5);
  CHECK(s.high == 2);
  CHECK(ratio({1, 2}, {0, 4}).rounds == 1);
  CHECK(ratio({}, {1}).rounds == 0);
}

TEST_CASE("a_target_is_met_only_when_every_round_meets_it") {
  CHECK(judge(summarize({0.9, 0.8, 1.0}), true, 1.0) == standing::met);
  CHECK(judge(summarize({0.9, 0.8, 1.1}), true, 1.0) == standing::within_the_spread);
  CHECK(judge(summarize({1.2, 1.3, 1.1}), true, 1.0) == standing::not_met);
  CHECK(judge(summarize({1.2, 1.3, 1.1}), false, 1.1) == standing::met);
  CHECK(judge(summarize({1.2, 1.3, 1.0}), false, 1.1) == standing::within_the_spread);
  CHECK(judge(summarize({0.9, 0.8, 1.0}), false, 1.1) == standing::not_met);
}

TEST_CASE("a_target_is_not_judged_by_two_rounds_unless_it_is_a_count") {
  CHECK(judge(summarize({1, 1}), true, 2) == standing::too_few_rounds);
  CHECK(judge(summarize({0}), true, 0, 1) == standing::met);
  CHECK(judge(summarize({}), true, 0, 1) == standing::no_figure);
}
