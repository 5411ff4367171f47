// Congestion control as the wire shows it (RFC 5681, 3042, 6582, 6928, 7661), with NewReno's exact
// numbers.
#include "packet/icmp_quote.hpp"
#include "packet/sending.hpp"

using namespace weir;
using namespace weir::test;

namespace {

constexpr std::string_view wide = "<mss 1000,wscale 7>";

/// A sender that always has more to send, over a path of 100 ms.
struct bulk {
  script t{reno()};
  std::uint32_t at = 1, end = 1;

  bulk() { t.establish(wide); }
  void refill() {
    while (t.send(20000u)) {
    }
  }
  /// Looks at what was sent: never beyond what was acknowledged and the smaller of both windows.
  void look() {
    for (; t.sent() > 0;) {
      const auto s = t.take();
      const auto last = t.place(s) + static_cast<std::uint32_t>(s.payload.size());
      CHECK(last <= at + std::min(t.info().congestion_window, t.info().send_window));
      end = std::max(end, last);
    }
  }
  /// Everything that is out is acknowledged, a segment at a time, a round trip later.
  void round() {
    refill();
    look();
    const auto out = end;
    t.after(100ms);
    while (at < out) {
      t.in(ack(at += 1000));
      look();
      refill();
      look();
    }
  }
  std::uint32_t window() const { return t.info().congestion_window; }
};

}  // namespace

// covers: 5681-1, 5681-2, 5681-7, 5681-9
TEST_CASE("the window doubles each round trip up to the threshold and then grows by one segment") {
  bulk b;
  CHECK(b.t.info().slow_start_threshold > 1u << 30);
  for (const std::uint32_t expected : {20000u, 40000u, 80000u}) {
    b.round();
    CHECK(b.window() == expected);
  }
  // One loss: half of what was out.
  b.refill();
  b.look();
  const auto out = b.end - b.at;
  CHECK(out == 80000);
  b.t.after(100ms);
  for (int i = 0; i < 3; ++i) b.t.in(ack(b.at));
  CHECK(b.t.info().slow_start_threshold == 40000);
  while (b.t.sent() > 0) {
    const auto s = b.t.take();
    b.end = std::max(b.end, b.t.place(s) + static_cast<std::uint32_t>(s.payload.size()));
  }
  b.t.after(100ms);
  b.at = b.end;
  b.t.in(ack(b.at));
  CHECK(b.window() == 40000);
  b.look();
  for (std::uint32_t expected = 41000; expected < 50000; expected += 1000) {
    b.round();
    CHECK(b.window() == expected);
  }
}

