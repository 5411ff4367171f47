// Sending: cutting, Nagle, cork, windows of the peer and of congestion, probes (TCP.md rows 42-46,
// 52-54).
#include <doctest/doctest.h>

#include "packet/icmp_quote.hpp"

using namespace weir;
using namespace weir::test;

namespace {

tcp_options nagle() {
  tcp_options o;
  o.nodelay = false;
  return o;
}

}  // namespace

// covers: MUST-61, SHLD-28
TEST_CASE("segments_are_cut_at_the_mss_and_the_last_has_psh") {
  script t;
  t.establish();
  CHECK(t.send(3000u).value() == 3000);
  t.out_payload(". 1:1461 ack 1", script::stream(0, 1460));
  t.out_payload(". 1461:2921 ack 1", script::stream(1460, 2920));
  const auto last = t.take();
  CHECK(last.has(wire::psh));
  CHECK(last.payload.size() == 80);
}

// covers: SHLD-7, b42
TEST_CASE("nagle_holds_a_second_small_segment_until_the_first_is_acknowledged") {
  host_options o;
  o.tcp = nagle();
  script t(o);
  t.establish();
  CHECK(t.send(10u).value() == 10);
  t.out("P. 1:11 ack 1");
  CHECK(t.send(10u).value() == 10);
  CHECK(t.send(10u).value() == 10);
  t.quiet();
  t.in(". 1 ack 11");
  t.out_payload("P. 11:31 ack 1", script::stream(10, 30));
}

// covers: SHLD-7
TEST_CASE("nagle_holds_a_small_segment_for_a_small_one_only_not_for_full_ones") {
  // Minshall's amendment: what is out and full holds nothing back.
  host_options o;
  o.tcp = nagle();
  script t(o);
  t.establish();
  CHECK(t.send(1460u * 2).value() == 2920);
  t.out(". 1:1461 ack 1");
  t.out("P. 1461:2921 ack 1");
  CHECK(t.send(10u).value() == 10);
  t.out("P. 2921:2931 ack 1");  // nothing small is out
  CHECK(t.send(10u).value() == 10);
  t.quiet();  // now one is
  t.in(". 1 ack 2921");
  t.quiet();  // ... still, though the full ones have arrived
  CHECK(t.send(1460u).value() == 1460);
  t.out(". 2931:4391 ack 1");  // a full one goes, what is left over waits
  t.quiet();
  t.in(". 1 ack 2931");
  t.out("P. 4391:4401 ack 1");  // the full one is still out
  t.quiet();
}

// covers: SHLD-7
TEST_CASE("nagle_lets_full_segments_go_and_holds_the_tail") {
  host_options o;
  o.tcp = nagle();
  script t(o);
  t.establish();
  CHECK(t.send(10u).value() == 10);
  t.skip();
  CHECK(t.send(2000u).value() == 2000);
  t.out(". 11:1471 ack 1");
  t.quiet();
  t.in(". 1 ack 1471");
  t.out("P. 1471:2011 ack 1");
}

// covers: b42
TEST_CASE("nagle_the_last_piece_is_not_held_for_ever") {
  host_options o;
  o.tcp = nagle();
  script t(o);
  t.establish();
  CHECK(t.send(10u).value() == 10);
  CHECK(t.send(10u).value() == 10);
  t.skip();
  t.shutdown();  // FIN: nothing more can be added
  t.out("FP. 11:21 ack 1");
}

// covers: MUST-17
TEST_CASE("nodelay_sends_each_piece_and_releases_what_nagle_held") {
  host_options o;
  o.tcp = nagle();
  script t(o);
  t.establish();
  CHECK(t.send(10u).value() == 10);
  CHECK(t.send(10u).value() == 10);
  t.out("P. 1:11 ack 1");
  auto now = *t.h().get_options(t.socket);
  now.nodelay = true;
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, now));
  t.out("P. 11:21 ack 1");
  CHECK(t.send(10u).value() == 10);
  t.out("P. 21:31 ack 1");
}

