// Pacing: a window spread over the round trip, what is exempt from it, and that it is off unless
// asked for.
#include <doctest/doctest.h>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

namespace {

host_options paced(bool on = true) {
  host_options o;
  o.tcp.pacing = on;
  return o;
}

/// A connection with a round trip of 100 ms whose first ten segments are acknowledged.
void warm_up(script& t) {
  t.listen();
  t.in("S 0 <mss 1000 sackOK>");
  t.out("S. 0 ack 1");
  t.after(100ms);
  t.in(". 1 ack 1");
  REQUIRE(t.accept());
  CHECK(t.send(10'000u).value() == 10'000);
  CHECK(t.sent() == 10);  // the first ones leave at once
  t.skip();
  t.after(100ms);
  t.in(". 1 ack 10001");
  t.skip();
}

}  // namespace

TEST_CASE("pacing_is_off_by_default_and_a_window_leaves_in_one_burst") {
  script t(paced(false));
  warm_up(t);
  CHECK(t.send(100'000u).value() == 100'000);
  CHECK(t.sent() == t.info().congestion_window / 1000);
  CHECK(t.info().pacing_rate == 0);
}

TEST_CASE("paced_window_is_spread_over_half_a_round_trip_in_slow_start") {
  script t(paced());
  warm_up(t);
  const auto window = t.info().congestion_window;
  CHECK(window == 20'000);
  CHECK(t.send(100'000u).value() == 100'000);
  // Two segments at most at one time, evenly, at twice the window per round trip.
  CHECK(t.sent() == 2);
  const auto begin = t.now();
  std::size_t seen = 2;
  t.skip();
  while (seen < 20) {
    const auto waited = t.until_sent(100ms);
    CHECK(waited >= 2ms);  // the first, half of it, for a timer that may be late
    CHECK(waited <= 6ms);
    CHECK(t.sent() <= 2);
    seen += t.sent();
    t.skip();
  }
  const auto took = t.now() - begin;
  CHECK(took >= 40ms);
  CHECK(took <= 60ms);
  CHECK(t.until_sent(50ms) == 50ms);  // the window is out
  const auto rate = t.info().pacing_rate;
  CHECK(rate > 380'000);
  CHECK(rate < 420'000);
}

TEST_CASE("pacing_does_not_keep_the_window_from_growing") {
  script t(paced());
  warm_up(t);
  CHECK(t.send(200'000u).value() == 200'000);
  t.skip();
  t.after(60ms);
  t.skip();
  t.in(". 1 ack 30001");
  CHECK(t.info().congestion_window == 40'000);
}

TEST_CASE("small_answers_and_the_first_window_are_not_held_back_by_pacing") {
  script t(paced());
  warm_up(t);
  t.after(1s);
  for (int i = 0; i < 3; ++i) {
    CHECK(t.send(100u).value() == 100);
    CHECK(t.sent() == 1);
    t.skip();
    t.after(50ms);
  }
}

TEST_CASE("timeouts_and_probes_are_not_paced") {
  script t(paced());
  warm_up(t);
  CHECK(t.send(100'000u).value() == 100'000);
  t.skip();
  t.after(60ms);
  t.skip();
  // Nothing is answered: a tail probe, then the timeout, at their own times.
  const auto probe = t.until_sent();
  CHECK(probe <= 250ms);
  CHECK(t.count(counter::tail_loss_probes) == 1);
  t.skip();
  CHECK(t.until_sent() <= 400ms);
  CHECK(t.info().timeouts == 1);
}

TEST_CASE("pacing_can_be_switched_during_a_connection") {
  script t(paced());
  warm_up(t);
  CHECK(t.send(100'000u).value() == 100'000);
  CHECK(t.sent() == 2);
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, {}));
  t.after(10ms);
  CHECK(t.sent() == 20);
}
