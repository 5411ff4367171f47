// The first slow start and how it ends (HyStart++, RFC 9406), and windows that the application does
// not use (RFC 7661, RFC 9438 4.2, RFC 5681 4.1).
#include <doctest/doctest.h>

#include "packet/script.hpp"
#include "stack/tcp/congestion.hpp"

using namespace weir;
using namespace weir::test;
using tcp::congestion_control;
using tcp::seq;

namespace {

/// A sender in slow start whose round trips are given: `acks` acknowledgements a round.
struct rounds {
  explicit rounds(congestion_algorithm how) { control.start(how, 1000, 10'000); }
  /// One round: every acknowledgement measures `rtt`. Returns the growth in percent.
  std::uint32_t round(duration rtt, std::uint32_t acks = 10) {
    const auto before = control.window();
    const auto end = una + before;
    for (std::uint32_t i = 0; i < acks; ++i) {
      const auto step = i + 1 == acks ? span_of(una, end) : before / acks;
      const auto next = una + control.window();
      una += step;
      now += rtt / acks;
      control.on_round_trip(una, next, static_cast<std::uint32_t>(rtt.count() / 1000));
      control.on_ack(now, step, rtt);
    }
    return static_cast<std::uint32_t>(std::uint64_t{control.window() - before} * 100 / before);
  }

  congestion_control control;
  seq una{0};
  instant now = instant::from_ns(1'000'000'000);
};

}  // namespace

// covers: 9438-11
TEST_CASE("slow_start_doubles_while_round_trips_stay_as_they_are") {
  for (const auto how : {congestion_algorithm::reno, congestion_algorithm::cubic}) {
    rounds r(how);
    for (int i = 0; i < 5; ++i) CHECK(r.round(20ms) == 100);
    // Less than the least step (4 ms) is noise.
    CHECK(r.round(23ms) == 100);
    CHECK(r.round(26ms) == 100);
  }
}

// covers: 9438-11
TEST_CASE("longer_round_trips_slow_the_growth_and_end_slow_start_after_five_rounds") {
  for (const auto how : {congestion_algorithm::reno, congestion_algorithm::cubic}) {
    rounds r(how);
    CHECK(r.round(20ms) == 100);
    CHECK(r.round(20ms) == 100);
    // Seen once a round has eight samples of it.
    int until_seen = 1;
    while (r.round(24ms) > 80) ++until_seen;
    CHECK(until_seen <= 2);
    CHECK(r.control.in_slow_start());
    int slow = 1;
    while (r.control.in_slow_start() && slow < 10) {
      const auto growth = r.round(24ms);
      CHECK(growth <= 28);
      if (r.control.in_slow_start()) CHECK(growth >= 22);
      ++slow;
    }
    CHECK(slow >= 5);
    CHECK(slow <= 6);
    CHECK(r.control.threshold() <= r.control.window());
    CHECK(r.round(24ms) < 24);  // congestion avoidance
  }
}

// covers: 9438-11
TEST_CASE("round_trips_that_shorten_again_resume_slow_start") {
  rounds r(congestion_algorithm::cubic);
  (void)r.round(20ms);
  (void)r.round(26ms);
  CHECK(r.round(26ms) < 30);
  (void)r.round(21ms);
  CHECK(r.round(21ms) == 100);
}

// covers: 9438-11
TEST_CASE("few_round_trip_samples_decide_nothing") {
  rounds r(congestion_algorithm::cubic);
  for (int i = 0; i < 6; ++i) CHECK(r.round(duration(20ms) * (i + 1), 4) == 100);
}

// covers: 9438-2
TEST_CASE("cubic_clock_stands_still_while_the_application_is_the_limit") {
  const auto grown = [](duration pause) {
    congestion_control c;
    c.start(congestion_algorithm::cubic, 1000, 100'000);
    c.on_loss({}, 100'000);
    c.finish_recovery();
    auto now = instant::from_ns(0);
    const auto run = [&](int ms) {
      for (int i = 0; i < ms / 100; ++i, now += 100ms)
        for (std::uint32_t a = 0; a < c.window(); a += 1000) c.on_ack(now, 1000, 100ms);
    };
    run(1000);
    c.pause(now);
    now += pause;
    c.pause(now);  // again, while it stands: no matter
    run(1000);
    return c.window();
  };
  CHECK(grown(1h) == grown(duration(0)));
}

// covers: 7661-1, 5681-16
TEST_CASE("window_that_is_half_used_for_minutes_shrinks_and_remembers") {
  script t;
  t.establish("<mss 1000>");
  std::uint32_t at = 1;
  const auto send = [&](std::uint32_t n) {
    CHECK(t.send(n).value() == n);
    at += n;
    t.in(". 1 ack " + std::to_string(at));
    t.skip();
  };
  for (int i = 0; i < 3; ++i) send(t.info().congestion_window);
  CHECK(t.info().congestion_window == 80'000);
  // 10 of 80 segments, every 100 ms: never idle for a whole timeout, and nothing is lost of the
  // window for five minutes.
  for (int i = 0; i < 10 * 60 * 5; ++i) {
    send(10'000);
    t.after(100ms);
  }
  CHECK(t.info().congestion_window == 80'000);
  for (int i = 0; i < 20; ++i) {
    send(10'000);
    t.after(100ms);
  }
  CHECK(t.info().congestion_window == 40'000);
  CHECK(t.info().slow_start_threshold >= 60'000);
}

// covers: 7661-1, b52
TEST_CASE("window_grows_to_twice_what_the_application_had_out_in_a_round_trip_and_no_further") {
  for (const auto how : {congestion_algorithm::reno, congestion_algorithm::cubic}) {
    host_options o;
    o.tcp.congestion = how;
    script t(o);
    t.establish("<mss 1000>");
    std::uint32_t at = 1;
    std::vector<std::uint32_t> windows;
    // Ten segments a round trip, acknowledged two at a time.
    for (int i = 0; i < 4; ++i) {
      CHECK(t.send(10'000u).value() == 10'000);
      t.skip();
      t.after(20ms);
      for (int k = 0; k < 5; ++k) {
        t.in(". 1 ack " + std::to_string(at += 2000));
        windows.push_back(t.info().congestion_window / 1000);
      }
    }
    CHECK(windows == std::vector<std::uint32_t>{12, 14, 16, 18, 20, 20, 20, 20, 20, 20,  //
                                                20, 20, 20, 20, 20, 20, 20, 20, 20, 20});
    // Less of it, and it stays; more, and it grows again.
    CHECK(t.send(5'000u).value() == 5'000);
    t.skip();
    t.in(". 1 ack " + std::to_string(at += 5000));
    CHECK(t.info().congestion_window == 20'000);
    CHECK(t.send(12'000u).value() == 12'000);
    t.skip();
    for (int k = 0; k < 6; ++k) t.in(". 1 ack " + std::to_string(at += 2000));
    CHECK(t.info().congestion_window == 24'000);
  }
}

// covers: 7661-1
TEST_CASE("window_that_was_full_in_a_round_trip_counts_every_acknowledgement_of_it") {
  host_options o;
  o.tcp.congestion = congestion_algorithm::reno;
  script u(o);
  u.establish("<mss 1000,sackOK>");
  CHECK(u.send(10'000u).value() == 10'000);
  u.skip();
  u.after(100ms);
  u.in(". 1 ack 1 <sack 1001:10001>");
  u.in(". 1 ack 10001");
  u.skip();
  REQUIRE(u.info().congestion_window == 5000);
  REQUIRE(u.info().slow_start_threshold == 5000);
  // Congestion avoidance: the whole window each time, and nothing more to send. A segment a round.
  std::uint32_t at = 10001;
  for (std::uint32_t window = 5000; window < 9000; window += 1000) {
    CAPTURE(window);
    CHECK(u.info().congestion_window == window);
    CHECK(u.send(window).value() == window);
    u.skip();
    u.after(100ms);
    for (std::uint32_t k = 0; k < window; k += 1000) u.in(". 1 ack " + std::to_string(at += 1000));
  }
}

// covers: 7661-1
TEST_CASE("what was out in a round trip that is over counts for no later one") {
  host_options o;
  o.tcp.congestion = congestion_algorithm::reno;
  script t(o);
  t.establish("<mss 1000,sackOK>");
  CHECK(t.send(12'000u).value() == 12'000);
  t.skip();
  t.after(100ms);
  t.in(". 1 ack 1 <sack 1001:10001>");
  t.in(". 1 ack 12001");
  t.skip();
  const auto window = t.info().congestion_window;
  REQUIRE(t.info().slow_start_threshold == window);
  // Congestion avoidance. Nearly the whole window once: what is acknowledged counts, and is not
  // enough to grow. Then little at a time, much more than would have been enough.
  std::uint32_t at = 12001;
  const auto round = [&](std::uint32_t bytes) {
    CHECK(t.send(bytes).value() == bytes);
    t.skip();
    t.after(100ms);
    t.in(". 1 ack " + std::to_string(at += bytes));
    t.skip();
  };
  round(window - 500);
  CHECK(t.info().congestion_window == window);
  for (int i = 0; i < 20; ++i) round(500);
  CHECK(t.info().congestion_window == window);
  // And what the whole window would have brought, it brings now.
  round(window - 500);
  CHECK(t.info().congestion_window == window + 1000);
}

// covers: 9438-10, b51
TEST_CASE("recovery_whose_every_retransmission_was_a_duplicate_is_taken_back") {
  for (const bool during : {true, false}) {
    CAPTURE(during);
    script t;
    t.establish("<mss 1000 sackOK>");
    CHECK(t.send(50'000u).value() == 50'000);
    t.skip();
    t.in(". 1 ack 1 <sack 1001:5001>");
    t.out(". 1:1001 ack 1");
    t.skip();
    CHECK(t.info().fast_retransmits == 1);
    // The original arrives after all.
    t.in(". 1 ack 5001");
    t.skip();
    if (!during) {
      t.in(". 1 ack 10001");  // recovery is over
      t.skip();
      CHECK(t.info().congestion_window <= 8000);
    }
    t.in(". 1 ack " + std::string(during ? "5001" : "10001") + " <sack 1:1001>");
    t.skip();
    CHECK(t.info().congestion_window >= 10'000);
    CHECK(t.info().slow_start_threshold > 1u << 20);
  }
}

TEST_CASE("recovery_of_which_one_retransmission_was_needed_stands") {
  script t;
  t.establish("<mss 1000 sackOK>");
  CHECK(t.send(50'000u).value() == 50'000);
  t.skip();
  t.in(". 1 ack 1 <sack 1001:2001 3001:7001>");
  t.skip();
  t.in(". 1 ack 7001");
  t.skip();
  t.in(". 1 ack 7001 <sack 1:1001>");  // but not 2001:3001
  t.skip();
  CHECK(t.info().slow_start_threshold == 7000);
}