// covers: b43
TEST_CASE("cork_holds_and_release_sends") {
  script t;
  t.establish();
  CHECK_FALSE(t.h().set_cork(t.now(), t.socket, true));
  CHECK(t.send(100u).value() == 100);
  t.quiet();
  CHECK(t.send(2000u).value() == 2000);
  t.out(". 1:1461 ack 1");
  t.quiet();
  CHECK_FALSE(t.h().set_cork(t.now(), t.socket, false));
  t.out("P. 1461:2101 ack 1");
}

// covers: MUST-60, b43
TEST_CASE("cork_gives_way_after_200_ms") {
  script t;
  t.establish();
  CHECK_FALSE(t.h().set_cork(t.now(), t.socket, true));
  CHECK(t.send(100u).value() == 100);
  const auto took = t.until_sent();
  CHECK(took >= 200ms);
  CHECK(took < 202ms);
  t.out("P. 1:101 ack 1");
}

// covers: MUST-19
// covers: 6928-1
TEST_CASE("initial_window_is_ten_segments") {
  script t;
  t.establish("<mss 1000>");
  CHECK(t.send(50000u).value() == 50000);
  CHECK(t.sent() == 10);
  t.skip();
  t.in(". 1 ack 10001");  // slow start: two for each acknowledged
  CHECK(t.sent() == 20);
}

// covers: MUST-38
TEST_CASE("peer_window_bounds_what_is_sent") {
  script t;
  t.establish("<mss 1000>", 2500);
  CHECK(t.send(5000u).value() == 5000);
  t.out(". 1:1001 ack 1");
  t.out(". 1001:2001 ack 1");
  t.quiet();  // 500 more would be silly
  t.in(". 1 ack 2001 win 2500");
  t.out(". 2001:3001 ack 1");
  t.out(". 3001:4001 ack 1");
  t.quiet();
}

// covers: MUST-38
TEST_CASE("half_of_the_largest_window_may_be_sent_though_under_an_mss") {
  script t;
  t.establish("<mss 1460>", 600);
  CHECK(t.send(5000u).value() == 5000);
  t.out(". 1:601 ack 1");
  t.in(". 1 ack 601 win 200");
  t.quiet();
  t.in(". 1 ack 601 win 300");
  t.out(". 601:901 ack 1");
}

// covers: MUST-38
TEST_CASE("window_too_small_for_silly_window_avoidance_is_used_by_the_probe") {
  script t;
  t.establish("<mss 1460>", 10000);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  t.in(". 1 ack 3001 win 100");
  CHECK(t.send(1000u).value() == 1000);
  t.quiet();
  CHECK(t.until_sent() >= 200ms);
  t.out(". 3001:3101 ack 1");
}

// covers: MUST-36, MUST-37, SHLD-30, b44
TEST_CASE("zero_window_probe_backs_off_and_lives_as_long_as_it_is_answered") {
  script t;
  t.establish("<mss 1460>", 1000);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  t.in(". 1 ack 1001 win 0");
  duration previous{};
  for (int i = 0; i < 40; ++i) {
    const auto took = t.until_sent(300s);
    REQUIRE(t.sent() == 1);
    if (i > 0 && i < 8) CHECK(took > previous * 19 / 10);
    CHECK(took <= 121s);
    previous = took;
    t.out(". 1000 ack 1");  // just before the window: must be answered
    t.in(". 1 ack 1001 win 0");
  }
  CHECK(t.state() == tcp_state::established);
  t.in(". 1 ack 1001 win 5000");
  t.out(". 1001:2461 ack 1");
  t.out("P. 2461:3001 ack 1");
}

TEST_CASE("zero_window_probes_without_an_answer_end_the_connection") {
  script t;
  t.establish("<mss 1460>", 1000);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  t.in(". 1 ack 1001 win 0");
  t.after(3600s);
  CHECK(t.error() == std::errc::timed_out);
  CHECK(t.info().zero_window_probes == 15);
}

