// Window scale, timestamps and PAWS (RFC 7323).
#include "packet/sending.hpp"

using namespace weir;
using namespace weir::test;

namespace {

std::string data(std::uint32_t from, std::uint32_t to, std::uint32_t value) {
  return "P. " + r(from, to) + " ack 1 <TS " + std::to_string(value) + " 0>";
}

/// A connection with timestamps whose quick acknowledgements have run out; the next number.
std::uint32_t delaying(script& t, std::uint32_t value) {
  t.establish("<mss 1460,TS 1000 0>");
  std::uint32_t at = 1;
  for (int i = 0; i < 20; ++i, at += 10) t.in(data(at, at + 10, value));
  t.after(50ms);
  t.skip();
  (void)t.read();
  return at;
}

}  // namespace

// covers: 7323-1
TEST_CASE("windows are scaled only if both SYNs say so") {
  script offered;
  offered.establish("<mss 1460,wscale 3>", 1000);
  CHECK(offered.info().send_window_shift == 3);
  CHECK(offered.info().receive_window_shift == 7);
  script absent;
  absent.listen();
  absent.in("S 0 <mss 1460>");
  absent.out("S. 0 ack 1 <mss 1460>");  // not offered: not in the answer
  absent.in(". 1 ack 1 win 1000");
  REQUIRE(absent.accept());
  CHECK(absent.info().send_window == 1000);
  CHECK(absent.info().receive_window_shift == 0);
  for (const bool answered : {true, false}) {
    CAPTURE(answered);
    script client;
    client.connect();
    CHECK(client.take().options.window_scale == 7);
    client.in(answered ? "S. 0 ack 1 <mss 1460,wscale 5>" : "S. 0 ack 1 <mss 1460>");
    client.skip();
    CHECK(client.info().send_window_shift == (answered ? 5 : 0));
    CHECK(client.info().receive_window_shift == (answered ? 7 : 0));
  }
}

// covers: 7323-2
TEST_CASE("a window scale on any other segment is ignored") {
  script t;
  t.establish("<mss 1460,wscale 3>", 1000);
  t.in("P. 1:2 ack 1 win 500 <wscale 9>");
  CHECK(t.info().send_window_shift == 3);
  CHECK(t.info().send_window == 500 << 3);
  script plain;
  plain.establish("<mss 1460>", 1000);
  plain.in("P. 1:2 ack 1 win 500 <wscale 9>");
  CHECK(plain.info().send_window == 500);
}

// covers: 7323-3, 7323-5
TEST_CASE("the window of a SYN is never scaled, every other one is") {
  script t;
  t.connect();
  const auto syn = t.take();
  CHECK(syn.window == 65535);
  t.in("S. 0 ack 1 win 4000 <mss 1460,wscale 4>");
  CHECK(t.info().send_window == 4000);
  auto s = t.take();
  CHECK((std::uint32_t{s.window} << 7) == t.info().receive_window);
  CHECK(s.window == 512);  // 65536 >> 7
  t.in(". 1 ack 1 win 4000");
  t.in("P. 1:2 ack 1 win 4000");
  CHECK(t.info().send_window == 4000 << 4);
  script l;
  l.listen();
  l.in("S 0 win 4000 <mss 1460,wscale 4>");
  const auto answer = l.take();
  CHECK(answer.window == 65535);
  l.in(". 1 ack 1 win 4000");
  REQUIRE(l.accept());
  CHECK(l.info().send_window == 4000 << 4);
}

// covers: 7323-4
TEST_CASE("a shift beyond fourteen counts as fourteen") {
  script t;
  t.establish("<mss 1460,wscale 200>", 1);
  t.in("P. 1:2 ack 1 win 3");
  CHECK(t.info().send_window_shift == 14);
  CHECK(t.info().send_window == 3 << 14);
  host_options o;
  o.tcp.receive_buffer = 0xffffffff;
  script large(o);
  large.listen();
  large.in("S 0 <mss 1460,wscale 0>");
  CHECK(large.take().options.window_scale == 14);
}

