// Losses: timeouts, duplicates, SACK, tail probes, reordering (TCP.md rows 46-51; RFC 6298, 6582,
// 6675, 8985).
#include <doctest/doctest.h>

#include "packet/icmp_quote.hpp"

using namespace weir;
using namespace weir::test;

namespace {

host_options reno() {
  host_options o;
  o.tcp.congestion = congestion_algorithm::reno;
  return o;
}

/// A round trip of 100 ms is measured on `n` segments of 1000 bytes; returns the next sequence
/// number.
std::uint32_t warm_up(script& t, int n = 1) {
  std::uint32_t at = 1;
  for (int i = 0; i < n; ++i) {
    CHECK(t.send(1000u).value() == 1000);
    t.skip();
    t.after(100ms);
    at += 1000;
    t.in(". 1 ack " + std::to_string(at));
  }
  return at;
}
std::string r(std::uint32_t from, std::uint32_t to) {
  return std::to_string(from) + ":" + std::to_string(to);
}

}  // namespace

// covers: MUST-18, MUST-19, b47
TEST_CASE("rto_doubles_and_ends_in_a_timeout") {
  host_options o;
  o.tcp.retries = 5;
  script t(o);
  t.establish("<mss 1000>");
  CHECK(t.send(500u).value() == 500);
  t.out("P. 1:501 ack 1");
  duration previous{};
  for (int i = 0; i < 5; ++i) {
    const auto took = t.until_sent();
    if (i > 0) CHECK(took > previous * 19 / 10);
    previous = took;
    t.out("P. 1:501 ack 1");
  }
  t.after(previous * 3);
  t.quiet();
  CHECK(t.error() == std::errc::timed_out);
  CHECK(any(t.events(), ready::failed));
}

// covers: b47
TEST_CASE("rto_resets_on_progress") {
  script t;
  t.establish("<mss 1000>");
  const auto at = warm_up(t, 5);
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  for (int i = 0; i < 3; ++i) {
    (void)t.until_sent();
    t.skip();
  }
  CHECK(t.info().rto > 1s);
  t.in(". 1 ack " + std::to_string(at + 1000));
  CHECK(t.info().rto < 1s);
}

// covers: b47
TEST_CASE("rto_restarts_on_a_partial_ack") {
  script t;
  t.establish("<mss 1000>");
  const auto at = warm_up(t, 5);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  const auto rto = t.info().rto;
  t.after(rto - 50ms);
  t.in(". 1 ack " + std::to_string(at + 1000));
  const auto took = t.until_sent();
  CHECK(took >= 200ms);  // a whole timeout from the acknowledgement on
  t.out(". " + r(at + 1000, at + 2000) + " ack 1");
}

// covers: MUST-18
// covers: 6298-6
TEST_CASE("karn_no_samples_from_retransmitted_segments") {
  script t;
  t.establish("<mss 1000>");
  const auto at = warm_up(t, 8);
  const auto before = t.info().rtt;
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  (void)t.until_sent();
  t.skip();
  t.after(2ms);
  t.in(". 1 ack " + std::to_string(at + 1000));
  CHECK(t.info().rtt == before);
}

// covers: MUST-19
// covers: 5681-11
TEST_CASE("window_is_one_segment_after_a_timeout_and_slow_start_follows") {
  script t(reno());
  t.establish("<mss 1000>");
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  (void)t.until_sent();
  t.out(". 1:1001 ack 1");
  t.quiet();
  CHECK(t.info().congestion_window == 1000);
  CHECK(t.info().slow_start_threshold == 5000);
  t.in(". 1 ack 1001");
  t.out(". 1001:2001 ack 1");
  t.out(". 2001:3001 ack 1");
  t.quiet();
  t.in(". 1 ack 3001");
  CHECK(t.sent() == 4);
}

// covers: 5681-10
TEST_CASE("second_timeout_of_the_same_segment_leaves_the_threshold") {
  script t(reno());
  t.establish("<mss 1000>");
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  (void)t.until_sent();
  t.skip();
  const auto threshold = t.info().slow_start_threshold;
  (void)t.until_sent();
  t.skip();
  CHECK(t.info().slow_start_threshold == threshold);
}