// covers: 5681-2
TEST_CASE("acknowledgements cut small do not make the window grow faster than bytes arrive") {
  script t(reno());
  t.establish(wide);
  CHECK(t.send(100'000u).value() == 100'000);
  CHECK(t.sent() == 10);
  t.skip();
  t.after(100ms);
  for (std::uint32_t n = 51; n <= 1001; n += 50) t.in(ack(n));  // twenty for one segment
  CHECK(t.info().congestion_window == 11000);
  t.in(ack(2001));
  CHECK(t.info().congestion_window == 12000);
}

// covers: 5681-3, 6928-1
TEST_CASE("the first window is ten segments, or 14600 bytes, or two segments of any size") {
  for (const auto& [mss, window] :
       std::vector<std::pair<std::uint32_t, std::uint32_t>>{{536, 5360},
                                                            {1000, 10000},
                                                            {1460, 14600},
                                                            {2000, 14600},
                                                            {7000, 14600},
                                                            {7500, 15000},
                                                            {8960, 17920}}) {
    CAPTURE(mss);
    host_options o = reno();
    o.mtu = 9000;
    script t(o);
    t.establish("<mss " + std::to_string(mss) + ">");
    CHECK(t.info().congestion_window == window);
    CHECK(t.send(60000u).value() == 60000);
    CHECK(t.sent() == window / mss);
  }
}

// covers: 5681-4
TEST_CASE("neither the SYN-ACK nor its acknowledgement makes the window grow") {
  script passive(reno());
  passive.establish("<mss 1000>");
  CHECK(passive.info().congestion_window == 10000);
  script active;
  active.connect(reno().tcp);
  active.out("S 0");
  active.in("S. 0 ack 1 <mss 1000>");
  CHECK(active.info().congestion_window == 10000);
  script both;
  both.connect(reno().tcp);
  both.out("S 0");
  both.in("S 0 <mss 1000>");
  both.in("S. 0 ack 1 <mss 1000>");
  both.in(". 1 ack 1");
  CHECK(both.info().congestion_window == 10000);
}

// covers: 5681-5, 6928-1
TEST_CASE("more than one lost SYN or SYN-ACK leaves a first window of one segment") {
  for (const bool active : {true, false})
    for (const int lost : {0, 1, 2, 3}) {
      CAPTURE(active);
      CAPTURE(lost);
      script t(reno());
      if (active) {
        t.connect(reno().tcp);
      } else {
        t.listen();
        t.in("S 0 <mss 1000>");
      }
      (void)t.take();
      for (int i = 0; i < lost; ++i) {
        (void)t.until_sent();
        (void)t.take();
      }
      t.in(active ? "S. 0 ack 1 <mss 1000>" : ". 1 ack 1");
      if (!active) REQUIRE(t.accept());
      t.skip();
      CHECK(t.info().congestion_window == (lost > 1 ? 1000 : 10000));
      CHECK(t.send(20000u).value() == 20000);
      CHECK(t.sent() == (lost > 1 ? 1 : 10));
    }
}

// covers: 5681-6
TEST_CASE("the window shrinks with the segments when the path takes only smaller ones") {
  script t(reno());
  t.establish("<mss 1460>");
  CHECK(t.info().congestion_window == 14600);
  CHECK(t.send(30000u).value() == 30000);
  const auto first = t.take();
  t.skip();
  const auto problem = icmp_about(t, first, 3, 4, 1000, 1500);
  t.in_raw(problem);
  t.flush();
  CHECK(t.info().send_mss == 960);
  CHECK(t.info().congestion_window == 9600);  // ten segments still
  CHECK(t.info().slow_start_threshold > 1u << 30);
}

// covers: 5681-10, 5681-11
TEST_CASE("the first timeout halves the threshold, its repetition does not, a later one does") {
  auto o = reno();
  o.tcp.probing = path_probing::off;  // else the third timeout would try smaller packets
  script t(o);
  t.establish(wide);
  CHECK(t.send(50000u).value() == 50000);
  CHECK(t.sent() == 10);
  t.skip();
  for (int i = 0; i < 2; ++i) {
    (void)t.until_sent();
    CHECK(data_sent(t) == std::vector<std::uint32_t>{1});
    CHECK(t.info().congestion_window == 1000);
    CHECK(t.info().slow_start_threshold == 5000);
  }
  t.in(ack(1001));  // slow start from one segment
  CHECK(data_sent(t) == std::vector<std::uint32_t>{1001, 2001});
  (void)t.until_sent();  // another segment's first timeout, with nine out
  CHECK(data_sent(t) == std::vector<std::uint32_t>{1001});
  CHECK(t.info().congestion_window == 1000);
  CHECK(t.info().slow_start_threshold == 4500);
  // Never below two segments.
  script small(reno());
  small.establish(wide);
  CHECK(small.send(1000u).value() == 1000);
  small.skip();
  (void)small.until_sent();
  CHECK(small.info().slow_start_threshold == 2000);
}

// covers: 3042-1, 5681-13
TEST_CASE("the first two duplicates let one new segment out each, if the peer's window does") {
  for (const std::uint16_t window : {20000, 11000, 10500, 10000}) {
    CAPTURE(window);
    script t(reno());
    t.establish("<mss 1000>", window);
    CHECK(t.send(50000u).value() == 50000);
    CHECK(t.sent() == 10);
    t.skip();
    t.in(ack(1));
    CHECK(t.sent() == (window >= 11000 ? 1 : 0));
    CHECK(t.info().congestion_window == 10000);
    t.in(ack(1));
    CHECK(t.sent() == (window >= 12000 ? 2 : window >= 11000 ? 1 : 0));
    CHECK(t.info().congestion_window == 10000);
    for (const auto from : data_sent(t)) CHECK(from >= 10001);
  }
}

// covers: 5681-14, 5681-15
TEST_CASE("the third duplicate retransmits; each further one says that a segment has left") {
  script t(reno());
  t.establish(wide);
  CHECK(t.send(100'000u).value() == 100'000);
  CHECK(t.sent() == 10);
  t.skip();
  t.after(100ms);
  t.in(ack(1));
  t.in(ack(1));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{10001, 11001});
  t.in(ack(1));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{1});
  CHECK(t.info().slow_start_threshold == 5000);  // of ten: without the two of limited transmit
  // Eight more arrived. RFC 5681 would inflate to 8 + 8 segments, four beyond the twelve that are
  // out; the rate of RFC 9937 sends no more, only earlier.
  std::vector<std::uint32_t> fresh;
  for (int i = 0; i < 8; ++i) {
    t.in(ack(1));
    for (const auto from : data_sent(t)) fresh.push_back(from);
  }
  CHECK(fresh.size() >= 3);
  CHECK(fresh.size() <= 4);
  for (std::size_t i = 0; i < fresh.size(); ++i) CHECK(fresh[i] == 12001 + i * 1000);
  // The next new acknowledgement deflates to the threshold.
  t.in(ack(12001));
  CHECK(t.info().congestion_window == 5000);
  CHECK(t.info().slow_start_threshold == 5000);
}

