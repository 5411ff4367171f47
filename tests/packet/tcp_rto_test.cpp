// The retransmission timeout: estimated, armed, doubled and taken back (RFC 6298, 8961, 5682), by
// the virtual clock.
#include "packet/sending.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// "<TS value echo>" of a peer whose clock shows `value`, echoing `segment`.
std::string stamps(std::uint32_t value, const wire::tcp_segment& segment) {
  return " <TS " + std::to_string(value) + " " + std::to_string(segment.options.timestamps->value) +
         ">";
}

}  // namespace

// covers: 6298-1, 6298-11, 8961-1
TEST_CASE("the timeout is one second before any sample and doubles from there") {
  script t;
  t.listen();
  t.in("S 0 <mss 1000>");
  t.out("S. 0 ack 1");
  for (const auto wait : {1s, 2s, 4s}) {
    CHECK(exactly(t.until_sent(), wait));
    t.out("S. 0 ack 1");
  }
  script client;
  client.connect();
  client.out("S 0");
  for (const auto wait : {1s, 2s, 4s}) {
    CHECK(exactly(client.until_sent(), wait));
    client.out("S 0");
  }
}

// covers: 6298-2, 6298-10
TEST_CASE("the first sample R makes the timeout R plus four times its half") {
  for (const auto r : {100ms, 300ms, 1000ms}) {
    CAPTURE(r.count());
    script t;
    t.establish("<mss 1000>");
    (void)warm_up(t, 1, r);
    CHECK(t.info().rtt == r);
    CHECK(t.info().rtt_variance == r / 2);
    CHECK(t.info().rto == 3 * duration(r));
    CHECK(t.send(1000u).value() == 1000);
    t.skip();
    CHECK(exactly(t.until_sent(), 3 * duration(r)));
  }
}

// covers: 6298-3, 6298-7
TEST_CASE("each round trip is a sample: the variance first, then the mean") {
  script t;
  t.establish("<mss 1000>");
  double srtt = 0, var = 0;
  std::uint32_t at = 1;
  for (const int ms : {100, 140, 90, 300, 100, 100, 250, 80}) {
    CAPTURE(ms);
    CHECK(t.send(1000u).value() == 1000);
    t.skip();
    t.after(std::chrono::milliseconds(ms));
    t.in(ack(at += 1000));
    if (srtt == 0) {
      srtt = ms;
      var = ms / 2.0;
    } else {
      var = var * 3 / 4 + std::abs(srtt - ms) / 4;
      srtt = srtt * 7 / 8 + ms / 8.0;
    }
    CHECK(static_cast<double>(t.info().rtt.count()) * 1e-6 == doctest::Approx(srtt).epsilon(1e-4));
    CHECK(static_cast<double>(t.info().rtt_variance.count()) * 1e-6 ==
          doctest::Approx(var).epsilon(1e-4));
  }
}

// covers: 6298-4, 6298-8
TEST_CASE("the lower bound is 200 ms over the round trip, and one second where asked for") {
  for (const auto floor : {200ms, 1000ms}) {
    CAPTURE(floor.count());
    host_options o;
    o.tcp.min_rto = floor;
    script t(o);
    t.establish("<mss 1000>");
    (void)warm_up(t, 60, 10ms);  // the variance dies away
    CHECK(t.info().rtt_variance < 1ms);
    CHECK(t.info().rto >= floor);
    CHECK(t.info().rto < floor + 11ms);
    CHECK(t.send(1000u).value() == 1000);
    t.skip();
    CHECK(t.until_sent() >= floor);
  }
  CHECK(tcp_options{}.min_rto == 200ms);
}

// covers: 6298-5, 6298-11, 8961-1
TEST_CASE("the timeout doubles with each expiry up to two minutes") {
  host_options o;
  o.tcp.probing = path_probing::off;  // else the segments become shorter
  script t(o);
  t.establish("<mss 1000>");
  const auto at = warm_up(t);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  duration expected = 300ms;
  for (int i = 0; i < 12; ++i) {
    CAPTURE(i);
    CHECK(exactly(t.until_sent(), std::min<duration>(expected, 120s)));
    expected *= 2;
    t.out(". " + r(at, at + 1000) + " ack 1");  // the earliest, and nothing else
    t.quiet();
  }
  CHECK(expected >= 240s);
}

