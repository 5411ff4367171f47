// ICMP errors about TCP's segments (RFC 9293 3.9.2.2, RFC 5927, RFC 6633): which connection they
// reach, which end an attempt to connect, and that none ends a connection.
#include <doctest/doctest.h>

#include "packet/raw_packets.hpp"

using namespace weir;
using namespace weir::test;

namespace {

struct error_code_of {
  bool v6;
  std::uint8_t type, code;
};

// RFC 9293 MUST-56: these say that something is wrong for now.
constexpr error_code_of soft_errors[] = {
    {false, 3, 0},  {false, 3, 1},  {false, 3, 5},  {false, 11, 0}, {false, 11, 1},
    {false, 12, 0}, {false, 12, 1}, {false, 12, 2}, {true, 1, 0},   {true, 1, 3},
    {true, 3, 0},   {true, 3, 1},   {true, 4, 0},   {true, 4, 1},   {true, 4, 2}};
// SHLD-26, and RFC 5927 4 for IPv6: these end an attempt.
constexpr error_code_of hard_errors[] = {{false, 3, 2}, {false, 3, 3}, {true, 1, 1}, {true, 1, 4}};

void tell(script& t, const wire::tcp_segment& about, const error_code_of& e) {
  t.in_raw(icmp_about(t, about, about.sequence, e.type, e.code));
  t.flush();
}

}  // namespace

// covers: MUST-56
TEST_CASE("soft errors end neither an attempt to connect nor a connection") {
  for (const auto& e : soft_errors) {
    CAPTURE(e.v6);
    CAPTURE(e.type);
    CAPTURE(e.code);
    script opening({}, e.v6);
    opening.connect();
    const auto syn = opening.take();
    tell(opening, syn, e);
    CHECK(opening.count(counter::icmp_errors_received) == 1);
    CHECK(opening.state() == tcp_state::syn_sent);
    opening.in("S. 0 ack 1");
    opening.out(". 1 ack 1");
    CHECK(opening.state() == tcp_state::established);

    script open({}, e.v6);
    open.establish();
    CHECK(open.send(100u).value() == 100);
    tell(open, open.take(), e);
    CHECK(open.state() == tcp_state::established);
    open.quiet();
    open.in(". 1 ack 101");
    CHECK(open.info().unacknowledged == 0);
  }
}

// covers: SHLD-26, MUST-54
TEST_CASE("hard errors end an attempt to connect but no connection") {
  for (const auto& e : hard_errors) {
    CAPTURE(e.v6);
    CAPTURE(e.type);
    CAPTURE(e.code);
    script opening({}, e.v6);
    opening.connect();
    const auto syn = opening.take();
    tell(opening, syn, e);
    opening.quiet();
    CHECK(any(opening.events(), ready::failed));
    CHECK(opening.state() == tcp_state::closed);
    CHECK(opening.error());

    // RFC 5927 4.2: in synchronized states they are treated as soft.
    script open({}, e.v6);
    open.establish();
    CHECK(open.send(100u).value() == 100);
    tell(open, open.take(), e);
    CHECK(open.state() == tcp_state::established);
    CHECK_FALSE(open.error());
  }
}

// covers: MUST-54
TEST_CASE("an ICMP error reaches the connection that it quotes and no other") {
  script t;
  t.connect();
  const auto first = t.take();
  const auto first_socket = t.socket;
  t.connect();
  const auto second = t.take();
  REQUIRE(first.source_port != second.source_port);
  tell(t, first, {false, 3, 3});
  CHECK(t.h().error(first_socket) == std::errc::connection_refused);
  CHECK(t.h().info(t.socket)->state == tcp_state::syn_sent);
  CHECK_FALSE(t.h().error(t.socket));
}

// covers: MUST-55
TEST_CASE("source quench is dropped without any effect") {
  script t;
  t.establish();
  CHECK(t.send(5000u).value() == 5000);
  const auto window = t.info().congestion_window;
  const auto segment = t.take();
  t.skip();
  tell(t, segment, {false, 4, 0});
  t.quiet();
  CHECK(t.info().congestion_window == window);
  CHECK(t.count(counter::drop_icmp_unknown) == 1);
  CHECK(t.state() == tcp_state::established);
}

// covers: b54
TEST_CASE("forged path MTU errors are ignored: another number, another port, a larger size") {
  script t;
  t.establish();
  CHECK(t.send(1460u).value() == 1460);
  const auto segment = t.take();
  const auto too_big = [&](wire::tcp_segment about, std::uint32_t sequence, std::uint32_t mtu) {
    t.in_raw(icmp_about(t, about, sequence, 3, 4, mtu));
    t.flush();
  };
  too_big(segment, segment.sequence - 1, 1000);
  too_big(segment, segment.sequence + 1460, 1000);
  auto other = segment;
  ++other.source_port;
  too_big(other, segment.sequence, 1000);
  too_big(segment, segment.sequence, 9000);
  t.quiet();
  CHECK(t.info().send_mss == 1460);
  too_big(segment, segment.sequence, 1000);
  t.out(". 1:961 ack 1");
  t.out("P. 961:1461 ack 1");
  CHECK(t.info().send_mss == 960);
}
