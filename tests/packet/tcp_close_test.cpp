// Closing: every path of the state diagram, resets, TIME_WAIT, orphans (TCP.md rows 31, 56-60; RFC
// 5961).
#include <doctest/doctest.h>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

// covers: MUST-13, 9293-E15, 9293-E20
TEST_CASE("close_active_fin_wait_1_2_time_wait") {
  script t;
  t.establish();
  t.shutdown();
  t.out("F. 1 ack 1");
  CHECK(t.state() == tcp_state::fin_wait_1);
  t.in(". 1 ack 2");
  CHECK(t.state() == tcp_state::fin_wait_2);
  t.in("P. 1:6 ack 2");  // half-closed: data still flows in
  t.skip();
  CHECK(t.read() == script::stream(0, 5));
  t.in("F. 6 ack 2");
  t.out(". 2 ack 7");
  CHECK(t.state() == tcp_state::time_wait);
  CHECK(t.count(counter::time_wait_entered) == 1);
  CHECK(t.h().at_end(t.socket));
  t.close();
  t.quiet();
  t.after(59s);
  CHECK(t.h().memory_in_use() > 0);
  t.after(2s);
  CHECK(t.h().memory_in_use() == 0);
}

// covers: MUST-12, 9293-E15, 9293-E18
TEST_CASE("close_passive_close_wait_last_ack") {
  script t;
  t.establish();
  t.in("F. 1 ack 1");
  t.out(". 1 ack 2");
  CHECK(t.state() == tcp_state::close_wait);
  CHECK(any(t.events(), ready::readable));
  CHECK(t.h().at_end(t.socket));
  CHECK(t.send(5u).value() == 5);  // SEND in CLOSE-WAIT is allowed
  t.out("P. 1:6 ack 2");
  t.shutdown();
  t.out("F. 6 ack 2");
  CHECK(t.state() == tcp_state::last_ack);
  t.in(". 2 ack 7");
  t.quiet();
  CHECK(t.state() == tcp_state::closed);
  CHECK_FALSE(t.error());
  t.close();
  CHECK(t.h().memory_in_use() == 0);
  CHECK(t.h().error(t.socket) == std::errc::bad_file_descriptor);
}

// covers: 9293-E15, b58
TEST_CASE("simultaneous_close_goes_through_closing") {
  script t;
  t.establish();
  t.shutdown();
  t.out("F. 1 ack 1");
  t.in("F. 1 ack 1");
  t.out(". 2 ack 2");
  CHECK(t.state() == tcp_state::closing);
  t.in(". 2 ack 2");
  CHECK(t.state() == tcp_state::time_wait);
}

// covers: 9293-E15
TEST_CASE("fin_with_the_ack_of_our_fin_goes_straight_to_time_wait") {
  script t;
  t.establish();
  t.shutdown();
  t.out("F. 1 ack 1");
  t.in("F. 1 ack 2");
  t.out(". 2 ack 2");
  CHECK(t.state() == tcp_state::time_wait);
}

TEST_CASE("fin_follows_queued_data_and_rides_on_its_last_segment") {
  script t;
  t.establish();
  CHECK(t.send(2000u).value() == 2000);
  t.out(". 1:1461 ack 1");
  t.out("P. 1461:2001 ack 1");
  t.in(". 1 ack 2001 win 0");
  CHECK(t.send(10u).value() == 10);
  t.quiet();
  t.shutdown();
  t.quiet();
  CHECK(t.state() == tcp_state::fin_wait_1);
  t.in(". 1 ack 2001 win 1000");
  t.out("FP. 2001:2011 ack 1");
  CHECK(t.send(1u).error() == std::errc::broken_pipe);
}

// covers: b58
TEST_CASE("lost_fin_is_retransmitted") {
  script t;
  t.establish();
  t.shutdown();
  t.out("F. 1 ack 1");
  (void)t.until_sent(10s);
  t.out("F. 1 ack 1");
  t.in(". 1 ack 2");
  CHECK(t.state() == tcp_state::fin_wait_2);
  t.after(10s);
  t.quiet();
}