// covers: 6298-6, 8961-1
TEST_CASE("a sample of a retransmitted segment counts only with a timestamp") {
  for (const bool timestamps : {false, true}) {
    CAPTURE(timestamps);
    script t;
    t.establish(timestamps ? "<mss 1012,TS 100 0>" : "<mss 1000>");
    const auto reply = [&](std::uint32_t n, const wire::tcp_segment& s) {
      t.in(". 1 ack " + std::to_string(n) + (timestamps ? stamps(101, s) : std::string()));
    };
    CHECK(t.send(1000u).value() == 1000);
    auto s = t.take();
    t.after(100ms);
    reply(1001, s);
    CHECK(t.info().rtt == 100ms);
    CHECK(t.send(1000u).value() == 1000);
    t.skip();
    (void)t.until_sent();
    s = t.take();
    t.after(20ms);
    reply(2001, s);  // of the retransmission, as its timestamp says
    if (timestamps)
      CHECK(t.info().rtt == 90ms);
    else
      CHECK(t.info().rtt == 100ms);
  }
}

// covers: 6298-6, 8961-1
TEST_CASE("an acknowledgement of new segments and one sent twice is no sample of either") {
  script t;
  t.establish("<mss 1000>");
  const auto at = warm_up(t);
  REQUIRE(t.info().rtt == 100ms);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  (void)t.until_sent();  // the first of them again
  t.skip();
  t.after(20ms);
  t.in(ack(at + 3000));  // the others waited behind it
  CHECK(t.info().rtt == 100ms);
  // A part of what was sent twice is no better.
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  (void)t.until_sent();
  t.skip();
  t.after(20ms);
  t.in(ack(at + 3500));
  CHECK(t.info().rtt == 100ms);
  t.in(ack(at + 4000));
  CHECK(t.info().rtt == 100ms);
}

// covers: 6298-9, 6298-10
TEST_CASE("the timer starts with the first segment, restarts with progress and stops at the end") {
  script t;
  t.establish("<mss 1000>");
  auto at = warm_up(t);  // timeout 300 ms
  CHECK(t.send(1000u).value() == 1000);
  t.after(200ms);
  CHECK(t.send(1000u).value() == 1000);  // does not move it
  t.skip();
  t.after(50ms);
  t.in(ack(at + 1000));  // ... this does
  const auto rto = t.info().rto;
  CHECK(exactly(t.until_sent(), rto));
  t.out("P. " + r(at + 1000, at + 2000) + " ack 1");
  t.in(ack(at + 2000));
  t.after(100s);
  t.quiet();
  // Off when all was acknowledged: a whole timeout for what is sent next.
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  const auto next = t.info().rto;
  CHECK(exactly(t.until_sent(), next));
}

// covers: 6298-9
TEST_CASE("no segment is sent again by the timer sooner than a timeout after it was sent") {
  script t;
  t.establish("<mss 1000>");
  auto at = warm_up(t);
  // A segment every 40 ms, acknowledged 100 ms late each; then the acknowledgements stop.
  for (int i = 0; i < 20; ++i) {
    CHECK(t.send(1000u).value() == 1000);
    t.after(40ms);
    if (i >= 3) t.in(ack(at += 1000));
  }
  t.skip();
  const auto rto = t.info().rto;
  CHECK(exactly(t.until_sent(),
                rto));  // after the last acknowledgement: the oldest was sent before it
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at});
}

