// Explicit congestion notification (RFC 3168): negotiation, marks and their echo, the one reduction
// per window, and what must never be marked as capable.
#include <doctest/doctest.h>

#include "packet/script.hpp"
#include "stack/wire/checksum.hpp"

using namespace weir;
using namespace weir::test;

namespace {

host_options with_ecn(ecn_mode mode) {
  host_options o;
  o.tcp.ecn = mode;
  return o;
}

/// A passive connection on which ECN was agreed.
void establish_ecn(script& t, std::string_view options = "<mss 1460>") {
  if (t.listener == socket_id::none) t.listen();
  t.in("SEC 0 " + std::string(options));
  const auto answer = t.take();
  REQUIRE(answer.flags == (wire::syn | wire::ack | wire::ece));
  t.in(". 1 ack 1");
  t.quiet();
  REQUIRE(t.accept());
  REQUIRE(t.info().ecn);
}

std::uint32_t segments(const script& t) { return t.info().congestion_window / 1460; }

}  // namespace

// covers: 3168-1, SHLD-8
TEST_CASE("ecn_setup_syn_is_answered_with_ece_alone") {
  script t;
  t.listen();
  t.in("SEC 0 <mss 1460>");
  t.out("SE. 0 ack 1");
  t.in(". 1 ack 1");
  REQUIRE(t.accept());
  CHECK(t.info().ecn);
  CHECK(t.count(counter::ecn_connections) == 1);
}

// covers: 3168-1
TEST_CASE("ecn_is_not_offered_to_who_did_not_ask_and_not_where_it_is_off") {
  for (const char* syn : {"S 0 <mss 1460>", "SE 0 <mss 1460>", "SC 0 <mss 1460>"}) {
    CAPTURE(syn);
    script t;
    t.listen();
    t.in(syn);
    t.out("S. 0 ack 1");
    t.in(". 1 ack 1");
    REQUIRE(t.accept());
    CHECK_FALSE(t.info().ecn);
  }
  script off(with_ecn(ecn_mode::off));
  off.listen();
  off.in("SEC 0 <mss 1460>");
  off.out("S. 0 ack 1");
}

// covers: 3168-1
TEST_CASE("ecn_is_asked_for_by_an_active_open_only_when_told_to") {
  script quiet_one;
  quiet_one.connect();
  quiet_one.out("S 0");

  script t;
  tcp_options o;
  o.ecn = ecn_mode::request;
  t.connect(o);
  const auto syn = t.take();
  CHECK(syn.flags == (wire::syn | wire::ece | wire::cwr));
  CHECK(syn.ecn == 0);
  t.in("SE. 0 ack 1 <mss 1460>");
  t.out(". 1 ack 1");
  CHECK(t.info().ecn);
  CHECK(t.send(10u).value() == 10);
  t.out("P. 1:11 ack 1 ect0");
}

// covers: 3168-9
TEST_CASE("ecn_syn_that_is_lost_is_repeated_without_asking") {
  script t;
  tcp_options o;
  o.ecn = ecn_mode::request;
  t.connect(o);
  t.out("SEC 0");
  CHECK(t.until_sent() >= 1s);
  t.out("S 0");
  t.in("S. 0 ack 1 <mss 1460>");
  t.out(". 1 ack 1");
  CHECK_FALSE(t.info().ecn);
  CHECK(t.send(10u).value() == 10);
  CHECK(t.take().ecn == 0);
}

// covers: 3168-9, 3168-3
TEST_CASE("ecn_answer_to_the_first_syn_after_the_second_makes_nothing_capable") {
  // The first SYN's answer comes late: marks are echoed, but a sender that once did not ask marks
  // nothing.
  script t;
  tcp_options o;
  o.ecn = ecn_mode::request;
  t.connect(o);
  t.out("SEC 0");
  (void)t.until_sent();
  t.out("S 0");
  t.in("SE. 0 ack 1 <mss 1460>");
  t.out(". 1 ack 1");
  CHECK(t.send(10u).value() == 10);
  CHECK(t.take().ecn == 0);
}

// covers: 3168-9
TEST_CASE("ecn_reflected_flags_are_no_agreement") {
  script t;
  tcp_options o;
  o.ecn = ecn_mode::request;
  t.connect(o);
  t.out("SEC 0");
  t.in("SEC. 0 ack 1 <mss 1460>");
  t.out(". 1 ack 1");
  CHECK_FALSE(t.info().ecn);
}

// covers: 3168-9, 3168-1
TEST_CASE("ecn_syn_repeated_without_asking_gets_a_plain_syn_ack") {
  script t;
  t.listen();
  t.in("SEC 0 <mss 1460>");
  t.out("SE. 0 ack 1");
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in(". 1 ack 1");
  REQUIRE(t.accept());
  CHECK_FALSE(t.info().ecn);
}

