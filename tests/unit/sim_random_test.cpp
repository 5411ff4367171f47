// The simulator's generator: the same numbers everywhere, and even enough to stand for chance.
#include <doctest/doctest.h>

#include "weir/stack/sim.hpp"

using weir::sim::random_source;

TEST_CASE("a_seed_means_the_same_numbers_on_every_machine") {
  random_source numbers(7);
  // From the algorithms' definition; a change here would change what every recorded seed means.
  CHECK(numbers.next() == 0xb358faf74ef9765aull);
}

TEST_CASE("derived_generators_do_not_repeat_each_other") {
  auto first = random_source::derived(1, 0), second = random_source::derived(1, 1);
  auto other_seed = random_source::derived(2, 0);
  bool differ = false, seeds_differ = false;
  for (int i = 0; i < 4; ++i) {
    auto value = first.next();
    differ |= value != second.next();
    seeds_differ |= value != other_seed.next();
  }
  CHECK(differ);
  CHECK(seeds_differ);
}

TEST_CASE("numbers_below_a_bound_are_even") {
  random_source numbers(1);
  int count[10] = {};
  for (int i = 0; i < 100'000; ++i) ++count[numbers.below(10)];
  for (int n : count) CHECK((n > 9'500 && n < 10'500));
  CHECK(numbers.below(0) == 0);
  CHECK(numbers.below(1) == 0);
}

TEST_CASE("chances_come_true_as_often_as_they_should") {
  random_source numbers(1);
  int hits = 0;
  for (int i = 0; i < 100'000; ++i) hits += numbers.chance(0.05) ? 1 : 0;
  CHECK((hits > 4'700 && hits < 5'300));
  CHECK_FALSE(numbers.chance(0));
  CHECK(numbers.chance(1));
}

TEST_CASE("a_span_of_time_is_drawn_up_to_its_limit_and_never_over") {
  random_source numbers(1);
  bool least = false, most = false;
  for (int i = 0; i < 1000; ++i) {
    auto d = numbers.up_to(weir::duration(3)).count();
    REQUIRE((d >= 0 && d <= 3));
    least |= d == 0;
    most |= d == 3;
  }
  CHECK(least);
  CHECK(most);
  CHECK(numbers.up_to(weir::duration(-5)).count() == 0);
}