// covers: b48
TEST_CASE("three_duplicate_acks_retransmit_window_updates_do_not_count") {
  script t(reno());
  t.establish("<mss 1000>", 30000);
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  for (int w : {30001, 30002, 30003, 30004}) t.in(". 1 ack 1 win " + std::to_string(w));
  t.quiet();  // four window updates
  for (int i = 0; i < 2; ++i) {
    t.in(". 1 ack 1 win 30004");
    t.quiet();
  }
  t.in(". 1 ack 1 win 30004");
  t.out(". 1:1001 ack 1");
  t.quiet();
  CHECK(t.info().slow_start_threshold == 5000);
  CHECK(t.info().fast_retransmits == 1);
}

// covers: b48
TEST_CASE("segments_with_data_are_not_duplicate_acks") {
  script t(reno());
  t.establish("<mss 1000>");
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  for (std::uint32_t i = 0; i < 5; ++i) t.in("P. " + r(1 + i * 10, 11 + i * 10) + " ack 1");
  while (t.sent() > 0) CHECK(t.take().payload.empty());
}

TEST_CASE("limited_transmit_sends_new_data_on_the_first_two_duplicates") {
  script t(reno());
  t.establish("<mss 1000>");
  CHECK(t.send(20000u).value() == 20000);
  CHECK(t.sent() == 10);
  t.skip();
  t.in(". 1 ack 1");
  t.out(". 10001:11001 ack 1");
  t.in(". 1 ack 1");
  t.out(". 11001:12001 ack 1");
  t.in(". 1 ack 1");
  t.out(". 1:1001 ack 1");
}

// covers: 6582-1
TEST_CASE("newreno_partial_ack_retransmits_the_next_hole_without_a_second_reduction") {
  script t(reno());
  t.establish("<mss 1000>");
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  // Segments 1 and 5 are lost.
  for (int i = 0; i < 3; ++i) t.in(". 1 ack 1");
  t.out(". 1:1001 ack 1");
  for (int i = 0; i < 5; ++i) t.in(". 1 ack 1");
  t.skip();
  t.in(". 1 ack 4001");
  t.out(". 4001:5001 ack 1");
  const auto threshold = t.info().slow_start_threshold;
  CHECK(threshold == 5000);
  t.in(". 1 ack 10001");
  CHECK(t.info().congestion_window == threshold);
  CHECK(t.info().fast_retransmits == 1);
  CHECK(t.info().timeouts == 0);
}

// covers: 6582-1
TEST_CASE("no_second_fast_retransmit_for_the_same_window") {
  script t(reno());
  t.establish("<mss 1000>");
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  for (int i = 0; i < 3; ++i) t.in(". 1 ack 1");
  t.skip();
  t.in(". 1 ack 10001");
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  for (int i = 0; i < 3; ++i) t.in(". 1 ack 10001");
  CHECK(t.info().fast_retransmits == 1);  // RFC 6582: "recover" is not passed yet
}

// covers: b46
TEST_CASE("retransmission_may_be_cut_differently_and_a_partial_ack_of_it_counts") {
  script t;
  t.establish("<mss 1000>");
  CHECK(t.send(300u).value() == 300);
  CHECK(t.send(300u).value() == 300);
  t.skip();
  (void)t.until_sent();
  CHECK(t.sent() == 1);
  t.skip();
  t.in(". 1 ack 151");  // half of the first piece
  CHECK(t.info().send_queued == 450);
  t.in(". 1 ack 601");
  CHECK(t.info().send_queued == 0);
  CHECK(t.info().memory == 0);
}

