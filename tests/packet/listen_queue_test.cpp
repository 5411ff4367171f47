// Rows 1-19 of TCP.md's sixty: listening and accepting, as the wire and the application see them.
#include <doctest/doctest.h>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// One whole handshake from another peer port; the host's answers are skipped.
void handshake(script& t, std::uint16_t port) {
  t.peer_port = port;
  t.in("S 0 <mss 1460>");
  if (t.sent() == 0) return;
  (void)t.take();
  t.in(". 1 ack 1");
}

std::size_t accept_all(script& t) {
  std::size_t n = 0;
  while (t.accept()) ++n;
  return n;
}

}  // namespace

// covers: b1
TEST_CASE("listen_backlog_admits_exactly_its_count") {
  for (std::uint32_t backlog : {0u, 1u, 2u, 5u}) {
    CAPTURE(backlog);
    script t;
    t.listen(80, {.backlog = backlog});
    for (std::uint16_t p = 1; p <= 8; ++p) handshake(t, static_cast<std::uint16_t>(1000 + p));
    const auto info = *t.h().info_listener(t.listener);
    CHECK(info.accept_queue == backlog);
    CHECK(info.accept_queue_peak == backlog);
    CHECK(info.accept_overflows == 8 - backlog);
    CHECK(accept_all(t) == backlog);
  }
}

TEST_CASE("listen_deferred_accept_wakes_nobody_before_data_is_there") {
  script t;
  t.listen(80, {.defer_accept = std::chrono::seconds(3)});
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in(". 1 ack 1");
  CHECK_FALSE(t.accept());
  CHECK(t.h().info_listener(t.listener)->syn_queue == 1);
  t.after(1500ms);
  t.quiet();  // the handshake is done: nothing is repeated
  t.in("P. 1:11 ack 1");
  CHECK(t.h().info_listener(t.listener)->syn_queue == 0);
  CHECK(t.accept());
  CHECK(t.count(counter::accepts_deferred) == 1);
}

TEST_CASE("listen_deferred_accept_takes_the_wait_for_data_for_no_round_trip") {
  for (const bool together : {false, true}) {
    CAPTURE(together);
    script t;
    t.listen(80, {.defer_accept = std::chrono::seconds(5)});
    t.in("S 0 <mss 1460>");
    t.out("S. 0 ack 1");
    t.after(20ms);
    if (!together) {
      t.in(". 1 ack 1");
      t.after(3s);
    }
    t.in("P. 1:11 ack 1");
    REQUIRE(t.accept());
    CHECK(t.info().rtt == (together ? 20ms : 0ms));  // 0: not measured
    CHECK(t.info().rto <= 1s);
  }
}

TEST_CASE("listen_deferred_accept_gives_up_waiting_for_data") {
  script t;
  t.listen(80, {.defer_accept = std::chrono::seconds(3)});
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in(". 1 ack 1");
  t.after(2900ms);
  t.quiet();
  CHECK_FALSE(t.accept());
  t.after(200ms);
  t.out("S. 0 ack 1");  // asked again
  t.in(". 1 ack 1");    // and alive
  CHECK(t.accept());
  // One that ends without a word is a connection too: its end is what there is to read.
  t.peer_port = 2000;
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in("F. 1 ack 1");
  CHECK(t.accept());
}

// covers: b2
TEST_CASE("listen_syn_is_dropped_not_reset_when_the_accept_queue_is_full") {
  script t;
  t.listen(80, {.backlog = 1});
  handshake(t, 1001);
  t.peer_port = 1002;
  t.in("S 0 <mss 1460>");
  t.quiet();
  CHECK(t.count(counter::accept_queue_overflow) == 1);
  CHECK(t.accept());
  t.in("S 0 <mss 1460>");  // the client tries again, and there is room
  t.out("S. 0 ack 1");
}

