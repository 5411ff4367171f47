// Losses found by time and tails that are probed (RFC 8985), each at its exact time, and the rate
// of recovery (RFC 9937).
#include "packet/sending.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// Two segments leave; a round trip later the second is reported alone. How long the first is then
/// waited for: the window for reordering. Both are acknowledged in the end.
duration reorder_window(script& t, std::uint32_t& at) {
  CHECK(t.send(2000u).value() == 2000);
  t.skip();
  t.after(100ms);
  t.in(ack(at, {{at + 1000, at + 2000}}));
  t.skip();
  const auto took = t.until_sent();
  t.out(". " + r(at, at + 1000) + " ack 1");
  t.skip();
  at += 2000;
  t.in(ack(at));
  return took;
}

}  // namespace

// covers: 8985-8, 8985-9, 8985-11
TEST_CASE("a tail is probed with its last segment exactly two round trips after it was sent") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  CHECK(exactly(t.until_sent(), 200ms));
  t.out("P. " + r(at + 4000, at + 5000) + " ack 1");
  t.quiet();
  CHECK(t.count(counter::tail_loss_probes) == 1);
  CHECK(t.info().timeouts == 0);
}

// covers: 8985-8
TEST_CASE("a cumulative acknowledgement arms the probe anew, a selective one does not") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  t.after(100ms);
  t.in(ack(at + 1000));
  CHECK(exactly(t.until_sent(), 200ms));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at + 4000});
  script u;
  u.establish("<mss 1000,sackOK>");
  const auto from = warm_up(u);
  CHECK(u.send(5000u).value() == 5000);
  u.skip();
  u.after(100ms);
  u.in(ack(from, {{from + 1000, from + 5000}}));
  CHECK(data_sent(u) == std::vector<std::uint32_t>{from});
  u.after(250ms);
  CHECK(u.count(counter::tail_loss_probes) == 0);
}

// covers: 8985-8, 8985-11
TEST_CASE("a close that waits behind unsent data changes nothing about the probe") {
  for (const auto* how : {"open", "shutdown", "close", "shutdown after theirs"})
    for (const std::uint32_t bytes : {20'000u, 13'000u}) {
      CAPTURE(how);
      CAPTURE(bytes);
      const std::string name = how;
      script t;
      t.establish("<mss 1000,sackOK>");
      const auto at = warm_up(t, 1, 10ms);
      const bool theirs = name == "shutdown after theirs";
      if (theirs) t.in("F. 1 ack " + std::to_string(at));
      t.skip();
      CHECK(t.send(bytes).value() == bytes);
      if (name == "close") t.close();
      if (name.starts_with("shutdown")) t.shutdown();
      CHECK(t.sent() == 10);
      t.skip();
      t.after(10ms);
      t.in(". " + std::string(theirs ? "2" : "1") + " ack " + std::to_string(at + 1000));
      CHECK(t.sent() == 2);
      t.skip();
      CHECK(exactly(t.until_sent(), 20ms));
      // New data, and where it is the last, the end with it.
      const bool end = bytes == 13'000 && name != "open";
      t.out((end ? "F. " : ". ") + r(at + 12000, at + 13000) + " ack " + (theirs ? "2" : "1"));
      t.quiet();
      CHECK(t.count(counter::tail_loss_probes) == 1);
      if (!end) continue;
      t.in(". " + std::string(theirs ? "2" : "1") + " ack " + std::to_string(at + 13001));
      t.quiet();
      if (name == "shutdown") CHECK(t.state() == tcp_state::fin_wait_2);
    }
}