// covers: 2018-6
TEST_CASE("sack_retransmits_only_what_is_missing") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t, 3);
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  t.after(100ms);
  // The second and the fifth are lost.
  t.in(". 1 ack " + std::to_string(at + 1000));
  t.in(". 1 ack " + std::to_string(at + 1000) + " <sack " + r(at + 2000, at + 3000) + ">");
  t.in(". 1 ack " + std::to_string(at + 1000) + " <sack " + r(at + 2000, at + 4000) + ">");
  t.in(". 1 ack " + std::to_string(at + 1000) + " <sack " + r(at + 5000, at + 6000) + " " +
       r(at + 2000, at + 4000) + ">");
  std::vector<std::uint32_t> sent;
  const auto collect = [&] {
    while (t.sent() > 0) {
      const auto s = t.take();
      if (!s.payload.empty()) sent.push_back(s.sequence);
    }
  };
  t.in(". 1 ack " + std::to_string(at + 1000) + " <sack " + r(at + 5000, at + 10000) + " " +
       r(at + 2000, at + 4000) + ">");
  t.after(50ms);
  collect();
  CHECK(sent.size() == 2);
  CHECK(t.info().retransmissions == 2);
  CHECK(t.info().timeouts == 0);
  t.in(". 1 ack " + std::to_string(at + 10000));
  CHECK(t.info().send_queued == 0);
  CHECK(t.info().memory == 0);
}

// covers: b46
TEST_CASE("a_retransmission_cut_smaller_and_acknowledged_in_part_goes_on_from_there") {
  script t;
  t.establish("<mss 1400,sackOK>");
  CHECK(t.send(2800u).value() == 2800);
  const auto first = t.take();
  t.skip();
  // A router's MTU is smaller: both segments come again, in pieces of 960 bytes.
  t.in_raw(icmp_about(t, first, 3, 4, 1000));
  t.flush();
  t.out(". 1:961 ack 1");
  t.out(". 961:1921 ack 1");
  t.out("P. 1921:2801 ack 1");
  t.after(10ms);
  t.in(". 1 ack 961");  // a border that the first transmission did not have
  CHECK(t.info().send_queued == 1840);
  t.in(". 1 ack 961 <sack 1921:2801>");
  t.after(60ms);
  t.out(". 961:1921 ack 1");  // the piece that is missing, and it alone
  t.quiet();
  t.in(". 1 ack 1201");  // in the middle of a piece
  CHECK(t.info().send_queued == 1600);
  t.in(". 1 ack 2801");
  CHECK(t.info().send_queued == 0);
  CHECK(t.info().memory == 0);
  CHECK(t.info().timeouts == 0);
}

// covers: b49
// covers: 8985-7
TEST_CASE("lost_retransmission_is_recovered_without_rto") {
  script t;
  t.establish("<mss 1000,sackOK>");
  auto at = warm_up(t, 3);
  CHECK(t.send(30000u).value() == 30000);
  const auto flight = t.info().unacknowledged;
  t.skip();
  t.after(100ms);
  // The first is lost; everything after it arrives.
  t.in(". 1 ack " + std::to_string(at) + " <sack " + r(at + 1000, at + flight) + ">");
  t.after(30ms);
  CHECK(t.info().retransmissions == 1);  // ... and so is its retransmission
  const auto second = t.info().unacknowledged;
  t.skip();
  CHECK(second > flight);  // new data went out beside it
  t.after(75ms);
  t.in(". 1 ack " + std::to_string(at) + " <sack " + r(at + 1000, at + second) + ">");
  t.after(60ms);
  CHECK(t.info().retransmissions == 2);
  CHECK(t.info().timeouts == 0);
}

// covers: b50
// covers: 8985-8, 8985-11
TEST_CASE("tail_loss_is_recovered_by_a_probe") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t, 8);
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  t.after(100ms);
  t.in(". 1 ack " + std::to_string(at + 3000));  // the last two are lost
  const auto took = t.until_sent();
  CHECK(took < t.info().rto);
  CHECK(t.count(counter::tail_loss_probes) == 1);
  t.out("P. " + r(at + 4000, at + 5000) + " ack 1");
  t.after(100ms);
  t.in(". 1 ack " + std::to_string(at + 3000) + " <sack " + r(at + 4000, at + 5000) + ">");
  t.after(60ms);
  t.out(". " + r(at + 3000, at + 4000) + " ack 1");
  t.in(". 1 ack " + std::to_string(at + 5000));
  CHECK(t.info().timeouts == 0);
}