// covers: b3
TEST_CASE("listen_final_ack_dropped_when_the_accept_queue_is_full_completes_later") {
  script t;
  t.listen(80, {.backlog = 1});
  t.peer_port = 1001;
  t.in("S 0 <mss 1460>");
  const auto first_isn = t.take().sequence;
  t.peer_port = 1002;
  t.in("S 0 <mss 1460>");
  (void)t.take();
  t.in(". 1 ack 1");  // 1002 takes the only place
  t.quiet();
  (void)first_isn;
  t.peer_port = 1001;
  // The second to finish finds the queue full: its ACK is dropped, its entry stays.
  t.after(900ms);
  t.skip();
  CHECK(t.h().info_listener(t.listener)->syn_queue == 1);
  CHECK(t.until_sent(2s) < 2s);  // the SYN-ACK comes again
  t.out("S. 0 ack 1");
  t.in(". 1 ack 1");
  t.quiet();
  CHECK(t.count(counter::accept_queue_overflow) == 1);
  CHECK(t.accept());
  t.in("P. 1:6 ack 1");  // the client, which believes to be connected, goes on
  CHECK(t.accept());
  CHECK(t.read() == script::stream(0, 5));
}

TEST_CASE("listen_overflow_reset_answers_the_final_ack_with_a_reset") {
  script t;
  t.listen(80, {.backlog = 1, .overflow = overflow_policy::reset});
  t.peer_port = 1001;
  t.in("S 0 <mss 1460>");
  (void)t.take();
  handshake(t, 1002);
  t.peer_port = 1001;
  t.after(900ms);
  t.skip();
  (void)t.until_sent(2s);
  t.out("S. 0 ack 1");
  t.in(". 1 ack 1");
  t.out("R 1");
  CHECK(t.h().info_listener(t.listener)->syn_queue == 0);
}

// covers: 4987-1
TEST_CASE("listen_syn_queue_full_drops_further_syns") {
  script t;
  t.listen(80, {.syn_backlog = 3});
  for (std::uint16_t p = 1; p <= 5; ++p) {
    t.peer_port = static_cast<std::uint16_t>(1000 + p);
    t.in("S 0 <mss 1460>");
  }
  const auto info = *t.h().info_listener(t.listener);
  CHECK(info.syn_queue == 3);
  CHECK(info.syn_overflows + info.cookies_sent >= 2);
  CHECK(t.h().memory_in_use() <= 3 * 128);
}

// covers: b4
TEST_CASE("listen_timed_out_half_open_entry_frees_its_slot") {
  script t;
  t.listen(80, {.syn_backlog = 1});
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  // The SYN-ACK comes again after 1, 2, 4, 8 and 16 s, and after 32 s more the entry goes.
  for (auto wait : {1s, 2s, 4s, 8s, 16s}) {
    const auto took = t.until_sent(100s);
    CHECK(took >= wait);
    CHECK(took < wait + 1ms);
    t.out("S. 0 ack 1");
  }
  t.after(31s);
  CHECK(t.h().info_listener(t.listener)->syn_queue == 1);
  t.after(2s);
  t.quiet();
  const auto info = *t.h().info_listener(t.listener);
  CHECK(info.syn_queue == 0);
  CHECK(info.syn_expired == 1);
  CHECK(t.h().memory_in_use() == 0);
}

// covers: MUST-11, 9293-E10, b5
TEST_CASE("listen_rst_in_syn_received_frees_its_slot") {
  script t;
  t.listen();
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in("R 2 win 0");  // in the window but not exact: ignored
  CHECK(t.h().info_listener(t.listener)->syn_queue == 1);
  t.in("R 1 win 0");
  t.quiet();
  CHECK(t.h().info_listener(t.listener)->syn_queue == 0);
}

// covers: b6
TEST_CASE("listen_close_resets_half_open_and_unaccepted_connections") {
  script t;
  t.listen();
  handshake(t, 1001);
  t.peer_port = 1002;
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.h().close(t.now(), t.listener);
  int resets = 0;
  while (t.sent() > 0) {
    const auto s = t.take();
    CHECK(s.has(wire::rst));
    CHECK((s.destination_port == 1001 || s.destination_port == 1002));
    ++resets;
  }
  CHECK(resets == 2);
  CHECK(t.h().memory_in_use() == 0);
  t.in("S 0 <mss 1460>");
  CHECK(t.take().has(wire::rst));
}

// covers: b10
TEST_CASE("listen_data_or_fin_on_the_third_ack_is_kept") {
  script t;
  t.listen();
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in("FP. 1:6 ack 1");
  t.out(". 1 ack 7");
  CHECK(t.accept());
  CHECK(any(t.events(), ready::readable));
  CHECK(t.read() == script::stream(0, 5));
  CHECK(t.h().at_end(t.socket));
}