// covers: 7323-6
TEST_CASE("a window that seems to shrink by the scale's rounding is honoured and survived") {
  // The receiver: what was advertised is taken, to the last byte.
  host_options o;
  o.tcp.receive_buffer = 200'000;  // shift 2
  script t(o);
  t.establish("<mss 1460,wscale 0>");
  CHECK(t.info().receive_window_shift == 2);
  std::uint32_t at = 1, edge = 0;
  for (std::uint32_t n : {1u, 3u, 1460u, 7u, 1001u, 2u, 1459u, 5u}) {
    t.in("P. " + r(at, at + n) + " ack 1");
    at += n;
    t.after(50ms);
    while (t.sent() > 0) {
      const auto s = t.take();
      const auto right = s.acknowledgment - t.peer_isn + (std::uint32_t{s.window} << 2);
      CHECK(right >= edge);  // never left, whatever the rounding
      edge = right;
    }
  }
  t.in("P. " + r(edge - 1460, edge) + " ack 1");  // the last bytes of the largest window
  CHECK(t.info().out_of_order == 1460);
  // The sender: the first transmission lies within the latest window, which may be smaller.
  script u;
  u.establish("<mss 1000,wscale 3>", 1000);
  u.in("P. 1:2 ack 1 win 375");  // 3000 bytes
  CHECK(u.send(10000u).value() == 10000);
  CHECK(data_sent(u) == std::vector<std::uint32_t>{1, 1001, 2001});
  u.in(". 2 ack 1001 win 249");  // to 2993: the edge moved left by less than a unit
  u.quiet();
  u.in(". 2 ack 3001 win 375");
  CHECK(data_sent(u) == std::vector<std::uint32_t>{3001, 4001, 5001});
}

// covers: 7323-7
TEST_CASE("negotiated timestamps stand on every segment, resets included") {
  script t;
  t.establish("<mss 1460,sackOK,TS 1000 0>");
  const auto check = [&] {
    while (t.sent() > 0) {
      const auto s = t.take();
      CAPTURE(t.describe(s));
      REQUIRE(s.options.timestamps.has_value());
      CHECK(s.options.timestamps->echo == 1001);
    }
  };
  t.in(data(1, 11, 1001));
  check();
  CHECK(t.send(3000u).value() == 3000);
  check();
  (void)t.until_sent();
  check();
  t.in("S 5 <mss 1460>");  // a challenge
  check();
  t.in(data(101, 201, 1001));
  check();
  t.shutdown();
  check();
  t.h().abort(t.now(), t.socket);
  CHECK(t.sent() == 1);
  check();
}

TEST_CASE(
    "a peer that leaves the agreed timestamps out is served as Linux serves it, and counted") {
  script t;
  t.establish("<mss 1460,sackOK,TS 1000 0>");
  t.in("P. 1:11 ack 1");
  auto s = t.take();
  CHECK(s.acknowledgment - t.peer_isn == 11);
  CHECK(s.options.timestamps->echo == 1001);  // ours stay, and echo the last that came
  CHECK(t.read() == script::stream(0, 10));
  CHECK(t.send(10u).value() == 10);
  t.skip();
  t.after(100ms);
  t.in(". 11 ack 11");
  CHECK(t.info().unacknowledged == 0);
  CHECK(t.info().rtt == 100ms);
  t.in("P. 21:31 ack 11");  // beyond a gap, too
  t.out(". 11 ack 11 <sack 21:31 TS 0 1001>");
  t.in(". 11 ack 11");
  t.quiet();
  CHECK(t.count(counter::segments_without_timestamp) == 4);
  CHECK(t.count(counter::drop_tcp_paws) == 0);
  t.in(data(11, 21, 1002));  // back again, and judged again
  t.in("P. 31:41 ack 11 <TS 1001 0>");
  CHECK(t.count(counter::drop_tcp_paws) == 1);
  CHECK(t.read() == script::stream(10, 30));
  t.in("F. 31 ack 11");
  CHECK(t.state() == tcp_state::close_wait);
  CHECK(t.count(counter::segments_without_timestamp) == 5);
}

TEST_CASE("timestamps that are missing from the end of the handshake on hinder nothing") {
  for (const bool active : {false, true}) {
    CAPTURE(active);
    script t;
    if (active) {
      t.connect();
      CHECK(t.take().options.timestamps.has_value());
      t.in("S. 0 ack 1 <mss 1460,sackOK,TS 111 0>");
      CHECK(t.state() == tcp_state::established);
    } else {
      t.listen();
      t.in("S 0 <mss 1460,sackOK,TS 111 0,wscale 7>");
      CHECK(t.take().options.timestamps.has_value());
      t.in(". 1 ack 1");
      REQUIRE(t.accept());
    }
    t.skip();
    t.in("P. 1:6 ack 1");
    t.out(". 1 ack 6");
    CHECK(t.read() == script::stream(0, 5));
    // Nothing is told in two ways: without a stamp, old segments are known by their number alone.
    t.in("P. 1:6 ack 1");
    CHECK(t.count(counter::drop_tcp_old_duplicate) == 1);
    t.in("R 6 win 0");
    CHECK(t.error() == std::errc::connection_reset);
  }
}