// covers: 9293-E15, 9293-E16, b58, b59
TEST_CASE("lost_last_ack_is_sent_again_from_time_wait") {
  script t;
  t.establish();
  t.shutdown();
  t.out("F. 1 ack 1");
  t.in("F. 1 ack 2");
  t.out(". 2 ack 2");
  t.close();
  t.after(30s);
  t.in("F. 1 ack 2");  // row 59: a repeated FIN is acknowledged and extends
  t.out(". 2 ack 2");
  t.after(45s);
  CHECK(t.h().memory_in_use() > 0);
  t.after(16s);
  CHECK(t.h().memory_in_use() == 0);
}

// covers: MUST-13, 9293-E16, b59
TEST_CASE("time_wait_lasts_as_long_as_its_connection_was_told_also_after_a_repeated_fin") {
  script t;
  tcp_options o;
  o.time_wait = 10s;
  t.connect(o);
  t.out("S 0");
  t.in("S. 0 ack 1");
  t.out(". 1 ack 1");
  t.shutdown();
  t.out("F. 1 ack 1");
  t.in("F. 1 ack 2");
  t.out(". 2 ack 2");
  t.close();
  t.after(8s);
  t.in("F. 1 ack 2");
  t.out(". 2 ack 2");
  t.after(9s);
  CHECK(t.h().memory_in_use() > 0);
  t.after(2s);
  CHECK(t.h().memory_in_use() == 0);
  t.in("F. 1 ack 2");
  t.out("R 2");
}

// covers: b59
TEST_CASE("time_wait_ignores_resets_and_old_data_is_acknowledged_slowly") {
  script t;
  t.establish();
  t.shutdown();
  t.out("F. 1 ack 1");
  t.in("F. 1 ack 2");
  t.out(". 2 ack 2");
  t.in("R 2 win 0");
  t.in("R. 2 ack 2 win 0");
  CHECK(t.h().memory_in_use() > 0);
  t.in("P. 1:5 ack 2");
  t.out(". 2 ack 2");
  for (int i = 0; i < 10; ++i) t.in("P. 1:5 ack 2");
  t.quiet();
}

// covers: 9293-E11, b59
TEST_CASE("time_wait_a_new_syn_reopens") {
  script t;
  t.establish();
  t.shutdown();
  t.out("F. 1 ack 1");
  t.in("F. 1 ack 2");
  t.out(". 2 ack 2");
  t.close();
  t.in("S 0");  // not newer: silently dropped (RFC 6191)
  t.quiet();
  t.peer_isn += 100;
  t.in("S 0");
  t.out("S. 0 ack 1");
  t.in(". 1 ack 1");
  CHECK(t.accept());
  CHECK(t.count(counter::time_wait_recycled) == 1);
}

// covers: SHLD-4
TEST_CASE("time_wait_reopens_by_timestamp") {
  script t;
  t.establish("<mss 1460,TS 100 0>");
  t.shutdown();
  const auto fin = t.take();
  const auto echo = std::to_string(fin.options.timestamps->value);
  t.in("F. 1 ack 2 <TS 200 " + echo + ">");
  t.skip();
  t.close();
  t.peer_isn -= 5000;  // an older number, but a newer timestamp
  t.in("S 0 <TS 200 0>");
  t.quiet();
  t.in("S 0 <TS 201 0>");
  t.out("S. 0 ack 1");
}

TEST_CASE("time_wait_entries_are_bounded_and_the_oldest_goes") {
  host_options o;
  o.limits.time_wait = 2;
  script t(o);
  t.listen();
  for (std::uint16_t p = 1; p <= 4; ++p) {
    t.peer_port = static_cast<std::uint16_t>(1000 + p);
    t.establish();
    t.shutdown();
    t.out("F. 1 ack 1");
    t.in("F. 1 ack 2");
    t.skip();
    t.close();
  }
  CHECK(t.count(counter::time_wait_overflow) == 2);
  CHECK(t.h().memory_in_use() <= 2 * 136);
}