// covers: b11
TEST_CASE("listen_duplicate_syn_sends_the_syn_ack_again") {
  script t;
  t.listen();
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in(". 1 ack 1");
  CHECK(t.accept());
  CHECK(t.h().info_listener(t.listener)->syn_queue == 0);
}

// covers: b21
TEST_CASE("listen_options_missing_from_a_retransmitted_syn_are_tolerated") {
  script t;
  t.listen();
  t.in("S 0 <mss 1460,sackOK,wscale 7>");
  t.out("S. 0 ack 1 <mss 1460,sackOK,wscale 7>");
  t.in("S 0");
  t.out("S. 0 ack 1 <mss 1460,sackOK,wscale 7>");
  t.in(". 1 ack 1 win 100");
  CHECK(t.accept());
  CHECK(t.info().send_window == 100 << 7);
}

// covers: 9293-E2, b12, b13
TEST_CASE("listen_syn_ack_and_bare_ack_are_answered_with_rst") {
  script t;
  t.listen();
  t.in("S. 0 ack 777");
  t.out("R 777");
  t.in(". 5 ack 888");
  t.out("R 888");
  t.in("FP. 5:7 ack 999");
  t.out("R 999");
}

// covers: 9293-E2, b14
TEST_CASE("listen_rst_is_never_answered") {
  script t;
  t.in("R 0 win 0");
  t.in("R. 0 ack 5");
  t.listen();
  t.in("R 0 win 0");
  t.in("R. 0 ack 5");
  t.in("SR 0");
  t.quiet();
}

// covers: 9293-E1
TEST_CASE("closed_port_answers_with_the_reset_of_rfc_9293") {
  script t;
  t.in("S 0 <mss 1460>");
  t.out("R. 0 ack 1");
  t.in("P. 1:11 ack 77");
  t.out("R 77");
  t.in("FP 5:15");
  t.out("R. 0 ack 16");
  CHECK(t.count(counter::drop_tcp_no_listener) == 3);
}

// covers: b15
TEST_CASE("listen_rst_for_another_connection_is_not_swallowed") {
  script t;
  t.listen();
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.peer_port = 41000;
  t.in("R 1 win 0");  // another port: the half-open entry stays
  t.peer_port = 40000;
  CHECK(t.h().info_listener(t.listener)->syn_queue == 1);
}

// covers: b15
TEST_CASE("a reset for a connection reaches it though a listener has its port, and no other one") {
  script t;
  t.establish();
  const auto first = t.socket;
  t.peer_port = 40001;
  t.establish();
  t.peer_port = 40002;
  t.in("S 0");  // half open
  t.out("S. 0 ack 1");
  t.peer_port = 40003;
  t.in("R 1 win 0");  // for nobody
  t.quiet();
  CHECK(t.h().info(first)->state == tcp_state::established);
  CHECK(t.state() == tcp_state::established);
  t.peer_port = 40001;
  t.in("R 1 win 0");
  t.quiet();
  CHECK(t.error() == std::errc::connection_reset);
  CHECK(t.h().info(first)->state == tcp_state::established);
  CHECK(t.h().info_listener(t.listener)->syn_queue == 1);
}

// covers: MUST-63, b16
TEST_CASE("listen_multicast_broadcast_and_unspecified_sources_are_ignored") {
  for (const char* source :
       {"224.0.0.5", "255.255.255.255", "10.0.0.255", "0.0.0.0", "127.0.0.1"}) {
    CAPTURE(source);
    script t;
    t.listen();
    t.them = *ip_address::parse(source);
    t.in("S 0 <mss 1460>");
    t.quiet();
    CHECK(t.h().info_listener(t.listener)->syn_queue == 0);
  }
}

// A segment without options of its own takes the short way through IP (wire/plain.hpp).
// covers: MUST-63, b16
TEST_CASE("listen_plain_segments_from_what_is_no_source_are_not_answered") {
  for (const char* source :
       {"224.0.0.5", "255.255.255.255", "10.0.0.255", "0.0.0.0", "127.0.0.1"}) {
    CAPTURE(source);
    script t;
    t.listen();
    t.in(". 1 ack 1");
    t.out("R 1 win 0");  // to a host that there can be
    t.them = *ip_address::parse(source);
    t.in(". 1 ack 1");
    t.quiet();
    CHECK(t.count(counter::drop_ip_bad_source) == 1);
  }
}

