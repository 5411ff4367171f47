// What ICMP may do to a connection (RFC 9293 3.9.2.2, RFC 5461, RFC 5927), what the application
// learns of it, and the fields of IP that it may set (RFC 9293 3.9.1.9, 3.9.2).
#include <doctest/doctest.h>

#include "packet/icmp_quote.hpp"

using namespace weir;
using namespace weir::test;

namespace {

struct kind {
  std::uint8_t type, code;
  std::errc says;
};

tcp_options telling() {
  tcp_options o;
  o.report_soft_errors = true;
  return o;
}
host_options telling_host() {
  host_options o;
  o.tcp = telling();
  return o;
}

void deliver(script& t, std::span<const std::byte> packet) {
  t.in_raw(packet);
  t.flush();
}

}  // namespace

// covers: MUST-54, MUST-56, MUST-47, SHLD-25, icmp-2
TEST_CASE("soft_icmp_errors_are_remembered_and_told_but_never_abort") {
  const kind v4[] = {{3, 0, std::errc::network_unreachable}, {3, 1, std::errc::host_unreachable},
                     {3, 5, std::errc::host_unreachable},    {11, 0, std::errc::host_unreachable},
                     {11, 1, std::errc::host_unreachable},   {12, 0, std::errc::protocol_error}};
  const kind v6[] = {{1, 0, std::errc::network_unreachable}, {1, 3, std::errc::host_unreachable},
                     {3, 0, std::errc::host_unreachable},    {3, 1, std::errc::host_unreachable},
                     {4, 0, std::errc::protocol_error},      {4, 1, std::errc::protocol_error},
                     {4, 2, std::errc::protocol_error}};
  for (const bool six : {false, true}) {
    for (const auto& k : std::span<const kind>(six ? std::span<const kind>(v6) : v4)) {
      CAPTURE(six);
      CAPTURE(int{k.type});
      CAPTURE(int{k.code});
      script opening({}, six);
      opening.connect(telling());
      const auto syn = opening.take();
      deliver(opening, icmp_about(opening, syn, k.type, k.code, 0, 60));
      CHECK(opening.state() == tcp_state::syn_sent);
      CHECK(opening.h().soft_error(opening.socket) == k.says);
      CHECK(any(opening.events(), ready::warned));
      opening.in("S. 0 ack 1 <mss 1220>");
      CHECK(opening.state() == tcp_state::established);
      CHECK_FALSE(opening.h().soft_error(opening.socket));

      script open(telling_host(), six);
      open.establish();
      CHECK(open.send(10u).value() == 10);
      const auto data = open.take();
      deliver(open, icmp_about(open, data, k.type, k.code, 0, 60));
      CHECK(open.state() == tcp_state::established);
      CHECK(open.h().soft_error(open.socket) == k.says);
      CHECK(any(open.events(), ready::warned));
      open.in(". 1 ack 11");
      CHECK_FALSE(open.h().soft_error(open.socket));  // progress
    }
  }
}

// covers: SHLD-20
TEST_CASE("error_reports_are_off_unless_asked_for_and_can_be_switched_off") {
  script t;
  t.establish();
  CHECK(t.send(10u).value() == 10);
  const auto data = t.take();
  deliver(t, icmp_about(t, data, 3, 1, 0, 60));
  CHECK_FALSE(any(t.events(), ready::warned));
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, telling()));
  deliver(t, icmp_about(t, data, 3, 1, 0, 60));
  CHECK(any(t.events(), ready::warned));
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, {}));
  deliver(t, icmp_about(t, data, 3, 1, 0, 60));
  CHECK_FALSE(any(t.events(), ready::warned));
}

// covers: icmp-1, SHLD-26
TEST_CASE("hard_icmp_errors_abort_an_attempt_and_leave_a_connection_alone") {
  const kind v4[] = {{3, 2, std::errc::connection_refused}, {3, 3, std::errc::connection_refused}};
  const kind v6[] = {{1, 1, std::errc::host_unreachable}, {1, 4, std::errc::connection_refused}};
  for (const bool six : {false, true}) {
    for (const auto& k : std::span<const kind>(six ? std::span<const kind>(v6) : v4)) {
      CAPTURE(six);
      CAPTURE(int{k.code});
      script opening({}, six);
      opening.connect();
      const auto syn = opening.take();
      deliver(opening, icmp_about(opening, syn, k.type, k.code, 0, 60));
      CHECK(opening.state() == tcp_state::closed);
      CHECK(opening.error() == k.says);
      CHECK(any(opening.events(), ready::failed));

      script open(telling_host(), six);
      open.establish();
      CHECK(open.send(10u).value() == 10);
      const auto data = open.take();
      deliver(open, icmp_about(open, data, k.type, k.code, 0, 60));
      CHECK(open.state() == tcp_state::established);
      CHECK(open.h().soft_error(open.socket) == k.says);
      CHECK_FALSE(open.error());
      open.in(". 1 ack 11");
      CHECK(open.info().unacknowledged == 0);
    }
  }
}

// covers: icmp-2, MUST-22
TEST_CASE("attempt_that_times_out_reports_what_icmp_said") {
  script t;
  tcp_options o;
  o.syn_retries = 1;
  t.connect(o);
  deliver(t, icmp_about(t, t.take(), 3, 0, 0, 60));
  t.after(10s);
  CHECK(t.error() == std::errc::network_unreachable);
}