// covers: 3168-1
TEST_CASE("ecn_simultaneous_open_agrees_when_both_asked") {
  script t;
  tcp_options o;
  o.ecn = ecn_mode::request;
  t.connect(o);
  t.out("SEC 0");
  t.in("SEC 0 <mss 1460>");
  t.out("SE. 0 ack 1");
  t.in(". 1 ack 1");
  CHECK(t.info().ecn);
}

// covers: 3168-1
TEST_CASE("ecn_travels_in_the_timestamp_of_a_syn_cookie_and_is_not_promised_without_one") {
  script t;
  t.listen(80, {.backlog = 8, .syn_backlog = 0});
  t.in("SEC 0 <mss 1460 TS 100 0>");
  const auto answer = t.take();
  CHECK(answer.flags == (wire::syn | wire::ack | wire::ece));
  t.in(". 1 ack 1 <TS 101 " + std::to_string(answer.options.timestamps->value) + ">");
  REQUIRE(t.accept());
  CHECK(t.info().ecn);
  CHECK(t.count(counter::syn_cookies_accepted) == 1);

  t.peer_port = 40001;
  t.in("S 0 <mss 1460 TS 100 0>");
  const auto plain = t.take();
  CHECK(plain.flags == (wire::syn | wire::ack));
  t.in(". 1 ack 1 <TS 101 " + std::to_string(plain.options.timestamps->value) + ">");
  REQUIRE(t.accept());
  CHECK_FALSE(t.info().ecn);

  t.peer_port = 40002;
  t.in("SEC 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in(". 1 ack 1");
  REQUIRE(t.accept());
  CHECK_FALSE(t.info().ecn);
}

// covers: 3168-2, 3168-3
TEST_CASE("ecn_marks_new_data_as_capable_and_nothing_else") {
  script t;
  t.listen();
  t.in("SEC 0 <mss 1460>");
  CHECK(t.take().ecn == 0);  // the SYN-ACK
  t.in(". 1 ack 1");
  REQUIRE(t.accept());
  t.in("P. 1:11 ack 1");
  CHECK(t.take().ecn == 0);  // a pure ACK
  CHECK(t.send(100u).value() == 100);
  t.out("P. 1:101 ack 11 ect0");
  (void)t.until_sent();
  const auto again = t.take();
  CHECK(again.sequence_length() == 100);
  CHECK(again.ecn == 0);  // a retransmission
  t.in(". 11 ack 101 win 0");
  CHECK(t.send(100u).value() == 100);
  (void)t.until_sent();
  CHECK(t.take().ecn == 0);  // a window probe
  t.in(". 11 ack 101 win 20");
  (void)t.until_sent();
  const auto probe = t.take();
  CHECK(probe.payload.size() == 20);
  CHECK(probe.ecn == 0);  // a probe that carries what fits
}

// covers: 3168-3
TEST_CASE("ecn_not_agreed_marks_nothing_and_echoes_nothing") {
  script t;
  t.establish();
  CHECK(t.send(10u).value() == 10);
  CHECK(t.take().ecn == 0);
  t.in("P. 1:11 ack 11 ce");
  t.out(". 11 ack 11");
  t.in("E. 11 ack 11");
  CHECK(segments(t) >= 10);
}

// covers: 3168-4
TEST_CASE("ecn_a_mark_is_echoed_on_every_acknowledgement_until_cwr") {
  script t;
  establish_ecn(t);
  t.in("P. 1:11 ack 1 ce");
  t.out("E. 1 ack 11");
  t.in("P. 11:21 ack 1 ect0");
  t.out("E. 1 ack 21");
  // Data carries it too, and its retransmission.
  CHECK(t.send(10u).value() == 10);
  t.out("PE. 1:11 ack 21");
  t.in("CP. 21:31 ack 11 ect0");
  t.out(". 11 ack 31");
  // CWR on a segment that is marked itself: the echo begins anew.
  t.in("P. 31:41 ack 11 ce");
  t.out("E. 11 ack 41");
  t.in("CP. 41:51 ack 11 ce");
  t.out("E. 11 ack 51");
  CHECK(t.count(counter::ecn_marks_received) == 3);
}

// covers: 3168-7
TEST_CASE("ecn_marks_outside_the_window_are_ignored") {
  script t;
  establish_ecn(t);
  t.in("P. 1:11 ack 1 ect0");
  t.out(". 1 ack 11");
  t.in("P. 1:11 ack 1 ce");  // old
  t.out(". 1 ack 11");
  t.in("P. 900000:900010 ack 1 ce");  // far beyond
  t.out(". 1 ack 11");
  t.in(". 11 ack 1 ce");  // a pure ACK cannot have been capable
  CHECK(t.count(counter::ecn_marks_received) == 0);
}

// covers: 3168-5, 3168-6
TEST_CASE("ecn_echo_reduces_once_per_window_and_cwr_rides_on_the_next_new_data") {
  script t;
  establish_ecn(t);
  CHECK(t.send(100'000u).value() == 100'000);
  for (int i = 0; i < 10; ++i) CHECK_FALSE(t.take().has(wire::cwr));
  t.quiet();
  t.in("E. 1 ack 1461");
  CHECK(t.count(counter::ecn_reductions) == 1);
  bool cwr = false;
  int with_cwr = 0;
  // The rest of the window, every ACK with the echo: no second reduction, no growth.
  for (std::uint32_t i = 2; i <= 10; ++i) {
    t.in("E. 1 ack " + std::to_string(1 + i * 1460));
    while (t.sent() > 0) {
      const auto s = t.take();
      if (s.has(wire::cwr)) {
        ++with_cwr;
        CHECK_FALSE(cwr);
        CHECK(s.ecn == 2);
      }
      cwr = cwr || s.has(wire::cwr);
    }
  }
  CHECK(with_cwr == 1);
  CHECK(t.count(counter::ecn_reductions) == 1);
  CHECK(segments(t) == 7);  // CUBIC: seven tenths
  CHECK(t.info().retransmissions == 0);
  CHECK(t.info().fast_retransmits == 0);
}

// covers: 3168-5
TEST_CASE("ecn_echo_in_the_next_window_reduces_again") {
  host_options o;
  o.tcp.congestion = congestion_algorithm::reno;
  script t(o);
  establish_ecn(t);
  CHECK(t.send(200'000u).value() == 200'000);
  t.skip();
  t.in("E. 1 ack 14601");
  t.skip();
  CHECK(segments(t) == 5);
  t.in(". 1 ack 16061");
  t.skip();
  t.in("E. 1 ack 17521");
  CHECK(t.count(counter::ecn_reductions) == 2);
  CHECK(segments(t) == 2);
}

// covers: 3168-5, 5681-19
TEST_CASE("ecn_echo_and_loss_in_one_window_reduce_once") {
  script t;
  establish_ecn(t, "<mss 1460 sackOK>");
  CHECK(t.send(100'000u).value() == 100'000);
  t.skip();
  t.in("E. 1 ack 1461");
  t.in("E. 1 ack 1461 <sack 2921:7301>");
  t.out(". 1461:2921 ack 1");
  CHECK(t.info().fast_retransmits == 1);
  CHECK(t.info().slow_start_threshold / 1460 == 7);  // of ten, once
}

// covers: 3168-6
TEST_CASE("ecn_cwr_follows_a_loss_too_and_is_not_on_the_retransmission") {
  script t;
  establish_ecn(t, "<mss 1460 sackOK>");
  CHECK(t.send(100'000u).value() == 100'000);
  t.skip();
  t.in(". 1 ack 1 <sack 1461:7301>");
  const auto again = t.take();
  CHECK(again.sequence_length() == 1460);
  CHECK_FALSE(again.has(wire::cwr));
  CHECK(again.ecn == 0);
  t.in(". 1 ack 14601");
  // New data may have left in the same burst as the retransmission; its first segment says it.
  int with_cwr = 0;
  REQUIRE(t.sent() > 0);
  for (bool first = true; t.sent() > 0; first = false) {
    const auto fresh = t.take();
    CHECK(fresh.has(wire::cwr) == first);
    if (fresh.has(wire::cwr)) ++with_cwr;
    CHECK(fresh.ecn == 2);
  }
  CHECK(with_cwr == 1);
}

// covers: 3168-5, 9438-7
TEST_CASE("ecn_keeps_reducing_to_one_segment_and_then_waits_for_a_timeout") {
  script t;
  establish_ecn(t);
  CHECK(t.send(200'000u).value() == 200'000);
  t.skip();
  std::uint32_t acked = 1 + 10 * 1460;
  std::uint32_t window = 0;
  for (int round = 0; round < 12 && window != 1460; ++round) {
    t.in("E. 1 ack " + std::to_string(acked));
    while (t.sent() > 0) acked += t.take().sequence_length();
    window = t.info().congestion_window;
  }
  CHECK(window == 1460);
  // One segment is out; its echo cannot shrink the window, so the next one waits a whole timeout.
  t.in("E. 1 ack " + std::to_string(acked));
  t.quiet();
  CHECK(t.until_sent(10s) >= 190ms);
  CHECK(t.take().sequence_length() == 1460);
  CHECK(t.info().timeouts == 0);
  CHECK(t.info().retransmissions == 0);
}

// covers: 3168-8
TEST_CASE("ecn_mark_on_one_fragment_marks_the_segment_and_a_fragment_not_capable_spoils_it") {
  for (const bool mixed : {false, true}) {
    CAPTURE(mixed);
    script t;
    establish_ecn(t);
    const auto whole = t.packet("P. 1:201 ack 1 ect0");
    const auto piece = [&](std::size_t begin, std::size_t end, bool more, std::uint8_t ecn) {
      std::vector<std::byte> p(20 + end - begin);
      wire::ipv4_fields ip;
      ip.source = t.them;
      ip.destination = t.us;
      ip.protocol = wire::tcp_protocol;
      ip.identification = 7;
      ip.dont_fragment = false;
      ip.more_fragments = more;
      ip.fragment_offset = static_cast<std::uint16_t>(begin);
      ip.traffic_class = ecn;
      ip.total_length = static_cast<std::uint16_t>(p.size());
      wire::emit_ipv4(p.data(), ip);
      std::copy(whole.begin() + 20 + static_cast<std::ptrdiff_t>(begin),
                whole.begin() + 20 + static_cast<std::ptrdiff_t>(end), p.begin() + 20);
      return p;
    };
    // The script's packets have no checksum of their own: a real one is needed here.
    auto first = piece(0, 104, true, mixed ? 0 : 2);
    auto second = piece(104, whole.size() - 20, false, 3);
    wire::internet_sum sum;
    sum.add_pseudo(t.them, t.us, wire::tcp_protocol, static_cast<std::uint32_t>(whole.size() - 20));
    sum.add(std::span(whole).subspan(20));
    const auto checksum = sum.checksum();
    first[20 + 16] = static_cast<std::byte>(checksum >> 8);
    first[20 + 17] = static_cast<std::byte>(checksum & 0xff);
    t.in_raw(first);
    t.in_raw(second);
    t.flush();
    if (mixed) {
      t.quiet();
      CHECK(t.count(counter::drop_fragment_malformed) == 1);
    } else {
      t.out("E. 1 ack 201");
    }
  }
}

// covers: 3168-2
TEST_CASE("ecn_no_kind_of_retransmission_is_marked_as_capable") {
  for (const std::string kind : {"fast", "probe", "timeout"}) {
    CAPTURE(kind);
    script t;
    t.listen();
    t.in("SEC 0 <mss 1000,sackOK>");
    CHECK(t.take().ecn == 0);
    t.in(". 1 ack 1");
    REQUIRE(t.accept());
    CHECK(t.send(8000u).value() == 8000);
    for (int i = 0; i < 8; ++i) CHECK(t.take().ecn == 2);
    if (kind == "fast") {
      t.in(". 1 ack 1 <sack 1001:5001>");
    } else {
      (void)t.until_sent();
      if (kind == "timeout") {
        t.skip();
        (void)t.until_sent();
        REQUIRE(t.info().timeouts == 1);
      }
    }
    REQUIRE(t.sent() > 0);
    while (t.sent() > 0) {
      const auto s = t.take();
      CHECK(t.place(s) < 8001);
      CHECK(s.ecn == 0);
      CHECK_FALSE(s.has(wire::cwr));
    }
    CHECK(t.info().retransmissions > 0);
    // New data beside it is.
    t.in(". 1 ack 8001");
    CHECK(t.send(1000u).value() == 1000);
    CHECK(t.take().ecn == 2);
  }
}

// covers: 3168-5
TEST_CASE("ecn_reduction_counts_what_duplicates_told_of_once") {
  // Without SACK each duplicate says that a segment has arrived; the acknowledgement that follows
  // names the same segments. Too few duplicates for a loss: the network only changed their order.
  for (const int duplicates : {0, 1, 2}) {
    CAPTURE(duplicates);
    host_options o;
    o.tcp.congestion = congestion_algorithm::reno;
    script t(o);
    establish_ecn(t, "<mss 1000>");
    CHECK(t.send(10'000u).value() == 10'000);
    t.in("E. 1 ack 1001");
    REQUIRE(t.count(counter::ecn_reductions) == 1);
    for (int i = 0; i < duplicates; ++i) t.in(". 1 ack 1001");
    t.in(". 1 ack 4001");
    CHECK(t.info().congestion_window == 6000 + 3000 / 2);  // for two that arrive, one leaves
    t.in(". 1 ack 7001");
    CHECK(t.info().congestion_window == 5000);
    CHECK(t.info().fast_retransmits == 0);
  }
}