// covers: MUST-63, b16
TEST_CASE("listen_multicast_unspecified_and_loopback_sources_are_ignored_in_ipv6_too") {
  for (const char* source : {"ff02::1", "ff0e::5", "::", "::1"}) {
    CAPTURE(source);
    script t({}, true);
    t.listen();
    t.them = *ip_address::parse(source);
    t.in("S 0 <mss 1440>");
    t.quiet();
    CHECK(t.h().info_listener(t.listener)->syn_queue == 0);
  }
}

// covers: MUST-57
TEST_CASE("listen_syn_to_multicast_or_broadcast_is_silently_dropped") {
  for (const char* destination : {"224.0.0.1", "255.255.255.255", "10.0.0.255"}) {
    CAPTURE(destination);
    script t;
    t.listen();
    t.us = *ip_address::parse(destination);
    t.in("S 0 <mss 1460>");
    t.quiet();
  }
}

// covers: MUST-41, b18
TEST_CASE("listen_address_in_use_also_specific_against_wildcard") {
  script t;
  t.listen(80, {.owner_key = owner_key{1}});
  CHECK(t.h().listen({t.us, 80}, {}).error() == std::errc::address_in_use);
  CHECK(t.h().listen({t.us, 80}, {.owner_key = owner_key{2}}).error() == std::errc::address_in_use);
  CHECK(t.h()
            .listen({ip_address(), 80}, {.allow_wildcard = true, .owner_key = owner_key{2}})
            .error() == std::errc::address_in_use);
  CHECK(t.h().listen({t.us, 81}, {}));
  CHECK(t.h().listen({ip_address(), 82}, {.allow_wildcard = true}));
  CHECK(t.h().listen({t.us, 82}, {}).error() == std::errc::address_in_use);
  // One owner may have both, and the specific one is asked first.
  CHECK(t.h().listen({ip_address(), 80}, {.allow_wildcard = true, .owner_key = owner_key{1}}));
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  CHECK(t.h().info_listener(t.listener)->syn_queue == 1);
}

TEST_CASE("listen_wildcards_need_permission_and_foreign_addresses_are_refused") {
  script t;
  CHECK(t.h().listen({ip_address(), 80}, {}).error() == std::errc::permission_denied);
  CHECK(t.h().listen({ip_address::v6({}), 80}, {}).error() == std::errc::permission_denied);
  CHECK(t.h().listen(at("10.9.9.9", 80), {}).error() == std::errc::address_not_available);
  auto any_port = t.h().listen({t.us, 0}, {});
  REQUIRE(any_port);
  CHECK(t.h().local_endpoint(*any_port).port >= 1024);
}

TEST_CASE("listen_limits_of_the_host_are_reached_and_counted") {
  host_options o;
  o.limits.listeners = 2;
  o.limits.connections = 1;
  script t(o);
  t.listen(80);
  CHECK(t.h().listen({t.us, 81}, {}));
  CHECK(t.h().listen({t.us, 82}, {}).error() == std::errc::not_enough_memory);
  handshake(t, 1001);
  handshake(t, 1002);
  CHECK(t.count(counter::connections_refused_limit) == 1);
  CHECK(accept_all(t) == 1);
  CHECK(t.h().connect(t.now(), {t.them, 9}, {}, {}).error() == std::errc::not_enough_memory);
}

TEST_CASE("accept_order_is_the_order_of_completion") {
  script t;
  t.listen();
  std::vector<std::uint32_t> isns;
  for (std::uint16_t p : {1001, 1002, 1003}) {
    t.peer_port = p;
    t.in("S 0 <mss 1460>");
  }
  std::vector<wire::tcp_segment> answers{t.take(), t.take(), t.take()};
  CHECK(answers[0].destination_port == 1001);
  // The third completes; the host's number is the one seen last.
  t.peer_port = 1003;
  t.in(". 1 ack 1");
  REQUIRE(t.accept());
  CHECK(t.h().remote_endpoint(t.socket).port == 1003);
  CHECK(t.h().accept(t.listener).error() == std::errc::operation_would_block);
}