// covers: 5961-6, 7323-11
TEST_CASE("a segment whose acknowledgement is refused leaves no timestamp behind") {
  // RFC 5961 5.2, RFC 7323 5.3: SND.NXT and SND.UNA are 1, the largest window 65535.
  const auto too_old = std::to_string(1u - 65536u);
  for (const auto& wrong :
       {std::string(". 501 ack 9999"), std::string("P. 501:511 ack 9999"),
        std::string("F. 501 ack 9999"), std::string("PF. 501:511 ack 9999"), ". 501 ack " + too_old,
        "F. 501 ack " + too_old, std::string("R. 502 ack 9999"), std::string("P 501:511")}) {
    CAPTURE(wrong);
    script t;
    t.establish("<mss 1460,TS 200 0>");
    t.in(data(1, 501, 210));
    t.skip();
    (void)t.read();
    t.skip();
    t.in(wrong + " <TS 200000 0>");
    if (wrong[0] != 'P' || wrong[1] != ' ') t.out(". 1 ack 501 <TS 0 210>");
    t.quiet();
    t.in(data(501, 511, 301));
    t.out(". 1 ack 511 <TS 0 301>");
    CHECK(t.read() == script::stream(500, 510));
    CHECK(t.count(counter::drop_tcp_paws) == 0);
    CHECK(t.state() == tcp_state::established);
  }
}

// covers: 7323-9
TEST_CASE("timestamps that were not negotiated are ignored and the segment is taken") {
  script t;
  t.establish("<mss 1460>");
  t.in("P. 1:11 ack 1 <TS 5 5>");
  t.out(". 1 ack 11 <>");
  t.in("P. 11:21 ack 1 <TS 1 1>");  // would be old
  CHECK_FALSE(t.take().options.timestamps.has_value());
  CHECK(t.read() == script::stream(0, 20));
}

// covers: 7323-10
TEST_CASE("an echo means something only beside an acknowledgement") {
  script t;
  t.connect();
  const auto syn = t.take();
  CHECK(syn.options.timestamps->echo == 0);
  t.after(50ms);
  // A SYN without ACK cannot echo: no sample is taken, whatever stands there.
  t.in("S 0 <mss 1460,TS 7 " + std::to_string(syn.options.timestamps->value - 5000) + ">");
  CHECK(t.info().rtt == 0ns);
  const auto answer = t.take();
  CHECK(answer.flags == (wire::syn | wire::ack));
  CHECK(answer.options.timestamps->echo == 7);
  // Nor does a segment without ACK in a connection.
  script u;
  u.establish("<mss 1460,TS 1000 0>");
  CHECK(u.send(10u).value() == 10);
  const auto s = u.take();
  u.after(100ms);
  u.in("P 1:11 <TS 1002 " + std::to_string(s.options.timestamps->value) + ">");
  CHECK(u.info().rtt == 0ns);
}

// covers: 7323-11
TEST_CASE("a delayed acknowledgement echoes the earliest segment that it covers") {
  script t;
  const auto at = delaying(t, 1001);
  t.arrive(data(at, at + 10, 2000));
  t.arrive(data(at + 10, at + 20, 2001));
  t.flush();
  t.after(50ms);
  t.out(". 1 ack " + std::to_string(at + 20) + " <TS 0 2000>");
}

// covers: 7323-11
TEST_CASE("beyond a gap the last segment in order is echoed, and what fills it is echoed then") {
  script t;
  const auto at = delaying(t, 1001);
  t.in(data(at + 100, at + 200, 3000));
  t.out(". 1 ack " + std::to_string(at) + " <TS 0 1001>");
  t.in(data(at + 200, at + 300, 3001));
  t.out(". 1 ack " + std::to_string(at) + " <TS 0 1001>");
  t.in(data(at, at + 100, 2990));  // sent before those, arrived after
  t.out(". 1 ack " + std::to_string(at + 300) + " <TS 0 2990>");
  t.in(data(at + 300, at + 400, 3002));
  t.after(50ms);
  t.out(". 1 ack " + std::to_string(at + 400) + " <TS 0 3002>");
}