// covers: 8985-11, 8985-9
TEST_CASE("an end without data that is lost is probed like a segment, and so is one with data") {
  for (const std::uint32_t bytes : {0u, 10u, 1000u}) {
    CAPTURE(bytes);
    script t;
    t.establish("<mss 1000,sackOK>");
    const auto at = warm_up(t, 2, 10ms);
    if (bytes > 0) {
      CHECK_FALSE(t.h().set_cork(t.now(), t.socket, true));
      CHECK(t.send(bytes).value() == bytes);
    }
    t.shutdown();
    t.skip();
    if (bytes == 1000) t.in(ack(at + 1000));  // it left before, full; the end is alone
    t.skip();
    (void)t.until_sent();
    CHECK(t.count(counter::tail_loss_probes) == 1);
    CHECK(t.info().timeouts == 0);
    if (bytes == 10)
      t.out("FP. " + r(at, at + 10) + " ack 1");
    else
      t.out("F. " + std::to_string(at + bytes) + " ack 1");
    t.in(ack(at + bytes + 1));
    CHECK(t.state() == tcp_state::fin_wait_2);
  }
}

// covers: 8985-9
TEST_CASE("the probe of a single segment waits for a delayed acknowledgement too") {
  script t;
  t.establish("<mss 1000,sackOK>");
  (void)warm_up(t, 1, 300ms);  // timeout 300 + 4 * 150 ms
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  CHECK(exactly(t.until_sent(), 800ms));
  CHECK(t.count(counter::tail_loss_probes) == 1);
}

// covers: 8985-9
TEST_CASE("the probe is never later than the retransmission timeout would be") {
  script t;
  t.establish("<mss 1000,sackOK>");
  (void)warm_up(t);  // timeout 300 ms, two round trips and a delayed acknowledgement 400 ms
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  CHECK(exactly(t.until_sent(), 300ms));
  CHECK(t.count(counter::tail_loss_probes) == 1);
  CHECK(t.info().timeouts == 0);
}

// covers: 8985-9
TEST_CASE("the probe comes after one second while no round trip was measured") {
  script t;
  t.listen();
  t.in("S 0 <mss 1000,sackOK>");
  t.out("S. 0 ack 1");
  (void)t.until_sent();
  t.out("S. 0 ack 1");  // retransmitted: no sample
  t.in(". 1 ack 1");
  REQUIRE(t.accept());
  CHECK(t.info().rtt == 0ns);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  CHECK(exactly(t.until_sent(), 1s));
  CHECK(t.count(counter::tail_loss_probes) == 1);
}

// covers: 8985-11
TEST_CASE("the probe is new data where the peer's window lets it, though congestion's does not") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.info().congestion_window == 10000);
  CHECK(t.send(20000u).value() == 20000);
  CHECK(t.sent() == 10);
  t.skip();
  CHECK(exactly(t.until_sent(), 200ms));
  t.out(". " + r(at + 10000, at + 11000) + " ack 1");
  t.quiet();
  script closed;
  closed.establish("<mss 1000,sackOK>");
  const auto from = warm_up(closed);
  closed.in(". 1 ack " + std::to_string(from) + " win 5000");
  CHECK(closed.send(20000u).value() == 20000);
  CHECK(closed.sent() == 5);
  closed.skip();
  CHECK(exactly(closed.until_sent(), 200ms));
  closed.out(". " + r(from + 4000, from + 5000) + " ack 1");
}

// covers: 8985-10, 8985-12
TEST_CASE("after the probe comes the timeout, a whole one later, and no second probe") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  (void)t.until_sent();
  t.skip();
  CHECK(exactly(t.until_sent(), 300ms));
  t.out(". " + r(at, at + 1000) + " ack 1");
  CHECK(t.count(counter::tail_loss_probes) == 1);
  CHECK(t.info().timeouts == 1);
}

// covers: 8985-10
TEST_CASE("no further probe until a round trip was measured since the last one") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  (void)t.until_sent();  // the probe
  t.skip();
  t.after(100ms);
  // Both copies arrived: the acknowledgement is ambiguous and no sample (RFC 6298 3).
  t.in(ack(at + 1000));
  t.in(ack(at + 1000, {{at, at + 1000}}));
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  const auto rto = t.info().rto;
  CHECK(exactly(t.until_sent(), rto));
  CHECK(t.count(counter::tail_loss_probes) == 1);
  CHECK(t.info().timeouts == 1);
}