TEST_CASE("accept_event_comes_at_the_edge") {
  script t;
  t.listen();
  int mark = 0;
  t.h().set_user(t.listener, &mark);
  handshake(t, 1001);
  handshake(t, 1002);
  event e;
  REQUIRE(t.h().next_event(e));
  CHECK(e.socket == t.listener);
  CHECK(e.user == &mark);
  CHECK(e.what == ready::acceptable);
  CHECK_FALSE(t.h().next_event(e));
  CHECK(accept_all(t) == 2);
  while (t.h().next_event(e)) {
  }
  handshake(t, 1003);
  REQUIRE(t.h().next_event(e));
  CHECK(e.socket == t.listener);
}

TEST_CASE("listen_works_on_ipv6") {
  script t({}, true);
  t.listen();
  t.in("S 0 <mss 1440>");
  t.out("S. 0 ack 1 <mss 1440>");
  t.in(". 1 ack 1");
  CHECK(t.accept());
  t.in("P. 1:6 ack 1");
  CHECK(t.read() == script::stream(0, 5));
  CHECK(t.h().remote_endpoint(t.socket).address == t.them);
}

// --- SYN cookies (rows 7-9, RFC 4987).

// covers: b7
// covers: 4987-3, 4987-5
TEST_CASE("syn_cookie_round_trip_with_timestamps_keeps_window_scale_and_sack") {
  script t;
  t.listen(80, {.syn_backlog = 0});
  t.in("S 0 <mss 1400,sackOK,TS 500 0,wscale 9>");
  const auto answer = t.take();
  CHECK(answer.flags == (wire::syn | wire::ack));
  CHECK(answer.options.window_scale == 7);
  CHECK(answer.options.sack_permitted);
  CHECK(answer.options.timestamps->echo == 500);
  CHECK(t.h().memory_in_use() == 0);  // no state
  const auto ts = std::to_string(answer.options.timestamps->value);
  t.after(100ms);
  t.in(". 1 ack 1 win 100 <TS 600 " + ts + ">");
  t.quiet();
  REQUIRE(t.accept());
  CHECK(t.info().send_window == 100 << 9);
  CHECK(t.info().sack);
  CHECK(t.info().timestamps);
  CHECK(t.info().send_mss == 1360 - 12);  // the nearest that the cookie can say
  CHECK(t.send(10u).value() == 10);
  const auto data = t.take();
  // The clock does not run backwards for the peer's PAWS.
  CHECK(static_cast<std::int32_t>(data.options.timestamps->value -
                                  answer.options.timestamps->value) >= 0);
  CHECK(t.h().info_listener(t.listener)->cookies_sent == 1);
  CHECK(t.count(counter::syn_cookies_accepted) == 1);
}

TEST_CASE("syn_cookie_without_timestamps_keeps_the_mss_only") {
  script t;
  t.listen(80, {.syn_backlog = 0});
  t.in("S 0 <mss 1460,sackOK,wscale 9>");
  t.out("S. 0 ack 1 <mss 1460>");
  t.in(". 1 ack 1 win 100");
  REQUIRE(t.accept());
  CHECK(t.info().send_mss == 1460);
  CHECK(t.info().send_window == 100);
  CHECK_FALSE(t.info().sack);
}

// covers: b8
// covers: 4987-5
TEST_CASE("syn_cookie_expired_or_forged_is_refused") {
  for (const int how : {0, 1, 2, 3}) {
    CAPTURE(how);
    script t;
    t.listen(80, {.syn_backlog = 0});
    t.in("S 0 <mss 1460>");
    (void)t.take();
    if (how == 0) t.after(200s);                  // expired
    if (how == 1) t.peer_port = 40001;            // another flow
    if (how == 2) t.peer_isn += 1;                // another SYN
    t.in(how == 3 ? ". 1 ack 33" : ". 1 ack 1");  // another cookie
    CHECK(t.take().has(wire::rst));
    CHECK_FALSE(t.accept());
    CHECK(t.h().memory_in_use() == 0);
  }
}