// covers: 7323-12
TEST_CASE("old timestamps are dropped and acknowledged before the sequence number is looked at") {
  script t;
  t.establish("<mss 1460,TS 1000 0>");
  t.in(data(1, 11, 1005));
  t.skip();
  t.in(data(11, 21, 1004));  // in order, but old
  t.out(". 1 ack 11 <TS 0 1005>");
  t.in(data(100'000, 100'010, 1004));  // PAWS first: counted there and not as out of the window
  t.out(". 1 ack 11");
  CHECK(t.count(counter::drop_tcp_paws) == 2);
  CHECK(t.count(counter::drop_tcp_out_of_window) == 0);
  t.in(data(11, 21, 1005));  // equal is not old
  t.skip();
  CHECK(t.read() == script::stream(0, 20));
  // 2^31 beyond is before; the clock of the peer may wrap.
  t.in(data(21, 31, 1005u + 0x80000001u));
  CHECK(t.count(counter::drop_tcp_paws) == 3);
  script w;
  w.establish("<mss 1460,TS 4294967290 0>");
  w.in(data(1, 11, 3));
  CHECK(w.read() == script::stream(0, 10));
}

// covers: 7323-12
TEST_CASE("a timestamp that is 24 days old distrusts nobody") {
  for (const auto silence : {24h * 23, 24h * 25}) {
    script t;
    t.establish("<mss 1460,TS 1000 0>");
    t.after(silence);
    t.in(data(1, 11, 900));
    CHECK(t.read() == (silence > 24h * 24 ? script::stream(0, 10) : ""));
  }
}

// covers: 7323-13
TEST_CASE("a reset is never judged by its timestamp and leaves none behind") {
  script t;
  t.establish("<mss 1460,TS 1000 0>");
  t.in(data(1, 11, 1001));
  t.skip();
  t.in("R 12 win 0 <TS 9000 0>");  // in the window, not exact: challenged
  t.out(". 1 ack 11 <TS 0 1001>");
  t.in(data(11, 21, 1002));  // would be old if the reset's stamp had been kept
  CHECK(t.read() == script::stream(0, 20));
  t.in("R 21 win 0 <TS 5 0>");
  CHECK(t.error() == std::errc::connection_reset);
}

// covers: 7323-14
TEST_CASE("the clock of the timestamps ticks once a millisecond, across its wrap too") {
  script t;
  t.establish("<mss 1460,TS 1000 0>");
  const auto value = [&] {
    CHECK(t.send(1u).value() == 1);
    const auto out = t.take().options.timestamps->value;
    t.skip();
    return out;
  };
  auto last = value();
  for (const auto wait : {1ms, 10ms, 137ms}) {
    t.after(wait);
    t.skip();
    const auto now = value();
    CHECK(now - last == wait.count());
    last = now;
  }
  // 2^32 ms are 49 days: more than an MSL, and 2^31 bytes in a millisecond would be 17 Tbit/s.
  script idle;
  idle.establish("<mss 1460,TS 1000 0>");
  CHECK(idle.send(1u).value() == 1);
  const auto before = idle.take().options.timestamps->value;
  idle.in(". 1 ack 2 <TS 1002 " + std::to_string(before) + ">");
  idle.after(24h * 30);
  CHECK(idle.send(1u).value() == 1);
  CHECK(idle.take().options.timestamps->value - before == 30u * 24 * 3600 * 1000);
}

// covers: 7323-15
TEST_CASE("each connection's clock starts at an offset of its own that nobody can guess") {
  script t;
  t.listen();
  std::vector<std::uint32_t> seen;
  for (std::uint16_t p = 1; p <= 20; ++p) {
    t.peer_port = static_cast<std::uint16_t>(1000 + p);
    t.in("S 0 <mss 1460,TS 1000 0>");
    seen.push_back(t.take().options.timestamps->value);
  }
  std::sort(seen.begin(), seen.end());
  // All at the same instant: without offsets they would be equal; they lie far apart.
  std::uint32_t close = 0;
  for (std::size_t i = 1; i < seen.size(); ++i) close += seen[i] - seen[i - 1] < 100'000;
  CHECK(close == 0);
  CHECK(seen.back() - seen.front() > 1u << 30);
  // The same 4-tuple has the same offset, so that PAWS and RFC 6191 work across incarnations.
  script again;
  again.listen();
  again.peer_port = 1001;
  again.in("S 0 <mss 1460,TS 1000 0>");
  const auto first = again.take().options.timestamps->value;
  again.in("R 1 win 0");
  again.after(10s);
  again.in("S 0 <mss 1460,TS 1000 0>");
  CHECK(again.take().options.timestamps->value - first == 10'000);
}