// covers: SHLD-3, b56
TEST_CASE("close_with_unread_data_sends_rst") {
  script t;
  t.establish();
  t.in("P. 1:11 ack 1");
  t.skip();
  t.close();
  t.out("R. 1 ack 11");
  t.quiet();
  CHECK(t.h().memory_in_use() == 0);
}

// covers: SHLD-3
TEST_CASE("data_after_close_is_answered_with_rst_in_each_state_and_wherever_it_lies") {
  for (const bool answered : {false, true})  // FIN-WAIT-1, FIN-WAIT-2
    for (const std::string late : {"P. 11:21", "P. 1:21", "P. 101:201", "FP. 11:21"}) {
      CAPTURE(answered);
      CAPTURE(late);
      script t;
      t.establish();
      t.in("P. 1:11 ack 1");
      CHECK(t.read().size() == 10);
      t.skip();
      t.close();
      t.out("F. 1 ack 11");
      if (answered) t.in(". 11 ack 2");
      // What is old is acknowledged, and so is a bare segment.
      t.in("P. 1:11 ack " + std::string(answered ? "2" : "1"));
      t.out(". 2 ack 11");
      t.in(". 11 ack " + std::string(answered ? "2" : "1"));
      t.quiet();
      t.in(late + " ack 2");
      t.out("R. 2 ack 11");
      t.quiet();
      CHECK(t.h().memory_in_use() == 0);
      t.in("P. 21:31 ack 2");  // there is nothing any more
      t.out("R 2");
    }
}

// covers: SHLD-3
TEST_CASE("close_over_a_gap_is_a_reset_once_what_was_missing_comes") {
  script t;
  t.establish();
  t.in("P. 101:201 ack 1");
  t.skip();
  t.close();  // nothing that could have been read is unread
  t.out("F. 1 ack 1");
  t.in("P. 1:101 ack 2");
  t.out("R. 2 ack 1");
  CHECK(t.h().memory_in_use() == 0);
}

// covers: b57
TEST_CASE("close_with_a_blocked_send_queue_ends_in_bounded_time") {
  script t;
  t.establish("<mss 1460>", 1000);
  CHECK(t.send(5000u).value() == 5000);
  t.out(". 1:1001 ack 1");
  t.in(". 1 ack 1001 win 0");
  t.close();
  CHECK(t.h().memory_in_use() > 0);
  // The peer answers every probe with a closed window, for ever.
  duration total{};
  while (total < 3600s) {
    const auto took = t.until_sent(600s);
    total += took;
    if (t.sent() == 0) break;
    t.skip();
    t.in(". 1 ack 1001 win 0");
    t.skip();
  }
  CHECK(t.h().memory_in_use() == 0);
  CHECK(t.count(counter::orphans_reaped) == 1);
  CHECK(total < 1800s);
}

TEST_CASE("orphan_that_nobody_answers_is_given_up_after_fewer_attempts_than_others") {
  for (const bool orphan : {false, true})
    for (const auto user_timeout : {0s, 7200s}) {
      if (!orphan && user_timeout > 0s) continue;  // it counts no attempts
      CAPTURE(orphan);
      CAPTURE(user_timeout.count());
      host_options o;
      o.tcp.orphan_timeout = 7200s;
      o.tcp.user_timeout = user_timeout;
      script t(o);
      t.establish();
      CHECK(t.send(100u).value() == 100);
      if (orphan)
        t.close();
      else
        t.shutdown();
      while (t.until_sent(600s) < 600s) t.skip();
      CHECK(t.count(counter::timeouts) == (orphan ? 8 : 15));
      CHECK(t.count(counter::orphans_reaped) == (orphan ? 1 : 0));
      CHECK(t.count(counter::user_timeouts) == 0);
      if (!orphan) CHECK(t.error() == std::errc::timed_out);
      CHECK(t.h().memory_in_use() == 0);
    }
}