TEST_CASE("syn_cookie_survives_into_the_next_period") {
  script t;
  t.listen(80, {.syn_backlog = 0});
  t.after(60s);
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.after(60s);
  t.in(". 1 ack 1");
  CHECK(t.accept());
}

// covers: b9
TEST_CASE("syn_cookie_late_ack_that_carries_data") {
  script t;
  t.listen(80, {.syn_backlog = 0});
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in("P. 1:11 ack 1");  // the bare ACK was lost
  t.out(". 1 ack 11");
  REQUIRE(t.accept());
  CHECK(t.read() == script::stream(0, 10));
}

TEST_CASE("syn_cookie_ack_with_a_full_accept_queue_is_dropped_and_tried_again") {
  script t;
  t.listen(80, {.backlog = 1, .syn_backlog = 0});
  t.peer_port = 1001;
  t.in("S 0 <mss 1460>");
  const auto first = t.take();
  (void)first;
  t.peer_port = 1002;
  t.in("S 0 <mss 1460>");
  (void)t.take();
  t.in(". 1 ack 1");
  t.in("P. 1:11 ack 1");
  t.skip();
  REQUIRE(t.accept());
  t.peer_port = 1003;
  t.in("S 0 <mss 1460>");
  (void)t.take();
  handshake(t, 1004);  // takes the place
  CHECK(t.h().info_listener(t.listener)->accept_queue == 1);
}

// covers: 4987-4, 4987-7
TEST_CASE("syn_cookies_only_under_pressure_and_legitimate_clients_connect_during_a_flood") {
  script t;
  t.listen(80, {.syn_backlog = 16});
  for (std::uint16_t p = 1; p <= 1000; ++p) {  // a flood from spoofed ports
    t.peer_port = static_cast<std::uint16_t>(10000 + p);
    t.in("S 0 <mss 1460>");
    t.skip();
  }
  CHECK(t.h().info_listener(t.listener)->syn_queue == 16);
  CHECK(t.h().info_listener(t.listener)->cookies_sent == 984);
  CHECK(t.h().memory_in_use() <= 16 * 128);
  for (std::uint16_t p = 1; p <= 50; ++p) handshake(t, static_cast<std::uint16_t>(20000 + p));
  CHECK(accept_all(t) == 50);
}

TEST_CASE("listen_time_spent_in_the_accept_queue_is_counted") {
  script t;
  t.listen(80, {.backlog = 8});
  handshake(t, 1001);
  t.after(30ms);
  handshake(t, 1002);
  t.after(20ms);
  CHECK(t.h().info_listener(t.listener)->accept_wait == 0ms);  // nobody has been accepted
  CHECK(accept_all(t) == 2);
  const auto info = *t.h().info_listener(t.listener);
  CHECK(info.accept_wait == 70ms);
  CHECK(info.accept_wait_longest == 50ms);
  handshake(t, 1003);
  CHECK(t.accept());  // at once
  CHECK(t.h().info_listener(t.listener)->accept_wait == 70ms);
}

TEST_CASE("listen_marks_the_fullest_its_syn_queue_was") {
  script t;
  t.listen(80, {.syn_backlog = 4});
  for (std::uint16_t p = 1001; p <= 1003; ++p) {
    t.peer_port = p;
    t.in("S 0 <mss 1460>");
    t.skip();
  }
  t.after(200s);  // given up
  const auto info = *t.h().info_listener(t.listener);
  CHECK(info.syn_queue == 0);
  CHECK(info.syn_queue_peak == 3);
  CHECK(info.syn_expired == 3);
  CHECK(t.h().half_open_entries() == 0);
}

TEST_CASE("visiting_connections_stops_at_the_bound_and_tells_their_number") {
  script t;
  t.listen(80, {.backlog = 8});
  for (std::uint16_t p = 1001; p <= 1005; ++p) handshake(t, p);
  std::size_t seen = 0;
  CHECK(t.h().visit_connections(2, [&](const tcp_info& info, void*) {
    ++seen;
    CHECK(info.receive_limit > 0);
    CHECK(info.send_limit > 0);
  }) == 5);
  CHECK(seen == 2);
  CHECK(t.h().visit_connections(0, [&](const tcp_info&, void*) { ++seen; }) == 5);
  CHECK(seen == 2);
}