// covers: 8985-13
TEST_CASE("a probe that repaired a loss costs what a fast recovery costs") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  const auto window = t.info().congestion_window;
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  t.after(100ms);
  t.in(ack(at + 4000));
  (void)t.until_sent();
  t.out("P. " + r(at + 4000, at + 5000) + " ack 1");
  t.after(100ms);
  t.in(ack(at + 5000));  // of which copy?
  CHECK(t.info().congestion_window == window);
  CHECK(t.send(1000u).value() == 1000);
  t.after(100ms);
  t.in(ack(at + 6000));  // no duplicate was reported: the first was lost
  CHECK(t.info().congestion_window == window * 7 / 10);
  CHECK(t.info().slow_start_threshold == window * 7 / 10);
  CHECK(t.info().timeouts == 0);
}

// covers: 8985-13
TEST_CASE("a probe whose original arrived as well costs nothing") {
  for (const bool with_report : {true, false}) {
    CAPTURE(with_report);
    script t;
    t.establish("<mss 1000,sackOK>");
    const auto at = warm_up(t);
    const auto window = t.info().congestion_window;
    CHECK(t.send(5000u).value() == 5000);
    t.skip();
    (void)t.until_sent();
    t.skip();
    t.in(ack(at + 5000));  // late, but of the originals
    // The probe's copy is answered with a D-SACK, or by an old receiver with a bare duplicate -
    // which counts only while something is out.
    if (with_report) {
      t.in(ack(at + 5000, {{at + 4000, at + 5000}}));
    } else {
      CHECK(t.send(1000u).value() == 1000);
      t.in(ack(at + 5000));
    }
    if (with_report) CHECK(t.send(1000u).value() == 1000);
    t.after(100ms);
    t.in(ack(at + 6000));
    CHECK(t.info().congestion_window >= window);
    CHECK(t.info().slow_start_threshold > 1u << 30);
  }
}

// covers: 8985-4, 8985-6
TEST_CASE("with one segment reported the hole is lost a quarter of the least round trip later") {
  script t;
  t.establish("<mss 1000,sackOK>");
  auto at = warm_up(t);
  CHECK(exactly(reorder_window(t, at), 25ms));
}

// covers: 8985-4, 6675-1, 6675-2
TEST_CASE("with three segments reported the hole is lost at once, however small they are") {
  for (const std::uint32_t size : {1000u, 100u}) {
    CAPTURE(size);
    script t;
    t.establish("<mss 1000,sackOK>");
    const auto at = warm_up(t);
    for (int i = 0; i < 5; ++i) {
      CHECK(t.send(size).value() == size);
      t.after(1ms);  // in segments of their own
    }
    t.skip();
    t.after(100ms);
    t.in(ack(at, {{at + size, at + 2 * size}}));
    t.in(ack(at, {{at + size, at + 3 * size}}));
    t.quiet();
    t.in(ack(at, {{at + size, at + 4 * size}}));
    CHECK(data_sent(t) == std::vector<std::uint32_t>{at});
  }
}

// covers: 8985-4
TEST_CASE("in recovery a further hole is lost as soon as something sent after it has arrived") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  t.after(100ms);
  t.in(ack(at, {{at + 1000, at + 4000}}));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at});
  t.in(ack(at, {{at + 5000, at + 6000}, {at + 1000, at + 4000}}));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at + 4000});
}