TEST_CASE("attempts before a peer's answer are none of those behind it") {
  for (const bool crossing : {false, true}) {
    CAPTURE(crossing);
    script t;
    t.connect();
    t.out("S 0");
    for (int i = 0; i < 4; ++i) {
      (void)t.until_sent();
      t.out("S 0");
    }
    int attempts = 0;
    const char* what = crossing ? "S. 0 ack 1" : "P. 1:501 ack 1";
    if (crossing) {
      t.in("S 0 <mss 1000>");
      t.out(what);
    } else {
      t.in("S. 0 ack 1 win 10000 <mss 1000>");
      t.out(". 1 ack 1");
      CHECK(t.send(500u).value() == 500);
      t.out(what);
    }
    for (; t.until_sent(200s) < 200s; ++attempts) t.out(what);
    CHECK(t.error() == std::errc::timed_out);
    CHECK(attempts == (crossing ? 7 : 15));
  }
}

TEST_CASE("an answer gives a connection all of its attempts again") {
  // The peer answers a few times in the way that is named, then never again.
  for (const std::string how : {"probe", "window", "data"}) {
    CAPTURE(how);
    script t;
    t.establish("<mss 1000>", how == "data" ? 10000 : 1000);
    CHECK(t.send(3000u).value() == 3000);
    if (how != "data") t.in(". 1 ack 1001 win 0");
    t.skip();
    for (int i = 0; i < 4; ++i) {
      (void)t.until_sent();
      t.skip();
    }
    if (how == "probe") t.in(". 1 ack 1001 win 0");
    if (how == "window") t.in(". 1 ack 1001 win 1000");
    if (how == "data") t.in(". 1 ack 1001 win 10000");
    t.skip();
    const auto before = t.info();
    CHECK(before.zero_window_probes + before.timeouts >= 4);
    t.after(3600s);
    CHECK(t.error() == std::errc::timed_out);
    const auto after = t.info();
    CHECK(after.zero_window_probes - before.zero_window_probes == (how == "probe" ? 15 : 0));
    CHECK(after.timeouts - before.timeouts == (how == "probe" ? 0 : 15));
  }
}

// covers: MUST-34, SHLD-15, SHLD-16, b45
TEST_CASE("peer_shrinks_its_window") {
  script t;
  t.establish("<mss 1000>", 5000);
  CHECK(t.send(8000u).value() == 8000);
  CHECK(t.sent() == 5);
  t.skip();
  t.in(". 1 ack 1001 win 1000");  // the edge moves from 5001 to 2001
  t.quiet();                      // no new data (SHLD-15)
  (void)t.until_sent();
  t.out(". 1001:2001 ack 1");  // old data within the window is sent again (SHLD-16)
  t.in(". 1 ack 5001 win 5000");
  t.out(". 5001:6001 ack 1");
  CHECK(t.error() == std::error_code{});
}

// covers: MUST-35, SHLD-17, b45
TEST_CASE("shrunken_to_zero_with_data_out_does_not_time_out_while_the_peer_answers") {
  script t;
  t.establish("<mss 1000>", 5000);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  t.in(". 1 ack 1001 win 0");
  for (int i = 0; i < 30; ++i) {
    (void)t.until_sent(300s);
    REQUIRE(t.sent() > 0);
    t.skip();
    t.in(". 1 ack 1001 win 0");
    t.skip();
  }
  CHECK(t.state() == tcp_state::established);
  t.in(". 1 ack 3001 win 5000");
  CHECK(t.info().send_queued == 0);
}