// covers: 6298-12
TEST_CASE("after a lost SYN the data phase begins with a timeout of three seconds") {
  for (const bool active : {true, false})
    for (const bool timestamps : {true, false}) {
      CAPTURE(active);
      CAPTURE(timestamps);
      script t;
      if (active) {
        t.connect();
        t.skip();
        (void)t.until_sent();
        const auto syn = t.take();
        t.after(20ms);
        t.in(timestamps ? "S. 0 ack 1 <mss 1012,TS 7 " +
                              std::to_string(syn.options.timestamps->value) + ">"
                        : "S. 0 ack 1 <mss 1000>");
      } else {
        t.listen();
        t.in(timestamps ? "S 0 <mss 1012,TS 7 0>" : "S 0 <mss 1000>");
        t.skip();
        (void)t.until_sent();
        const auto answer = t.take();
        t.after(20ms);
        t.in(timestamps ? ". 1 ack 1" + stamps(8, answer) : ". 1 ack 1");
        REQUIRE(t.accept());
      }
      t.skip();
      CHECK(t.send(1000u).value() == 1000);
      const auto s = t.take();
      CHECK(exactly(t.until_sent(), 3s));
      t.skip();
      // Acknowledged data brings a sample, and that is what counts from then on.
      t.in(". 1 ack 1001" + (timestamps ? stamps(9, s) : std::string()));
      if (timestamps) CHECK(t.info().rto < 10s);
    }
}

// covers: 7323-17
TEST_CASE("many samples in a round trip weigh as much as one") {
  script one, many;
  one.establish("<mss 1000>");
  many.establish("<mss 1000>");
  auto at = warm_up(one);
  (void)warm_up(many);
  CHECK(one.send(1000u).value() == 1000);
  CHECK(many.send(10000u).value() == 10000);
  one.after(200ms);
  many.after(200ms);
  one.in(ack(at + 1000));
  for (int i = 0; i < 10; ++i) many.in(ack(at += 1000));
  CHECK(one.info().rtt == 112500us);
  // Of ten segments five acknowledgements are expected, and fewer as what is out shrinks.
  CHECK(many.info().rtt > 110ms);
  CHECK(many.info().rtt < 140ms);  // ten of weight 1/8 would come to 174 ms
}

// covers: 5682-1
TEST_CASE(
    "a timeout is found spurious by the second acknowledgement over what was not sent again") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(40000u).value() == 40000);
  const auto window = t.info().congestion_window;
  const auto threshold = t.info().slow_start_threshold;
  t.skip();
  (void)t.until_sent();  // the probe of the tail
  t.out(". " + r(at + 10000, at + 11000) + " ack 1");
  (void)t.until_sent();
  t.out(". " + r(at, at + 1000) + " ack 1");
  CHECK(t.info().timeouts == 1);
  CHECK(t.info().congestion_window == 1000);
  t.in(ack(at + 2000));
  // Two new segments, no retransmissions, whatever seems lost.
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at + 11000, at + 12000});
  CHECK(t.info().congestion_window <= 3000);
  t.in(ack(at + 4000));
  CHECK(t.info().congestion_window >= window);
  CHECK(t.info().slow_start_threshold == threshold);
  for (const auto from : data_sent(t)) CHECK(from >= at + 13000);  // nothing of old
  t.in(ack(at + 11000));
  CHECK(t.info().retransmissions == 1);
}

// covers: 5682-1
TEST_CASE("a duplicate after the timeout means losses, and they are sent again") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(40000u).value() == 40000);
  t.skip();
  (void)t.until_sent();  // the probe
  t.skip();
  (void)t.until_sent();
  t.skip();
  // The reports of the second and third segment were lost; the retransmission fills the hole.
  t.in(ack(at + 3000));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at + 11000, at + 12000});
  t.after(100ms);
  t.in(ack(at + 3000, {{at + 11000, at + 13000}}));
  CHECK(data_sent(t).front() == at + 3000);
  CHECK(t.info().congestion_window <= 4000);
  CHECK(t.info().slow_start_threshold == 7000);
}

// covers: 5682-1
TEST_CASE("with nothing new to send, or all acknowledged at once, the answer stays conservative") {
  for (const bool all : {false, true}) {
    CAPTURE(all);
    script t;
    t.establish("<mss 1000,sackOK>");
    const auto at = warm_up(t);
    CHECK(t.send(5000u).value() == 5000);
    t.skip();
    (void)t.until_sent();  // the probe
    t.skip();
    (void)t.until_sent();
    REQUIRE(t.info().timeouts == 1);
    t.skip();
    t.in(ack(at + (all ? 5000 : 2000)));
    CHECK(t.info().congestion_window <= 3000 + (all ? 2000 : 0));
    CHECK(t.info().slow_start_threshold == 7000);
  }
}