// covers: 8985-5, 2883-2
TEST_CASE(
    "the window for reordering grows once a round trip with D-SACKs and never over the SRTT") {
  // Whichever half of the sequence space our numbers start in.
  for (const auto start : {0s, 8800s}) {
    CAPTURE(start.count());
    script t;
    t.after(start);
    t.establish("<mss 1000,sackOK>");
    auto at = warm_up(t, 2);
    const auto report = [&] {
      CHECK(t.send(1000u).value() == 1000);
      t.in(ack(at, {{at - 1000, at}}));
      t.in(ack(at, {{at - 1000, at}}));  // the same round trip: counted once
      t.after(100ms);
      t.in(ack(at += 1000));
      t.skip();
    };
    report();
    CHECK(exactly(reorder_window(t, at), 50ms));
    report();
    CHECK(exactly(reorder_window(t, at), 75ms));
    for (int i = 0; i < 10; ++i) report();
    const auto bounded = reorder_window(t, at);
    CHECK(bounded >= 99ms);
    CHECK(bounded <= t.info().rtt + 1ms);
  }
}

// covers: 8985-5
TEST_CASE("the window for reordering falls back after sixteen recoveries without a D-SACK") {
  script t;
  t.establish("<mss 1000,sackOK>");
  auto at = warm_up(t, 2);
  t.in(ack(at, {{at - 1000, at}}));
  for (int i = 0; i < 16; ++i) {
    CAPTURE(i);
    const auto took = reorder_window(t, at);
    CHECK(took >= 49ms);
    CHECK(took < 52ms);
  }
  const auto took = reorder_window(t, at);
  CHECK(took >= 24ms);
  CHECK(took < 27ms);
}

// covers: 8985-5, 2883-2
TEST_CASE(
    "a block below SND.UNA is no D-SACK if the acknowledgement that brings it is older still") {
  script t;
  t.establish("<mss 1000,sackOK>");
  auto at = warm_up(t, 2);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  t.after(100ms);
  t.in(ack(at + 3000));
  // Overtaken on its way: when it was sent, these bytes lay beyond a gap.
  t.in(ack(at, {{at + 1000, at + 2000}}));
  at += 3000;
  CHECK(exactly(reorder_window(t, at), 25ms));
}

// covers: 8985-7, 5681-19
TEST_CASE("a retransmission that is lost is found by time and reduces the window a second time") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(40000u).value() == 40000);
  CHECK(t.sent() == 10);
  t.skip();
  t.after(100ms);
  t.in(ack(at, {{at + 1000, at + 10000}}));
  CHECK(t.info().slow_start_threshold == 7000);
  const auto first = data_sent(t);
  REQUIRE(!first.empty());
  CHECK(first[0] == at);
  const auto out = static_cast<std::uint32_t>(first.size() - 1) * 1000;
  REQUIRE(out >= 1000);  // new data went out beside it, and arrives; the retransmission does not
  t.after(100ms);
  t.in(ack(at, {{at + 1000, at + 10000 + out}}));
  CHECK(data_sent(t)[0] == at);
  CHECK(t.info().slow_start_threshold == 4900);
  CHECK(t.info().timeouts == 0);
  CHECK(t.info().fast_retransmits == 2);
}

// covers: 5681-19
TEST_CASE(
    "losses in two windows are two reductions, also when the second is found before the end") {
  script t(reno());
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(60000u).value() == 60000);
  t.skip();
  t.after(100ms);
  t.in(ack(at, {{at + 1000, at + 10000}}));
  CHECK(t.info().slow_start_threshold == 5000);
  const auto second = data_sent(t);  // the retransmission and the first of the next window
  REQUIRE(second.size() >= 2);
  CHECK(second[1] == at + 10000);
  // What was sent during recovery: its first is lost as well.
  t.in(ack(at + 10000));
  const auto more = data_sent(t);
  REQUIRE(!more.empty());
  const auto end = more.back() + 1000;
  t.after(100ms);
  t.in(ack(at + 10000, {{at + 11000, end}}));
  CHECK(t.info().fast_retransmits == 2);
  CHECK(t.info().slow_start_threshold <= 2500);
}

// covers: 8985-14
TEST_CASE("one timer at a time: reordering replaces the probe, and the timeout replaces both") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  t.after(190ms);  // the probe is due in 10 ms
  t.in(ack(at, {{at + 1000, at + 2000}}));
  CHECK(t.until_sent(1s) > 10ms);  // the hole, when its time has come
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at});
  const auto rto = t.info().rto;
  CHECK(exactly(t.until_sent(10s), rto));
  CHECK(t.count(counter::tail_loss_probes) == 0);
  CHECK(t.info().timeouts == 1);
}