// covers: 6582-1
TEST_CASE("each partial acknowledgement retransmits one hole, and the recovery is a single one") {
  script t(reno());
  t.establish(wide);
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  t.after(100ms);
  for (int i = 0; i < 3; ++i) t.in(ack(1));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{1});
  for (const std::uint32_t hole : {2001u, 4001u, 6001u}) {
    t.after(100ms);
    t.in(ack(hole));
    CHECK(data_sent(t) == std::vector<std::uint32_t>{hole});
    CHECK(t.info().slow_start_threshold == 5000);
    CHECK(t.info().fast_retransmits == 1);
  }
  t.after(100ms);
  t.in(ack(10001));
  CHECK(t.info().congestion_window == 5000);
  CHECK(t.info().timeouts == 0);
  // Duplicates of what was out then begin no second recovery.
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  for (int i = 0; i < 4; ++i) t.in(ack(10001));
  CHECK(t.info().fast_retransmits == 1);
  CHECK(t.info().slow_start_threshold == 5000);
}

// covers: 5681-16
TEST_CASE(
    "after an idle time longer than the timeout the window is the smaller of it and the first") {
  bulk b;
  b.round();
  b.round();
  CHECK(b.window() == 40000);
  // Let everything go out and be acknowledged.
  while (b.t.info().send_queued > 0) {
    b.t.after(100ms);
    b.look();
    b.at = b.end;
    b.t.in(ack(b.at));
    b.look();
  }
  const auto before = b.window();
  CHECK(before > 10000);
  b.t.after(b.t.info().rto / 2);
  CHECK(b.t.send(1000u).value() == 1000);
  b.t.skip();
  CHECK(b.window() == before);  // not idle for long enough
  b.t.in(ack(b.at += 1000));
  b.t.after(b.t.info().rto + 1ms);
  CHECK(b.t.send(30000u).value() == 30000);
  CHECK(b.t.sent() == 10);
  CHECK(b.window() == 10000);
  // One that is smaller than the first stays.
  script t(reno());
  t.establish(wide);
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  (void)t.until_sent();
  t.in(ack(1001));
  const auto small = t.info().congestion_window;
  CHECK(small <= 2000);
  t.after(100s);
  t.skip();
  CHECK(t.send(30000u).value() == 30000);
  CHECK(t.info().congestion_window == small);
}

// covers: 5681-17, 5681-18
TEST_CASE(
    "no segment is answered by more than one acknowledgement, and each within half a second") {
  script t;
  t.establish("<mss 1000,sackOK>");
  std::uint32_t at = 1;
  const auto answers = [&](const std::string& line) {
    t.in(line);
    const auto n = t.sent();
    t.skip();
    return n;
  };
  for (int i = 0; i < 40; ++i, at += 1000) CHECK(answers("P. " + r(at, at + 1000) + " ack 1") <= 1);
  t.after(500ms);
  t.skip();
  // In order, beyond a gap, filling it, old, partly old, out of the window, bare.
  CHECK(answers("P. " + r(at + 1000, at + 2000) + " ack 1") == 1);
  CHECK(answers("P. " + r(at, at + 1000) + " ack 1") == 1);
  at += 2000;
  CHECK(answers("P. " + r(at - 500, at) + " ack 1") == 1);
  CHECK(answers("P. " + r(at - 500, at + 500) + " ack 1") <= 1);
  at += 500;
  CHECK(answers("P. " + r(at + 900'000, at + 900'100) + " ack 1") == 1);
  CHECK(answers(". " + std::to_string(at) + " ack 1") == 0);
  // Small ones are waited for, but not for long.
  for (int i = 0; i < 20; ++i) {
    CHECK(answers("P. " + r(at, at + 10) + " ack 1") <= 1);
    at += 10;
    t.after(500ms);
    CHECK(t.sent() <= 1);
    t.skip();
  }
  t.in("P. " + r(at, at + 10) + " ack 1");
  if (t.sent() == 0) {
    CHECK(t.until_sent(1s) < 500ms);
  }
  t.out(". 1 ack " + std::to_string(at + 10));
}
