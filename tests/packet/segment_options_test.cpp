// The header and its options (RFC 9293 3.1, 3.2, 3.7.1): what is understood in which segment, what
// is skipped, what is offered, and what options cost the payload.
#include <doctest/doctest.h>

#include "packet/icmp_quote.hpp"
#include "packet/raw_packets.hpp"

using namespace weir;
using namespace weir::test;

namespace {

void arrives(script& t, const char* text, const octets& options) {
  t.in_raw(with_tcp_options(t.packet(text), options));
  t.flush();
}

/// The MSS that a connection sends with after a SYN with these options.
int send_mss_after(const octets& options) {
  script t;
  t.listen();
  arrives(t, "S 0", options);
  t.out("S. 0 ack 1");
  t.in(". 1 ack 1");
  REQUIRE(t.accept());
  return t.info().send_mss;
}

}  // namespace

// covers: MUST-1
TEST_CASE("window field is unsigned: 32768 and more is no negative number") {
  script t;
  t.establish("<mss 1460>", 32768);
  CHECK(t.info().send_window == 32768);
  t.in(". 1 ack 1 win 65535");
  CHECK(t.info().send_window == 65535);
  // And it is usable: a flight of more than 32767 bytes leaves before anything is acknowledged.
  t.peer_window = 65535;
  std::uint32_t at = 1;
  while (t.info().congestion_window < 60000) {
    const auto n = t.info().congestion_window;
    CHECK(t.send(n).value() == n);
    at += n;
    t.in(". 1 ack " + std::to_string(at));
  }
  t.skip();
  CHECK(t.send(60000u).value() == 60000);
  CHECK(t.info().unacknowledged == 60000);
}

// covers: REC-1
TEST_CASE("windows are kept in 32 bits: 65535 at a shift of 14 is nearly a gibibyte") {
  host_options o;
  o.tcp.receive_buffer = 1u << 30;
  script t(o);
  t.establish("<mss 1460,wscale 14>", 65535);
  CHECK(t.info().send_window == 65535u << 14);
  CHECK(t.info().receive_window_shift == 14);
  // The receive window too: it grows with a reader that keeps up, far beyond 64 KiB.
  std::uint32_t at = 1;
  for (int i = 0; i < 40 && t.info().receive_window < 1u << 20; ++i) {
    const auto segments = t.info().receive_window / 1460;
    for (std::uint32_t n = 0; n < segments; ++n, at += 1460)
      t.arrive("P. " + std::to_string(at) + ":" + std::to_string(at + 1460) + " ack 1");
    CHECK(t.read().size() == segments * 1460);
    t.flush();
    t.after(1ms);
  }
  CHECK(t.info().receive_window >= 1u << 20);
  std::uint32_t told = 0;
  while (t.sent() > 0) told = std::uint32_t{t.take().window} << 14;
  CHECK(told > 65535);
}

// covers: MUST-4, MUST-64
TEST_CASE("end of list, no-operation and MSS are understood in any arrangement") {
  CHECK(send_mss_after({2, 4, 1000 >> 8, 1000 & 255}) == 1000);
  CHECK(send_mss_after({1, 1, 1, 1, 2, 4, 1000 >> 8, 1000 & 255}) == 1000);
  CHECK(send_mss_after({1, 2, 4, 1000 >> 8, 1000 & 255, 1, 1, 1}) == 1000);  // at an odd offset
  CHECK(send_mss_after({2, 4, 1000 >> 8, 1000 & 255, 0, 0, 0, 0}) == 1000);
  CHECK(send_mss_after({1, 1, 1, 1}) == 536);
  CHECK(send_mss_after({0, 0, 0, 0}) == 536);
}

// covers: MUST-69
TEST_CASE("what follows the end of the list is padding and says nothing") {
  CHECK(send_mss_after({0, 2, 4, 1000 >> 8, 1000 & 255, 0, 0, 0}) == 536);
  CHECK(send_mss_after({2, 4, 1000 >> 8, 1000 & 255, 0, 2, 4, 200}) == 1000);
}