// covers: 5681-11
TEST_CASE("two segments leave once what a timeout sent again is acknowledged all at once") {
  for (const auto how : {congestion_algorithm::reno, congestion_algorithm::cubic})
    for (const auto* offer : {"<mss 1000>", "<mss 1000,sackOK>"})
      for (const std::uint32_t bytes : {1u, 300u, 1000u, 5000u}) {
        CAPTURE(offer);
        CAPTURE(bytes);
        host_options o;
        o.tcp.congestion = how;
        script t(o);
        t.establish(offer);
        CHECK(t.send(bytes).value() == bytes);
        t.skip();
        while (t.info().timeouts == 0) (void)t.until_sent(), t.skip();
        t.in(ack(1 + bytes));
        CHECK(t.send(20'000u).value() == 20'000);
        CHECK(data_sent(t) == std::vector<std::uint32_t>{1 + bytes, 1001 + bytes});
      }
}

// covers: 5682-1, 9438-10
TEST_CASE("a spurious timeout of all that was out is taken back by a timestamp or a D-SACK") {
  for (const bool sack : {false, true}) {
    CAPTURE(sack);
    script t;
    t.establish(sack ? "<mss 1012,sackOK,TS 100 0>" : "<mss 1012,TS 100 0>");
    CHECK(t.send(300u).value() == 300);
    const auto original = t.take();
    while (t.info().timeouts == 0) (void)t.until_sent(), t.skip();
    CHECK(t.info().congestion_window == 1000);
    t.in(". 1 ack 301" + stamps(101, original));
    CHECK(t.info().congestion_window == 10'000);
    CHECK(t.info().slow_start_threshold > 1u << 30);
  }
  for (const bool together : {false, true}) {
    CAPTURE(together);
    script t;
    t.establish("<mss 1000,sackOK>");
    CHECK(t.send(300u).value() == 300);
    t.skip();
    while (t.info().timeouts == 0) (void)t.until_sent(), t.skip();
    if (!together) t.in(ack(301));
    t.in(ack(301, {{1, 301}}));  // the repetition was one too many
    CHECK(t.info().congestion_window == 10'000);
    CHECK(t.info().slow_start_threshold > 1u << 30);
    CHECK(t.send(20'000u).value() == 20'000);
    CHECK(data_sent(t).size() == 10);
  }
}

// covers: 5682-1
TEST_CASE("the timestamp of the first acknowledgement tells a spurious timeout at once") {
  for (const bool spurious : {true, false}) {
    CAPTURE(spurious);
    script t;
    t.establish("<mss 1012,sackOK,TS 100 0>");
    CHECK(t.send(1000u).value() == 1000);
    auto s = t.take();
    t.after(100ms);
    t.in(". 1 ack 1001" + stamps(101, s));
    CHECK(t.send(10000u).value() == 10000);
    const auto window = t.info().congestion_window;
    const auto original = t.take();
    t.skip();
    (void)t.until_sent();  // the probe
    t.skip();
    (void)t.until_sent();
    const auto again = t.take();
    CHECK(t.info().timeouts == 1);
    t.after(10ms);
    t.in(". 1 ack 2001" + stamps(102, spurious ? original : again));
    if (spurious)
      CHECK(t.info().congestion_window >= window);
    else
      CHECK(t.info().congestion_window == 2000);
  }
}

// covers: 5682-1
TEST_CASE("a timeout out of recovery is not judged and stays a loss") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(40000u).value() == 40000);
  t.skip();
  t.after(100ms);
  t.in(ack(at, {{at + 1000, at + 4000}}));  // recovery
  t.skip();
  (void)t.until_sent(10s);
  while (t.info().timeouts == 0) (void)t.after(50ms);
  t.skip();
  t.in(ack(at + 5000));
  t.in(ack(at + 7000));
  CHECK(t.info().congestion_window < 7000);
}