TEST_CASE("orphan_in_fin_wait_2_is_reaped") {
  script t;
  t.establish();
  t.close();
  t.out("F. 1 ack 1");
  t.in(". 1 ack 2");
  t.after(59s);
  CHECK(t.count(counter::orphans_reaped) == 0);
  t.after(2s);
  CHECK(t.count(counter::orphans_reaped) == 1);
  t.in("F. 1 ack 2");
  CHECK(t.take().has(wire::rst));
}

TEST_CASE("half_closed_connection_with_a_reader_is_not_reaped") {
  script t;
  t.establish();
  t.shutdown();
  t.out("F. 1 ack 1");
  t.in(". 1 ack 2");
  t.after(3600s);
  t.in("P. 1:6 ack 2");
  CHECK(t.read() == script::stream(0, 5));
}

// covers: 9293-E19
TEST_CASE("abort_sends_rst_and_drops_everything") {
  script t;
  t.establish();
  CHECK(t.send(100u).value() == 100);
  t.skip();
  t.h().abort(t.now(), t.socket);
  t.out("R. 101 ack 1");
  CHECK(t.h().memory_in_use() == 0);
  t.in(". 1 ack 101");
  CHECK(t.take().has(wire::rst));
}

// covers: b31
TEST_CASE("fin_before_missing_data_waits_for_it") {
  script t;
  t.establish();
  t.in("FP. 6:11 ack 1");
  t.out(". 1 ack 1");
  CHECK(t.state() == tcp_state::established);
  CHECK_FALSE(t.h().at_end(t.socket));
  t.in("P. 1:6 ack 1");
  t.out(". 1 ack 12");
  CHECK(t.state() == tcp_state::close_wait);
  CHECK(t.read() == script::stream(0, 10));
  CHECK(t.h().at_end(t.socket));
}

// covers: 9293-E17
TEST_CASE("data_after_fin_is_ignored") {
  script t;
  t.establish();
  t.in("FP. 1:6 ack 1");
  t.skip();
  t.in("P. 7:20 ack 1");
  CHECK(t.read() == script::stream(0, 5));
  CHECK(t.h().at_end(t.socket));
}

// covers: MUST-12, 9293-E9, b60
TEST_CASE("rst_exact_kills_in_window_is_challenged_outside_is_dropped") {
  script t;
  t.establish();
  t.in("R 100000 win 0");
  t.quiet();
  t.in("R 2 win 0");
  t.out(". 1 ack 1");
  CHECK(t.count(counter::challenge_acks_sent) == 1);
  CHECK(t.state() == tcp_state::established);
  t.in("R 1 win 0");
  t.quiet();
  CHECK(t.error() == std::errc::connection_reset);
  CHECK(any(t.events(), ready::failed));
  CHECK(t.send(1u).error() == std::errc::connection_reset);
}

// covers: SHLD-2
TEST_CASE("rst_may_carry_data_and_received_bytes_stay_readable") {
  script t;
  t.establish();
  t.in("P. 1:6 ack 1");
  t.skip();
  t.in("RP. 6:20 ack 1");
  CHECK(t.error() == std::errc::connection_reset);
  CHECK(t.read() == script::stream(0, 5));
  std::vector<std::byte> buffer(10);
  CHECK(t.h().receive(t.now(), t.socket, buffer).error() == std::errc::connection_reset);
}

// covers: 9293-E11, b60
TEST_CASE("syn_in_a_synchronized_state_is_challenged") {
  script t;
  t.establish();
  t.in("S 0 <mss 1460>");
  t.out(". 1 ack 1");
  t.after(1s);
  t.in("S 1000 <mss 1460>");
  t.out(". 1 ack 1");
  CHECK(t.state() == tcp_state::established);
}

