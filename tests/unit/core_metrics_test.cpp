// A program's own series: what may be called how, and what is refused.
#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

#include "core_world.hpp"
#include "weir/metrics.hpp"

TEST_CASE("a_series_is_made_once_whatever_the_order_of_its_labels") {
  core_test::world w;
  auto& mine = w.shard().local<weir::metrics>();
  auto& one = mine.counter("shop_orders", "orders", {{"kind", "book"}, {"by", "web"}});
  auto& same = mine.counter("shop_orders_total", "orders", {{"by", "web"}, {"kind", "book"}});
  auto& other = mine.counter("shop_orders", "orders", {{"kind", "pen"}});
  one.add();
  same.add(2);
  CHECK(one.value() == 3);
  CHECK(other.value() == 0);
  CHECK(mine.all().size() == 2);
}

TEST_CASE("a_name_that_cannot_be_is_refused") {
  core_test::world w;
  auto& mine = w.shard().local<weir::metrics>();
  mine.gauge("depth", "a gauge");
  for (const char* bad : {"", "7up", "a-b", "weir_turns", "a b", "\u00e4", "a{x}"})
    CHECK_THROWS_AS(mine.counter(bad, "x"), std::invalid_argument);
  CHECK_THROWS_AS(mine.counter("depth", "of another kind"), std::invalid_argument);
  CHECK_THROWS_AS(mine.counter("c", "x", {{"le", "1"}}), std::invalid_argument);
  CHECK_THROWS_AS(mine.counter("c", "x", {{"a", "1"}, {"a", "2"}}), std::invalid_argument);
  CHECK_THROWS_AS(mine.histogram("h", "x", {2, 1}), std::invalid_argument);
  mine.histogram("h", "x", {1, 2});
  CHECK_THROWS_AS(mine.histogram("h", "x", {1, 3}, {{"a", "1"}}), std::invalid_argument);
}

TEST_CASE("series_beyond_the_bound_are_counted_and_not_kept") {
  core_test::world w;
  auto& mine = w.shard().local<weir::metrics>();
  for (std::size_t i = 0; i < weir::metrics::most_series + 5; ++i)
    mine.counter("clients", "by name", {{"name", std::to_string(i)}}).add();
  mine.histogram("late", "x", {1}).observe(1);
  CHECK(mine.all().size() == weir::metrics::most_series);
  CHECK(mine.refused() == 6);
}

TEST_CASE("many_series_of_each_kind_keep_each_its_own_value") {
  core_test::world w;
  auto& mine = w.shard().local<weir::metrics>();
  constexpr int many = 300;
  const auto counter = [&](int i) -> auto& {
    return mine.counter("c", "x", {{"n", std::to_string(i)}});
  };
  const auto gauge = [&](int i) -> auto& {
    return mine.gauge("g", "x", {{"n", std::to_string(i)}});
  };
  const auto histogram = [&](int i) -> auto& {
    return mine.histogram("h", "x", {0, 1000}, {{"n", std::to_string(i)}});
  };
  for (int i = 0; i < many; ++i) {
    // Set before the next one is made, which must not touch it.
    counter(i).add(static_cast<std::uint64_t>(i + 1));
    gauge(i).set(-i - 1);
    histogram(i).observe(i + 1);
  }
  for (int i = 0; i < many; ++i) {
    CAPTURE(i);
    CHECK(counter(i).value() == static_cast<std::uint64_t>(i + 1));
    CHECK(gauge(i).value() == -i - 1);
    CHECK(histogram(i).counts() == std::vector<std::uint64_t>{0, 1, 0});
    CHECK(histogram(i).sum() == i + 1);
  }
  // Who shows them finds the same.
  REQUIRE(mine.all().size() == 3 * many);
  for (const auto& one : mine.all()) {
    const auto i = std::stoi(one.labels[0].second);
    using kind = weir::metrics::kind;
    if (one.what == kind::counter) CHECK(&mine.counter_of(one) == &counter(i));
    if (one.what == kind::gauge) CHECK(&mine.gauge_of(one) == &gauge(i));
    if (one.what == kind::histogram) CHECK(&mine.histogram_of(one) == &histogram(i));
  }
  CHECK(mine.refused() == 0);
}

TEST_CASE("a_histogram_counts_what_is_at_most_a_bound") {
  weir::metric_histogram h({1, 10});
  for (const double value : {0.5, 1.0, 1.5, 10.0, 11.0}) h.observe(value);
  CHECK(h.counts() == std::vector<std::uint64_t>{2, 2, 1});
  CHECK(h.sum() == doctest::Approx(24));
}