TEST_CASE("shrunken_to_zero_with_data_out_times_out_once_the_peer_is_silent") {
  script t;
  t.establish("<mss 1000>", 5000);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  for (int i = 0; i < 30; ++i) {
    t.in(". 1 ack 1001 win 0");
    t.skip();
    (void)t.until_sent(300s);
    t.skip();
  }
  // An answer came within two timeouts of that one, which thus was the first of 15.
  const auto before = t.info().timeouts;
  t.after(3600s);
  CHECK(t.error() == std::errc::timed_out);
  CHECK(t.info().timeouts - before == 14);
}

// covers: MUST-34, b45
TEST_CASE("what_carries_nothing_stays_within_a_window_that_was_shrunk") {
  // SND.NXT is beyond the window then: the peer would drop the acknowledgement, or the reset.
  using text = std::pair<std::string, std::string>;
  for (const auto& [window, number] : {text("0", "1001"), text("700", "1701")}) {
    CAPTURE(window);
    script t;
    t.establish("<mss 1000>", 5000);
    CHECK(t.send(3000u).value() == 3000);
    t.skip();
    t.in("P. 1:11 ack 1001 win " + window);
    t.out(". " + number + " ack 11");
    t.h().abort(t.now(), t.socket);
    t.out("R. " + number + " ack 11");
  }
}

// covers: MUST-34
TEST_CASE("a_window_that_only_seems_shrunk_by_its_scale_changes_no_number") {
  script t;
  t.establish("<mss 1000,wscale 7>", 40);
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  // 4992 where 5000 are out: less than what the scale can say.
  t.in("P. 1:11 ack 1 win 39");
  t.out(". 5001 ack 11");
}

// covers: 9293-E14
TEST_CASE("window_update_needs_a_newer_segment") {
  script t;
  t.establish("<mss 1460>", 1000);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  t.in("P. 11:21 ack 1 win 2000");  // newer sequence: taken
  CHECK(t.info().send_window == 2000);
  t.skip();
  t.in("P. 1:11 ack 1 win 500");  // older sequence: an old window
  CHECK(t.info().send_window == 2000);
}

// covers: b52
// covers: 9438-6
TEST_CASE("congestion_window_does_not_grow_while_the_application_is_the_limit") {
  script t;
  t.establish("<mss 1000>");
  const auto before = t.info().congestion_window;
  std::uint32_t at = 1;
  for (int i = 0; i < 50; ++i) {
    CHECK(t.send(500u).value() == 500);
    at += 500;
    t.in(". 1 ack " + std::to_string(at));
  }
  t.skip();
  CHECK(t.info().congestion_window == before);
}

// covers: b53
TEST_CASE("restart_after_idle") {
  script t;
  t.establish("<mss 1000>");
  std::uint32_t at = 1;
  for (int i = 0; i < 3; ++i) {
    const auto n = t.info().congestion_window;
    CHECK(t.send(n).value() == n);
    at += n;
    t.in(". 1 ack " + std::to_string(at));
  }
  t.skip();
  CHECK(t.info().congestion_window == 80000);
  t.after(10s);
  CHECK(t.send(50000u).value() == 50000);
  CHECK(t.sent() == 10);
}

TEST_CASE("send_queue_is_bounded_and_writable_follows") {
  host_options o;
  o.tcp.send_buffer = 10000;
  script t(o);
  t.establish("<mss 1000>", 1000);
  CHECK(t.send(30000u).value() == 10000);
  CHECK(t.send(1u).error() == std::errc::operation_would_block);
  (void)t.events();
  t.in(". 1 ack 1001 win 2000");
  CHECK_FALSE(any(t.events(), ready::writable));
  t.in(". 1 ack 3001 win 2000");
  CHECK_FALSE(any(t.events(), ready::writable));
  t.in(". 1 ack 5001 win 2000");
  CHECK(any(t.events(), ready::writable));
  CHECK(t.info().memory < 30000);
}

TEST_CASE("gathered_parts_are_sent_as_one_stream") {
  script t;
  t.establish();
  const std::string a = "abc", b, c = "defgh";
  const std::span<const std::byte> parts[] = {bytes_of(a), bytes_of(b), bytes_of(c)};
  CHECK(t.h().send(t.now(), t.socket, parts).value() == 8);
  t.out_payload("P. 1:9 ack 1", "abcdefgh");
}