// covers: b51
TEST_CASE("reordering_does_not_collapse_the_congestion_window") {
  script t;
  t.establish("<mss 1000,sackOK>");
  auto at = warm_up(t, 3);
  for (int round = 0; round < 20; ++round) {
    const auto n = std::min<std::uint32_t>(t.info().congestion_window / 1000 * 1000, 20000);
    CHECK(t.send(n).value() == n);
    t.skip();
    t.after(100ms);
    // The first arrives after the second, 2 ms late.
    t.in(". 1 ack " + std::to_string(at) + " <sack " + r(at + 1000, at + 2000) + ">");
    t.after(2ms);
    t.in(". 1 ack " + std::to_string(at + n));
    at += n;
  }
  CHECK(t.info().retransmissions == 0);
  CHECK(t.info().congestion_window >= 20000);
}

TEST_CASE("spurious_timeout_is_taken_back") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t, 8);
  CHECK(t.send(30000u).value() == 30000);
  REQUIRE(t.info().unacknowledged == 10000);
  const auto window = t.info().congestion_window;
  t.skip();
  t.after(2s);  // the path stalls: timeouts
  CHECK(t.info().timeouts >= 1);
  t.skip();
  // Then the originals' acknowledgements arrive, beyond what was sent again.
  t.in(". 1 ack " + std::to_string(at + 2000));
  t.in(". 1 ack " + std::to_string(at + 4000));
  CHECK(t.info().congestion_window >= window);
  const auto retransmitted = t.info().retransmissions;
  t.in(". 1 ack " + std::to_string(at + 10000));
  CHECK(t.info().retransmissions == retransmitted);
}

// covers: 2018-7, 2018-8
TEST_CASE("reneging_receiver_is_survived") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t, 3);
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  t.after(100ms);
  t.in(". 1 ack " + std::to_string(at) + " <sack " + r(at + 1000, at + 5000) + ">");
  t.after(60ms);
  t.skip();
  // The peer fills the first hole and has forgotten the rest.
  t.in(". 1 ack " + std::to_string(at + 1000));
  std::uint32_t reached = at + 1000;
  for (int i = 0; i < 20 && reached < at + 5000; ++i) {
    (void)t.until_sent();
    while (t.sent() > 0) {
      const auto s = t.take();
      const auto info = t.info();
      (void)info;
      if (!s.payload.empty())
        reached += reached < at + 5000 ? static_cast<std::uint32_t>(s.payload.size()) : 0;
    }
    t.in(". 1 ack " + std::to_string(std::min(reached, at + 5000)));
  }
  CHECK(t.info().send_queued == 0);
}

TEST_CASE("hostile_sack_blocks_do_no_harm") {
  script t;
  t.establish("<mss 1000,sackOK>");
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  for (const char* blocks :
       {"1:1", "5000:2", "100000:200000", "4000000000:1", "1:4294967295", "1:5001", "0:3"}) {
    CAPTURE(blocks);
    t.in(std::string(". 1 ack 1 <sack ") + blocks + ">");
    t.skip();
  }
  for (std::uint32_t i = 0; i < 4000; i += 2) t.in(". 1 ack 1 <sack " + r(1 + i, 2 + i) + ">");
  t.skip();
  t.in(". 1 ack 5001");
  CHECK(t.info().send_queued == 0);
  CHECK(t.info().memory == 0);
}

// covers: 9293-E20
TEST_CASE("user_timeout_ends_a_connection_that_makes_no_progress") {
  host_options o;
  o.tcp.user_timeout = 5s;
  script t(o);
  t.establish();
  CHECK(t.send(10u).value() == 10);
  t.after(4s);
  CHECK_FALSE(t.error());
  t.after(10s);
  CHECK(t.error() == std::errc::timed_out);
}

// covers: 9438-5
TEST_CASE("cubic_reduces_to_seven_tenths") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t, 3);
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  t.after(100ms);
  t.in(". 1 ack " + std::to_string(at) + " <sack " + r(at + 1000, at + 10000) + ">");
  t.after(60ms);
  CHECK(t.info().slow_start_threshold == 7000);
}
