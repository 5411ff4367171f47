// When a driver spins, and when it sleeps: waits of given lengths, and no clock.
#include <doctest/doctest.h>

#include "runtime/core/spin_policy.hpp"

using namespace std::chrono_literals;
using weir::config;
using weir::duration;
using weir::detail::spin_policy;

namespace {

spin_policy adaptive() { return spin_policy::from(config::busy_poll_auto); }

/// A world in which something comes `gap` after each wait began, and waking takes `wake`.
/// Gives how long was spent spinning.
duration live(spin_policy& p, int waits, duration gap, duration wake) {
  duration spun{};
  for (int i = 0; i < waits; ++i) {
    const auto limit = p.limit();
    spun += std::min(limit, gap);
    if (limit >= gap)
      p.found_while_spinning();
    else
      p.slept(gap + wake);
  }
  return spun;
}

}  // namespace

TEST_CASE("a_number_is_what_it_spins_whatever_happens") {
  auto p = spin_policy::from(50);
  CHECK(!p.adapts());
  CHECK(p.limit() == 50us);
  CHECK(spin_policy::from(0).limit() == duration(0));
  CHECK(spin_policy(20us).limit() == 20us);
}

TEST_CASE("auto_sleeps_at_first_and_without_traffic") {
  auto p = adaptive();
  CHECK(p.adapts());
  CHECK(p.limit() == duration(0));
  CHECK(live(p, 1000, 10ms, 50us) == duration(0));
}

TEST_CASE("auto_spins_once_traffic_comes_close_together") {
  auto p = adaptive();
  live(p, spin_policy::least_needed - 1, 60us, 50us);
  CHECK(!p.spinning());
  live(p, 1, 60us, 50us);
  CHECK(p.spinning());
  CHECK(p.limit() == spin_policy::longest_spin);
  CHECK(live(p, 1000, 60us, 50us) == 1000 * 60us);
}

TEST_CASE("auto_stops_soon_after_the_traffic_does") {
  auto p = adaptive();
  live(p, 1000, 60us, 50us);
  const auto wasted = live(p, 1000, 10ms, 50us);
  CHECK(!p.spinning());
  CHECK(wasted == spin_policy::misses_that_end_it * spin_policy::longest_spin);
}

TEST_CASE("a_pause_in_traffic_that_pays_does_not_end_it") {
  auto p = adaptive();
  live(p, 1000, 60us, 50us);
  for (int i = 0; i < 100; ++i) {
    live(p, spin_policy::misses_that_end_it - 1, 5ms, 50us);
    live(p, 10, 60us, 50us);
    CHECK(p.spinning());
  }
}

TEST_CASE("spinning_that_never_pays_is_tried_ever_more_rarely") {
  // The peer needs this core: what comes 60 us after a sleep begins never comes during a spin.
  auto p = adaptive();
  int spins = 0;
  for (int i = 0; i < 100'000; ++i) {
    if (p.limit() > duration(0)) ++spins;
    p.slept(p.limit() + 60us);
  }
  CHECK(spins <= 100'000 / 500);
}

TEST_CASE("what_paid_for_long_is_forgiven_its_past") {
  auto p = adaptive();
  for (int i = 0; i < 2000; ++i) p.slept(p.limit() + 60us);  // makes it wary
  while (!p.spinning()) p.slept(60us);
  live(p, spin_policy::hits_that_clear, 60us, 50us);
  live(p, spin_policy::misses_that_end_it, 10ms, 50us);
  CHECK(!p.spinning());
  live(p, spin_policy::least_needed, 60us, 50us);
  CHECK(p.spinning());
}