// covers: b54
// covers: 7323-16
TEST_CASE("path_mtu_drop_cuts_again_what_is_queued") {
  script t;
  t.establish();
  CHECK(t.send(2000u).value() == 2000);
  const auto first = t.take();
  t.skip();
  const auto too_big = [&](std::uint32_t sequence) {
    auto about = first;
    about.sequence = sequence;
    t.in_raw(icmp_about(t, about, 3, 4, 1000));
    t.flush();
  };
  too_big(first.sequence + 100000);  // forged: ignored (RFC 5927)
  t.quiet();
  too_big(first.sequence);
  t.out(". 1:961 ack 1");
  t.out(". 961:1921 ack 1");
  t.out("P. 1921:2001 ack 1");
  CHECK(t.info().congestion_window >= 9600 * 960 / 1460);
  CHECK(t.info().timeouts == 0);
}

// covers: MUST-26, MUST-27, MUST-29, SHLD-12
TEST_CASE("keep_alive_probes_only_when_idle_and_gives_up_in_the_end") {
  host_options o;
  o.tcp.keep_alive = true;
  o.tcp.keep_alive_idle = 100s;
  o.tcp.keep_alive_interval = 10s;
  o.tcp.keep_alive_probes = 3;
  script t(o);
  t.establish();
  t.after(90s);
  t.in("P. 1:2 ack 1");
  t.skip();
  CHECK(t.until_sent(200s) >= 99s);
  t.out(". 0 ack 2");
  t.in(". 2 ack 1");  // one answer: all is well
  t.quiet();
  t.after(99s);
  t.quiet();
  t.after(2s);
  t.out(". 0 ack 2");
  t.after(21s);
  CHECK(t.sent() == 2);
  t.skip();
  t.after(10s);
  CHECK(t.take().has(wire::rst));
  CHECK(t.error() == std::errc::timed_out);
}

// covers: MUST-25
TEST_CASE("keep_alive_is_off_by_default") {
  script t;
  t.establish();
  t.after(24h);
  t.quiet();
  CHECK(t.state() == tcp_state::established);
}

TEST_CASE("device_without_room_is_recovered_from_as_a_loss") {
  script t;
  t.establish();
  t.transmit_fails = true;
  CHECK(t.send(10u).value() == 10);
  t.transmit_fails = false;
  (void)t.until_sent();
  t.out("P. 1:11 ack 1");
  CHECK(t.count(counter::device_full) >= 1);
}

TEST_CASE("send_that_found_the_memory_full_is_told_when_to_try_again") {
  host_options o;
  o.limits.memory = 1000;
  script t(o);
  t.establish();
  const auto other = t.socket;
  t.peer_port = 40001;
  t.establish();
  CHECK(send_text(t.h(), t.now(), other, script::stream(0, 400)).value() == 400);
  CHECK(t.send(400u).error() ==
        std::errc::operation_would_block);  // beside the scoreboard nothing is left
  (void)t.events();
  t.after(11ms);
  CHECK(any(t.events(), ready::writable));
}

TEST_CASE("segments_sent_counts_each_segment_of_a_burst_whoever_cuts_it") {
  for (const bool offload : {false, true})
    for (const std::uint32_t n : {1u, 999u, 1000u, 1001u, 1999u, 2000u, 2001u, 9999u, 10'000u}) {
      CAPTURE(offload);
      CAPTURE(n);
      host_options o;
      o.transmit_segmentation_offload = offload;
      script t(o);
      t.establish("<mss 1000>");
      const auto before = t.info().segments_sent;
      CHECK(t.send(n).value() == n);
      const auto segments = (n + 999) / 1000;
      CHECK(t.sent() == segments);
      CHECK(t.info().segments_sent - before == segments);
    }
}