// covers: MUST-6, MUST-68
TEST_CASE("unknown options are skipped by their length whatever their bytes look like") {
  // Kind 222 carries what would be an end of list and an MSS of 200.
  CHECK(send_mss_after({222, 8, 0, 2, 4, 0, 200, 0, 2, 4, 1000 >> 8, 1000 & 255}) == 1000);
  CHECK(send_mss_after({222, 2, 2, 4, 1000 >> 8, 1000 & 255, 223, 2}) == 1000);
}

// covers: MUST-5, MUST-6
TEST_CASE("an option may come in any segment and does not hinder it") {
  const octets some = {1, 254, 5, 0xf9, 0x89, 1, 0, 0};  // an experiment (RFC 6994), then padding
  script t;
  t.establish();
  arrives(t, "P. 1:11 ack 1", some);
  t.out(". 1 ack 11");
  CHECK(t.read() == script::stream(0, 10));
  CHECK(t.send(5u).value() == 5);
  t.out("P. 1:6 ack 11");
  arrives(t, ". 11 ack 6", some);
  CHECK(t.info().unacknowledged == 0);
  arrives(t, "R 12 win 0", some);
  t.out(". 6 ack 11");  // a challenge: the reset was understood
  arrives(t, "F. 11 ack 6", some);
  t.out(". 6 ack 12");
  CHECK(t.state() == tcp_state::close_wait);
}