// covers: b60
TEST_CASE("challenge_acks_are_limited_per_connection") {
  script t;
  t.establish();
  for (int i = 0; i < 50; ++i) t.in("R 2 win 0");
  CHECK(t.sent() == 1);
  CHECK(t.count(counter::challenge_acks_limited) == 49);
  t.skip();
  // Another connection has a limit of its own.
  t.peer_port = 40001;
  t.establish();
  t.in("R 2 win 0");
  CHECK(t.sent() == 1);
  t.after(600ms);
  t.skip();
  t.in("R 2 win 0");
  CHECK(t.sent() == 1);
}

// covers: b60
TEST_CASE("retransmitted_data_is_always_acknowledged") {
  script t;
  t.establish();
  t.in("P. 1:11 ack 1");
  t.skip();
  for (int i = 0; i < 5; ++i) {
    t.in("P. 1:11 ack 1");
    t.out(". 1 ack 11");
  }
}

// covers: 9293-E14
TEST_CASE("ack_too_old_or_of_the_future_is_challenged_and_its_data_dropped") {
  script t;
  t.establish("<mss 1460>", 1000);
  CHECK(t.send(10u).value() == 10);
  t.skip();
  t.in("P. 1:6 ack 50");
  t.out(". 11 ack 1");
  CHECK(t.read().empty());
  t.after(1s);
  t.skip();
  t.in("P. 1:6 ack 4294960000");
  t.out(". 11 ack 1");
  CHECK(t.read().empty());
}

// covers: 9293-E12
TEST_CASE("segment_without_ack_is_dropped") {
  script t;
  t.establish();
  t.in("P 1:6");
  t.quiet();
  CHECK(t.count(counter::drop_tcp_no_ack) == 1);
  CHECK(t.read().empty());
}

TEST_CASE("rst_in_each_closing_state_ends_quietly") {
  {
    script t;
    t.establish();
    t.shutdown();
    t.skip();
    t.in("R 1 win 0");
    CHECK(t.error() == std::errc::connection_reset);
  }
  {
    script t;
    t.establish();
    t.in("F. 1 ack 1");
    t.skip();
    t.in("R 2 win 0");
    CHECK(t.error() == std::errc::connection_reset);
    t.close();
    CHECK(t.h().memory_in_use() == 0);
  }
  {
    script t;
    t.establish();
    t.close();
    t.skip();
    t.in("R 1 win 0");
    t.quiet();
    CHECK(t.h().memory_in_use() == 0);
  }
}

TEST_CASE("id_of_a_closed_socket_is_refused_after_reuse") {
  script t;
  t.establish();
  const auto old = t.socket;
  t.h().abort(t.now(), t.socket);
  t.skip();
  t.peer_port = 40001;
  t.establish();
  CHECK(t.socket != old);
  CHECK(t.h().error(old) == std::errc::bad_file_descriptor);
  CHECK(t.h().peek(old).empty());
  t.h().close(t.now(), old);
  t.h().abort(t.now(), old);
  CHECK(t.state() == tcp_state::established);
}

// covers: 5681-1
TEST_CASE("the end of the stream needs a place in the window of its own") {
  for (const std::uint16_t window : {1000, 1001}) {
    CAPTURE(window);
    script t;
    t.establish("<mss 600>", window);
    CHECK_FALSE(t.h().set_cork(t.now(), t.socket, true));
    CHECK(t.send(1000u).value() == 1000);
    t.out(". 1:601 ack 1");
    t.shutdown();
    t.out(window == 1000 ? "P. 601:1001 ack 1" : "FP. 601:1001 ack 1");
    t.quiet();
    t.in(". 1 ack 601 win 1000");
    if (window == 1000) t.out("F. 1001 ack 1");
    t.quiet();
  }
}