// covers: 8985-1
TEST_CASE("without SACK nothing is found by time and no tail is probed") {
  script t;
  t.establish("<mss 1000>");
  const auto at = warm_up(t);
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  t.after(100ms);
  t.in(ack(at));
  t.in(ack(at));
  CHECK(exactly(t.until_sent(), 200ms));  // the timeout, 300 ms after the segments
  CHECK(t.count(counter::tail_loss_probes) == 0);
  CHECK(t.info().timeouts == 1);
}

// covers: 9937-1, 9937-2, 9937-4, 9937-5, 9937-6, 9937-7, 8985-15, 6675-4
TEST_CASE("recovery sends in proportion to what arrives and ends at the threshold") {
  for (const bool sack : {true, false}) {
    CAPTURE(sack);
    script t(reno());
    t.establish(sack ? "<mss 1000,sackOK>" : "<mss 1000>");
    const auto at = warm_up(t);
    // One more has arrived; without selective acknowledgements a duplicate says the same.
    const auto report = [&](std::uint32_t end) {
      t.in(sack ? ack(at, {{at + 1000, end}}) : ack(at));
    };
    CHECK(t.send(100'000u).value() == 100'000);
    CHECK(t.sent() == 10);
    t.skip();
    t.after(100ms);
    // The first segment is lost. Two reports let two new ones out, the third begins recovery.
    std::uint32_t next = at + 10000, reported = at + 1000;
    for (int i = 0; i < 2; ++i) {
      report(reported += 1000);
      CHECK(data_sent(t) == std::vector<std::uint32_t>{next});
      next += 1000;
      t.after(1ms);
    }
    constexpr std::uint32_t threshold = 5000, recover_fs = 10000;  // 12 out, 2 arrived before
    std::uint32_t delivered = 0, sent = 0;
    bool again = false;
    for (int i = 0; i < 9; ++i) {
      CAPTURE(i);
      t.after(i == 7 ? 91ms : 1ms);  // the last two reports are of what left a round trip before
      report(reported += 1000);
      // RFC 9937 6.2.
      delivered += 1000;
      const auto out = next - at, arrived = reported - at - 1000;
      const auto pipe = out - arrived - (again ? 0u : 1000u);
      std::uint32_t may = 0;
      if (pipe > threshold)
        may = (delivered * threshold + recover_fs - 1) / recover_fs - sent;
      else
        may = std::min(threshold - pipe, std::max(delivered - sent, 1000u));
      if (i == 0) may = std::max(may, 1000u);  // the fast retransmission itself
      std::vector<std::uint32_t> expected;
      for (auto room = may; room >= 1000; room -= 1000, sent += 1000) {
        expected.push_back(again ? next : at);
        if (again) next += 1000;
        again = true;
      }
      CHECK(data_sent(t) == expected);
    }
    CHECK(sent == 5000);  // half of the ten
    t.in(ack(next));
    CHECK(t.info().congestion_window == 5000);
    CHECK(t.info().slow_start_threshold == 5000);
  }
}

// covers: 9937-3, 9937-5, 9937-7, 8985-15
TEST_CASE("after heavy losses as much goes out as arrives, and one more while recovery gets on") {
  script t(reno());
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(100'000u).value() == 100'000);
  t.skip();
  t.after(100ms);
  // Only the last three arrived: seven are lost, and nothing is on its way.
  const std::pair<std::uint32_t, std::uint32_t> arrived{at + 7000, at + 10000};
  t.in(ack(at, {arrived}));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at, at + 1000, at + 2000});
  t.after(100ms);
  t.in(ack(at + 1000, {arrived}));  // SND.UNA advances and no loss shows: two for one
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at + 3000, at + 4000});
  t.in(ack(at + 3000, {arrived}));  // three for two, which fills the window
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at + 5000, at + 6000, at + 10000});
  t.in(ack(at + 3000, {arrived}));  // nothing arrived
  t.quiet();
  t.after(100ms);
  t.in(ack(at + 4000, {arrived}));  // never beyond the threshold
  CHECK(data_sent(t).size() == 1);
  CHECK(t.info().fast_retransmits == 1);
  t.in(ack(at + 10000));
  CHECK(t.info().congestion_window == 5000);
  CHECK(t.info().timeouts == 0);
}