// covers: icmp-3, icmp-11
TEST_CASE("icmp_about_what_is_not_in_flight_or_not_ours_changes_nothing") {
  script t(telling_host());
  t.establish();
  CHECK(t.send(10u).value() == 10);
  auto about = t.take();
  t.in(". 1 ack 11");
  deliver(t, icmp_about(t, about, 3, 1, 0, 60));  // acknowledged since
  about.sequence += 10;
  deliver(t, icmp_about(t, about, 3, 1, 0, 60));  // SND.NXT: not sent yet
  about.sequence += 100'000;
  deliver(t, icmp_about(t, about, 3, 4, 600, 1500));
  CHECK(t.send(10u).value() == 10);
  about = t.take();
  about.destination_port = 9;  // another connection
  deliver(t, icmp_about(t, about, 3, 1, 0, 60));
  deliver(t, icmp_about(t, about, 3, 4, 600, 1500));
  CHECK_FALSE(any(t.events(), ready::warned));
  CHECK_FALSE(t.h().soft_error(t.socket));
  CHECK(t.info().path_mtu == 1500);
  CHECK(t.count(counter::packets_sent) == 3);  // the SYN-ACK and two segments: ICMP got no answer
  int connections = 0;
  t.h().for_each_connection([&](const tcp_info&) { ++connections; });
  CHECK(connections == 1);
}

// covers: MUST-55, icmp-5
TEST_CASE("source_quench_is_dropped_without_any_effect") {
  script t(telling_host());
  t.establish();
  CHECK(t.send(10u).value() == 10);
  const auto data = t.take();
  const auto window = t.info().congestion_window;
  deliver(t, icmp_about(t, data, 4, 0, 0, 60));
  t.quiet();
  CHECK(t.info().congestion_window == window);
  CHECK_FALSE(any(t.events(), ready::warned));
  CHECK(t.count(counter::drop_icmp_unknown) == 1);
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
  deliver(t, icmp_about(t, first, 3, 3));
  CHECK(t.h().error(first_socket) == std::errc::connection_refused);
  CHECK(t.h().info(t.socket)->state == tcp_state::syn_sent);
  CHECK_FALSE(t.h().error(t.socket));
}

// covers: b54
TEST_CASE("forged path MTU errors are ignored: another number, another port, a larger size") {
  script t;
  t.establish();
  CHECK(t.send(1460u).value() == 1460);
  const auto segment = t.take();
  const auto too_big = [&](wire::tcp_segment about, std::uint32_t sequence, std::uint32_t mtu) {
    about.sequence = sequence;
    deliver(t, icmp_about(t, about, 3, 4, mtu));
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

// covers: MUST-20, SHLD-9, SHLD-10
TEST_CASE("application_is_told_at_r1_and_the_connection_ends_at_r2") {
  host_options o = telling_host();
  o.tcp.retries = 5;
  o.tcp.probing = path_probing::off;
  script t(o);
  t.establish();
  CHECK(t.send(10u).value() == 10);
  t.skip();
  for (int i = 1; i <= 5; ++i) {
    (void)t.until_sent();
    t.out("P. 1:11 ack 1");
    const auto events = t.events();
    CHECK(any(events, ready::warned) == (i == 3));
    CHECK_FALSE(any(events, ready::failed));
    if (i >= 3) CHECK(t.h().soft_error(t.socket) == std::errc::timed_out);
  }
  t.after(60s);
  CHECK(any(t.events(), ready::failed));
  CHECK(t.error() == std::errc::timed_out);
}

// covers: MUST-21, SHLD-11
TEST_CASE("r2_can_be_set_per_connection_also_while_it_lives_and_is_over_100_s_by_default") {
  script t;
  t.establish();
  CHECK(t.send(10u).value() == 10);
  t.after(100s);
  CHECK(t.state() == tcp_state::established);
  tcp_options o;
  o.user_timeout = 101s;
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, o));
  t.after(120s);
  CHECK(t.error() == std::errc::timed_out);
  CHECK(t.now() < instant::from_ns(0) + 300s);
}

// covers: MUST-48, MUST-49, SHLD-21, SHLD-22
TEST_CASE("dscp_and_ttl_are_set_before_and_during_a_connection_and_reach_ip_unchanged") {
  script t;
  tcp_options o;
  o.traffic_class = 0xb8;  // expedited forwarding
  o.ttl = 7;
  t.connect(o);
  CHECK(t.last_ttl() == 7);
  CHECK(t.take().traffic_class == 0xb8);
  t.in("S. 0 ack 1 <mss 1460>");
  CHECK(t.last_ttl() == 7);
  CHECK(t.take().traffic_class == 0xb8);
  o.traffic_class = 0x28;
  o.ttl = 200;
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, o));
  CHECK(t.send(10u).value() == 10);
  CHECK(t.last_ttl() == 200);
  CHECK(t.take().traffic_class == 0x28);
  // Its two low bits belong to ECN.
  o.traffic_class = 0xff;
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, o));
  CHECK(t.send(10u).value() == 10);
  const auto s = t.take();
  CHECK(s.traffic_class == 0xfc);
  CHECK(s.ecn == 0);
}

// covers: MUST-48, MUST-49
TEST_CASE("dscp_and_ttl_of_a_listener_are_those_of_the_syn_ack_too") {
  host_options o;
  o.tcp.traffic_class = 0x48;
  o.tcp.ttl = 33;
  script t(o);
  t.listen();
  t.in("S 0 <mss 1460>");
  CHECK(t.last_ttl() == 33);
  CHECK(t.take().traffic_class == 0x48);
}

TEST_CASE("sent_is_raised_where_asked_for_when_everything_is_acknowledged") {
  host_options o;
  o.tcp.report_sent = true;
  script t(o);
  t.establish();
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  t.in(". 1 ack 1461");
  CHECK_FALSE(any(t.events(), ready::sent));
  t.in(". 1 ack 3001");
  CHECK(any(t.events(), ready::sent));
  t.in(". 1 ack 3001");
  CHECK_FALSE(any(t.events(), ready::sent));
}