// covers: MUST-7, b26
TEST_CASE("malformed option lengths on an established connection harm neither it nor its data") {
  script t;
  t.establish();
  std::uint32_t at = 1;
  for (const octets& options : {octets{254, 0, 1, 1}, octets{254, 1, 1, 1}, octets{254, 200, 1, 1},
                                octets{1, 1, 1, 254}, octets{8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
                                octets{5, 3, 1, 1}, octets{5, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}}) {
    arrives(t, ("P. " + std::to_string(at) + ":" + std::to_string(at + 10) + " ack 1").c_str(),
            options);
    at += 10;
    t.out(". 1 ack " + std::to_string(at));
  }
  CHECK(t.read() == script::stream(0, at - 1));
}

// covers: MUST-65
TEST_CASE("MSS is on every SYN and on no other segment of a connection's life") {
  const auto check = [](script& t) {
    REQUIRE(t.sent() > 0);
    while (t.sent() > 0) {
      const auto segment = t.take();
      CHECK(segment.options.mss.has_value() == segment.has(wire::syn));
    }
  };
  for (const bool active : {false, true}) {
    CAPTURE(active);
    script t;
    if (active) {
      t.connect();
      check(t);
      (void)t.until_sent();  // the SYN again
      check(t);
      t.in("S. 0 ack 1 <mss 1460,sackOK>");
      check(t);
    } else {
      t.listen();
      t.in("S 0 <mss 1460,sackOK>");
      check(t);
      (void)t.until_sent();  // the SYN-ACK again
      check(t);
      t.in(". 1 ack 1");
      REQUIRE(t.accept());
    }
    CHECK(t.send(2000u).value() == 2000);
    check(t);
    (void)t.until_sent();  // a retransmission
    check(t);
    t.in("P. 11:21 ack 2001");  // out of order: SACK
    check(t);
    t.in("S 5 <mss 1460>");  // a challenge
    check(t);
    t.shutdown();
    check(t);
    t.in(". 1 ack 2002");
    t.in("R 5 win 0");
    t.skip();
    t.h().abort(t.now(), t.socket);
    check(t);
  }
}

// covers: MUST-14, MUST-67, SHLD-5
TEST_CASE("the MSS offered is the device's MTU less the headers, in both roles and families") {
  for (const bool v6 : {false, true})
    for (const std::uint16_t mtu : {1280, 1400, 1500, 9000}) {
      CAPTURE(v6);
      CAPTURE(mtu);
      const auto expected = mtu - (v6 ? 60 : 40);
      host_options o;
      o.mtu = mtu;
      script passive(o, v6);
      passive.listen();
      passive.in("S 0 <mss 20000>");
      CHECK(passive.take().options.mss == expected);
      passive.in(". 1 ack 1");
      REQUIRE(passive.accept());
      CHECK(passive.info().send_mss == expected);  // whatever the peer would take
      script active(o, v6);
      active.connect();
      CHECK(active.take().options.mss == expected);
    }
  host_options o;
  o.mtu = 576;
  o.addresses = {*ip_prefix::parse("10.0.0.1/24")};
  script small(o);
  small.connect();
  CHECK(small.take().options.mss == 536);  // sent all the same: MAY-3
}

// covers: SHLD-6
TEST_CASE("the MSS offered follows the smallest MTU that the path has shown") {
  script t;
  t.establish();
  CHECK(t.send(1460u).value() == 1460);
  const auto large = t.take();
  t.in_raw(icmp_about(t, large, 3, 4, 1000));
  t.flush();
  t.out(". 1:961 ack 1");
  t.out("P. 961:1461 ack 1");
  t.peer_port = 41000;
  t.in("S 0 <mss 1460>");
  CHECK(t.take().options.mss == 960);
}

// covers: MUST-16, b25
TEST_CASE("the effective MSS leaves room for the options that a segment carries, SACK blocks too") {
  script t;
  t.establish("<mss 1460,sackOK,TS 100 0>");
  const auto whole = [&] {
    const auto segment = t.take();
    return segment.payload.size() + wire::tcp_options_length(segment.options);
  };
  CHECK(t.send(1460u * 3).value() == 1460 * 3);
  CHECK(whole() == 1460);  // timestamps and 1448 bytes
  t.skip();
  // A gap before what arrived: from now on each segment reports it.
  for (std::uint32_t gaps = 1; gaps <= 4; ++gaps) {
    CAPTURE(gaps);
    t.in("P. " + std::to_string(gaps * 100) + ":" + std::to_string(gaps * 100 + 10) +
         " ack 1 <TS 101 0>");
    t.skip();
    CHECK(t.send(1460u).value() == 1460);
    CHECK(t.sent() >= 1);
    while (t.sent() > 0) CHECK(whole() <= 1460);
  }
}

// covers: MUST-16, SHLD-28, b25
TEST_CASE("segments_beside_sack_blocks_are_full_ones_and_no_crumbs") {
  script t;
  t.establish("<mss 1460,sackOK,TS 100 0>");
  t.in("P. 100:110 ack 1 <TS 101 0>");  // beyond a gap: each segment reports it
  t.skip();
  CHECK(t.send(60000u).value() == 60000);
  CHECK(t.sent() >= 9);
  while (t.sent() > 0) {
    const auto segment = t.take();
    CHECK(segment.options.sack_count == 1);
    CHECK(segment.payload.size() == 1460 - 12 - 12);
  }
}

// covers: MUST-50
TEST_CASE("IP options that TCP does not know are ignored") {
  script t;
  t.listen();
  // No-operations, an unknown one, record route with no room left, a timestamp.
  const octets lists[] = {{1, 1, 1, 0},
                          {0x9e, 4, 0xab, 0xcd},
                          {7, 7, 8, 10, 0, 0, 9, 0},
                          {68, 12, 13, 0, 1, 2, 3, 4, 5, 6, 7, 8}};
  t.in_raw(with_ip_options(t.packet("S 0"), lists[0]));
  t.flush();
  t.out("S. 0 ack 1");
  t.in_raw(with_ip_options(t.packet(". 1 ack 1"), lists[1]));
  t.flush();
  REQUIRE(t.accept());
  t.in_raw(with_ip_options(t.packet("P. 1:6 ack 1"), lists[2]));
  t.flush();
  t.out(". 1 ack 6");
  t.in_raw(with_ip_options(t.packet("FP. 6:11 ack 1"), lists[3]));
  t.flush();
  t.out(". 1 ack 12");
  CHECK(t.read() == script::stream(0, 10));
}