// covers: 9937-3
TEST_CASE("an advance that shows a further loss lets out no more than what arrives") {
  script t(reno());
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(100'000u).value() == 100'000);
  t.skip();
  t.after(100ms);
  t.in(ack(at, {{at + 5000, at + 8000}}));  // five lost, two on their way
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at, at + 1000, at + 2000});
  t.after(100ms);
  t.in(ack(at + 1000, {{at + 9000, at + 10000}, {at + 5000, at + 8000}}));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at + 3000, at + 4000});
}

// covers: 9937-1, 9937-5
TEST_CASE("a second reduction begins at the first one's threshold, with its own count") {
  script t(reno());
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(100'000u).value() == 100'000);
  t.skip();
  t.after(100ms);
  t.in(ack(at, {{at + 1000, at + 10000}}));
  CHECK(t.info().slow_start_threshold == 5000);
  const auto first = data_sent(t);
  CHECK(first == std::vector<std::uint32_t>{at, at + 10000, at + 11000, at + 12000, at + 13000});
  t.after(100ms);
  // The new ones arrive, the retransmission does not: of five, four are out for nothing.
  t.in(ack(at, {{at + 1000, at + 14000}}));
  CHECK(t.info().fast_retransmits == 2);
  CHECK(t.info().slow_start_threshold == 2500);
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at, at + 14000});
  t.after(100ms);
  t.in(ack(at + 15000));
  CHECK(t.info().congestion_window == 2500);
}

// covers: 9438-10, 5681-2
TEST_CASE("a recovery that reordering alone made is taken back by its D-SACKs or by timestamps") {
  for (const bool timestamps : {false, true}) {
    CAPTURE(timestamps);
    script t;
    t.establish(timestamps ? "<mss 1012,sackOK,TS 100 0>" : "<mss 1000,sackOK>");
    const auto stamp = [&](const wire::tcp_segment& s) {
      return timestamps ? "TS 101 " + std::to_string(s.options.timestamps->value) + (", ")
                        : std::string();
    };
    CHECK(t.send(1000u).value() == 1000);
    auto s = t.take();
    t.after(100ms);
    t.in(". 1 ack 1001 <" + stamp(s) + "nop>");
    CHECK(t.send(10000u).value() == 10000);
    const auto window = t.info().congestion_window;
    const auto original = t.take();
    t.skip();
    t.after(100ms);
    t.in(". 1 ack 1001 <" + stamp(original) + "sack 2001:6001>");
    CHECK(data_sent(t) == std::vector<std::uint32_t>{1001});
    CHECK(t.info().slow_start_threshold == 7000);
    t.after(5ms);
    // The first arrives after all, and some time later its retransmission as well.
    t.in(". 1 ack 11001 <" + stamp(original) + "nop>");
    if (timestamps) CHECK(t.info().congestion_window >= window);
    t.after(100ms);
    t.in(". 1 ack 11001 <" + stamp(original) + "sack 1001:2001>");
    CHECK(t.info().congestion_window >= window);
    CHECK(t.info().slow_start_threshold > 1u << 30);
    // From now on there is room for reordering, three reports or not.
    CHECK(t.send(10000u).value() == 10000);
    const auto next = t.take();
    t.skip();
    t.after(100ms);
    t.in(". 1 ack 11001 <" + stamp(next) + "sack 12001:16001>");
    t.quiet();
    CHECK(t.until_sent() > 10ms);
  }
}
