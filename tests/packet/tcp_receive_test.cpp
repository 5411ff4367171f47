// Receiving: reassembly, windows, when to acknowledge, SACK and PAWS (TCP.md rows 27-41).
#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

namespace {

std::string data(std::uint32_t from, std::uint32_t to, const char* rest = " ack 1") {
  return "P. " + std::to_string(from) + ":" + std::to_string(to) + rest;
}

/// Lets the quick acknowledgements of a new connection run out.
std::uint32_t drain_quick(script& t, std::uint32_t at = 1) {
  for (int i = 0; i < 20; ++i) {
    t.in(data(at, at + 10));
    at += 10;
  }
  t.after(50ms);
  t.skip();
  (void)t.read();
  return at;
}

}  // namespace

// covers: SHLD-31, b27
TEST_CASE("all_120_orders_of_five_segments_give_the_same_bytes") {
  std::array<std::uint32_t, 5> order{0, 1, 2, 3, 4};
  do {
    script t;
    t.establish();
    for (auto i : order) t.in(data(1 + i * 100, 101 + i * 100));
    CHECK(t.read() == script::stream(0, 500));
    CHECK(t.info().out_of_order == 0);
    CHECK(t.h().memory_in_use() == 0);
  } while (std::next_permutation(order.begin(), order.end()));
}

// covers: b28
TEST_CASE("all_pairs_of_overlap_give_the_same_bytes") {
  for (std::uint32_t a = 0; a < 6; ++a)
    for (std::uint32_t b = a + 1; b <= 6; ++b)
      for (std::uint32_t c = 0; c < 6; ++c)
        for (std::uint32_t d = c + 1; d <= 6; ++d) {
          CAPTURE(a);
          CAPTURE(b);
          CAPTURE(c);
          CAPTURE(d);
          script t;
          t.establish();
          t.in(data(11 + a * 10, 11 + b * 10));
          t.in(data(11 + c * 10, 11 + d * 10));
          t.in(data(1, 71));
          CHECK(t.read() == script::stream(0, 70));
          CHECK(t.h().memory_in_use() == 0);
        }
}

// covers: b28
TEST_CASE("bytes_once_received_are_not_changed_by_a_later_overlap") {
  script t;
  t.establish();
  t.in_raw(t.packet("P. 6:11 ack 1", "right"));
  t.in_raw(t.packet("P. 6:11 ack 1", "WRONG"));
  t.in_raw(t.packet("P. 1:6 ack 1", "first"));
  t.in_raw(t.packet("P. 1:11 ack 1", "WRONGWRONG"));
  t.flush();
  CHECK(t.read() == "firstright");
}

// covers: b32
TEST_CASE("sequence_wraps_at_2_to_the_32") {
  for (std::uint32_t isn : {0xffffffffu, 0xfffffffeu, 0xffffff00u, 0x7fffffffu, 0x7ffffff0u}) {
    CAPTURE(isn);
    script t;
    t.peer_isn = isn;
    t.establish();
    t.in(data(101, 201));
    t.in(data(201, 301));
    t.in(data(1, 101));
    t.skip();
    CHECK(t.read() == script::stream(0, 300));
    t.in("F. 301 ack 1");
    t.out(". 1 ack 302");
    CHECK(t.h().at_end(t.socket));
  }
}

// covers: b32
TEST_CASE("sequence_wraps_at_2_to_the_32_while_sending_too") {
  for (const std::uint32_t before : {0u, 1u, 2u, 1000u, 5000u}) {
    CAPTURE(before);
    script t;
    // The initial number follows the clock: wait until it is about to wrap.
    const auto open = [&] {
      return *t.h().connect(t.now(), {t.them, t.peer_port}, {t.us, 5000}, {});
    };
    const auto first = open();
    const auto isn = t.take().sequence;
    t.h().abort(t.now(), first);
    t.after(duration(4096) * (0xffffffffu - isn - before));
    t.socket = open();
    t.local_port = 5000;
    const auto syn = t.take();
    CHECK(0xffffffffu - syn.sequence <= before + 1);
    t.in("S. 0 ack 1 <mss 1000,sackOK>");
    t.skip();
    CHECK(t.send(9000u).value() == 9000);
    for (std::uint32_t at = 1; at < 9001; at += 1000)
      t.out_payload(". " + std::to_string(at) + ":" + std::to_string(at + 1000) + " ack 1",
                    script::stream(at - 1, at + 999));
    // The third is lost; the rest is reported, and it comes again.
    t.in(". 1 ack 2001 <sack 3001:9001>");
    t.after(60ms);
    t.out(". 2001:3001 ack 1");
    t.in(". 1 ack 9001");
    CHECK(t.info().unacknowledged == 0);
    t.shutdown();
    t.out("F. 9001 ack 1");
    t.in("F. 1 ack 9002");
    t.out(". 9002 ack 2");
    CHECK(t.state() == tcp_state::time_wait);
    CHECK(t.info().timeouts == 0);
  }
}

// covers: 9293-E7, b29
TEST_CASE("out_of_window_data_gets_an_ack") {
  script t;
  t.establish();
  t.in(data(200001, 200011));
  t.out(". 1 ack 1");
  t.quiet();
  CHECK(t.count(counter::drop_tcp_out_of_window) == 1);
}

TEST_CASE("unacceptable_data_is_a_duplicate_only_where_all_of_it_came_before") {
  host_options o;
  o.tcp.receive_buffer = 4000;
  struct arriving {
    std::uint32_t from, to;
    bool old;
  };
  // The window is closed at 4001.
  for (const auto [from, to, old] : {arriving{1, 1001, true},
                                     {3001, 4001, true},
                                     {4000, 4001, true},
                                     {4001, 4002, false},
                                     {4001, 5001, false},
                                     {4501, 5501, false}}) {
    CAPTURE(from);
    CAPTURE(to);
    script t(o);
    t.establish("<mss 1000,sackOK>");
    for (std::uint32_t at = 1; at < 4001; at += 1000) t.in(data(at, at + 1000));
    t.skip();
    REQUIRE(t.info().receive_window == 0);
    t.in(data(from, to));
    CHECK(t.count(counter::drop_tcp_old_duplicate) == (old ? 1 : 0));
    CHECK(t.count(counter::drop_tcp_out_of_window) == (old ? 0 : 1));
    const auto answer = t.take();
    CHECK(answer.options.sack_count == (old ? 1 : 0));
    t.quiet();
  }
}

// covers: b30, b31
TEST_CASE("an end that the window cuts off is no end yet") {
  for (const bool first : {true, false}) {
    CAPTURE(first);
    host_options o;
    o.tcp.receive_buffer = 5000;
    script t(o);
    t.establish();
    if (!first) t.in(data(1, 2001));
    // All but its last bytes fit: the FIN stands behind those.
    const std::uint32_t from = first ? 1 : 1001;
    t.in("F. " + std::to_string(from) + ":6001 ack 1");
    CHECK(t.state() == tcp_state::established);
    CHECK(t.read() == script::stream(0, 5000));
    CHECK_FALSE(t.h().at_end(t.socket));
    // The peer went on instead: what it had called its end was never there.
    t.skip();
    t.in(data(5001, 6001));
    t.in(data(6001, 6101));
    CHECK(t.read() == script::stream(5000, 6100));
    CHECK(t.state() == tcp_state::established);
    t.in("F. 6101 ack 1");
    CHECK(t.state() == tcp_state::close_wait);
    CHECK(t.h().at_end(t.socket));
  }
}

// covers: b30
TEST_CASE("partial_overlap_with_the_window_is_trimmed") {
  host_options o;
  o.tcp.receive_buffer = 1000;
  script t(o);
  t.establish();
  t.in(data(1, 801));
  t.in(data(701, 1301));  // old on the left, beyond the window on the right
  t.skip();
  CHECK(t.read() == script::stream(0, 1000));
  CHECK(t.h().memory_in_use() == 0);
}

// covers: SHLD-14, b33
TEST_CASE("right_window_edge_never_moves_left") {
  host_options o;
  o.tcp.receive_buffer = 20000;
  script t(o);
  t.establish();
  std::uint32_t edge = 0, at = 1;
  bool reading = false;
  for (int i = 0; i < 200; ++i) {
    const auto room = t.info().receive_window;
    const auto n = std::min<std::uint32_t>(room, 137);
    if (n > 0) {
      t.in(data(at, at + n));
      at += n;
    }
    if (i % 50 == 25) reading = !reading;
    if (reading) (void)t.read_some(90);
    t.after(50ms);
    while (t.sent() > 0) {
      const auto s = t.take();
      const auto right = s.acknowledgment - t.peer_isn + s.window;
      CHECK(right >= edge);
      edge = right;
    }
  }
}

// covers: SHLD-14, b33
TEST_CASE("right_window_edge_never_moves_left_by_scaling_either") {
  for (const std::uint32_t size : {1u, 3u, 127u, 128u, 137u, 1000u}) {
    CAPTURE(size);
    host_options o;
    o.tcp.receive_buffer = 100'000;  // a shift of one: odd windows cannot be told
    script t(o);
    t.establish("<mss 1460,wscale 0>");
    const auto shift = t.info().receive_window_shift;
    REQUIRE(shift >= 1);
    std::uint32_t edge = 0, at = 1;
    for (int i = 0; i < 1500; ++i) {
      const auto n = std::min(t.info().receive_window, size);
      if (n == 0) {
        (void)t.read_some(40'000);
      } else {
        t.in(data(at, at + n));
        at += n;
      }
      if (i % 7 == 0) (void)t.read_some(size / 2 + 1);
      t.after(50ms);
      while (t.sent() > 0) {
        const auto s = t.take();
        const auto right = s.acknowledgment - t.peer_isn + (std::uint32_t{s.window} << shift);
        // RFC 7323 2.4: what the shift cannot say may be lost, less than one unit.
        CHECK(right + (1u << shift) > edge);
        edge = std::max(edge, right);
      }
    }
  }
}

// covers: SHLD-14, b33
TEST_CASE("right_window_edge_does_not_move_at_all_by_scaling_while_there_is_room") {
  // Shifts of 1, 4, 7 and 10: a window that is no multiple of the unit is rounded up, not down.
  for (const std::uint32_t buffer : {100'000u, 1'000'000u, 8'000'000u, 60'000'000u}) {
    for (const std::uint32_t size : {1u, 3u, 127u, 128u, 137u, 1000u}) {
      CAPTURE(buffer);
      CAPTURE(size);
      host_options o;
      o.limits.memory = 1u << 30;
      o.tcp.receive_buffer = buffer;
      script t(o);
      t.establish("<mss 1460,wscale 0>");
      const auto shift = t.info().receive_window_shift;
      REQUIRE(shift >= 1);
      std::uint32_t edge = 0, at = 1;
      for (int i = 0; i < 40; ++i) {
        t.in(data(at, at + size));
        at += size;
        if (i % 7 == 0) (void)t.read_some(size / 2 + 1);
        t.after(50ms);
        while (t.sent() > 0) {
          const auto s = t.take();
          const auto right = s.acknowledgment - t.peer_isn + (std::uint32_t{s.window} << shift);
          CHECK(right >= edge);
          edge = right;
        }
      }
    }
  }
}

// covers: b34
TEST_CASE("each_way_of_reading_opens_a_closed_window_with_one_update") {
  for (const std::string way : {"copy", "look", "lend"})
    for (const std::uint32_t most : {4000u, 1460u}) {
      CAPTURE(way);
      CAPTURE(most);
      host_options o;
      o.tcp.receive_buffer = 4000;
      script t(o);
      t.establish();
      for (std::uint32_t at = 1; at < 4001; at += 1000) t.in(data(at, at + 1000));
      t.skip();
      REQUIRE(t.info().receive_window == 0);
      std::uint32_t taken = 0;
      std::vector<lent_chunk> held;
      while (taken < most) {
        if (way == "copy") {
          taken += static_cast<std::uint32_t>(t.read_some(most - taken));
        } else if (way == "look") {
          const auto n = std::min<std::size_t>(t.h().peek(t.socket).size(), most - taken);
          t.h().consume(t.now(), t.socket, n);
          taken += static_cast<std::uint32_t>(n);
        } else {
          held.push_back(t.h().lend(t.now(), t.socket).value());
          taken += held.back().size;
        }
      }
      for (const auto& one : held) t.h().release(t.now(), one);
      REQUIRE(t.sent() >= 1);
      auto s = t.take();
      CHECK(s.payload.empty());
      CHECK(s.acknowledgment - t.peer_isn == 4001);
      CHECK(s.window >= 1460);
      for (auto last = s.window; t.sent() > 0; last = s.window) {
        s = t.take();
        CHECK(s.window >= 2 * last);  // a further one says so much more
      }
      CHECK(s.window <= std::max(taken, most));
    }
}

// covers: b34
TEST_CASE("read_that_reopens_a_closed_window_sends_an_update") {
  host_options o;
  o.tcp.receive_buffer = 4000;
  script t(o);
  t.establish();
  t.in(data(1, 1461));
  t.in(data(1461, 2921));
  t.in(data(2921, 4001));
  t.skip();
  CHECK(t.info().receive_window == 0);
  CHECK(t.read_some(4000) == 4000);
  t.out(". 1 ack 4001 win 4000");
  t.quiet();
}

// covers: MUST-39, b35
TEST_CASE("small_reads_send_no_small_updates") {
  host_options o;
  o.tcp.receive_buffer = 4000;
  script t(o);
  t.establish();
  t.in(data(1, 1461));
  t.in(data(1461, 2921));
  t.in(data(2921, 4001));
  t.skip();
  for (int i = 0; i < 100; ++i) {
    CHECK(t.read_some(10) == 10);
    t.quiet();
  }
  CHECK(t.read_some(1000) == 1000);
  CHECK(t.take().window >= 1460);
}

// covers: MUST-39, b35
TEST_CASE("small_reads_open_no_small_window_on_other_acknowledgements_either") {
  host_options o;
  o.tcp.receive_buffer = 4000;
  script t(o);
  t.establish();
  t.in(data(1, 1461));
  t.in(data(1461, 2921));
  t.in(data(2921, 4001));
  t.skip();
  // The peer probes while the reader takes ten bytes at a time: closed until a segment fits.
  for (int i = 1; i < 146; ++i) {
    CHECK(t.read_some(10) == 10);
    t.in(data(4001, 4002));
    t.out(". 1 ack 4001 win 0");
    t.quiet();
  }
  CHECK(t.read_some(10) == 10);
  t.skip();
  t.in(data(4001, 4002));
  CHECK(t.info().receive_window >= 1459);
}

// covers: MUST-40, SHLD-18
// covers: 5681-17
TEST_CASE("quick_acks_first_then_delayed_up_to_40_ms") {
  script t;
  t.establish();
  t.in(data(1, 11));
  t.out(". 1 ack 11");
  const auto at = drain_quick(t, 11);
  t.in(data(at, at + 10));
  t.quiet();
  const auto took = t.until_sent();
  CHECK(took >= 40ms);
  CHECK(took < 41ms);
  t.out(". 1 ack " + std::to_string(at + 10));
}

TEST_CASE("the window grows for a reader that takes it in a round trip, not for one that is slow") {
  script t;
  t.establish("<mss 1000,wscale 7>");
  CHECK(t.send(10u).value() == 10);
  t.after(100ms);
  t.in(". 1 ack 11");  // the round trip
  REQUIRE(t.info().rtt == 100ms);
  const auto limit = t.info().receive_limit;
  REQUIRE(limit == 65536);
  std::uint32_t at = 1;
  const auto fill = [&] {
    while (t.info().receive_window >= 1000) {
      t.in(data(at, at + 1000, " ack 11"));
      at += 1000;
    }
    t.skip();
  };
  // Not quite half of it in a round trip, in small bites.
  for (int i = 0; i < 60; ++i) {
    fill();
    for (int k = 0; k < 20; ++k) {
      (void)t.read_some(limit * 15 / 16 / 20);
      t.after(10ms);
    }
    CHECK(t.info().receive_limit == limit);
    CHECK(t.info().receive_window <= limit);
  }
  // Three quarters in each: it grows, and goes on to.
  for (int i = 0; i < 3; ++i) {
    const auto before = t.info().receive_limit;
    for (int k = 0; k < 20; ++k) {
      fill();
      (void)t.read_some(before * 3 / 4 / 20);
      t.after(5ms);
    }
    fill();
    (void)t.read_some(1);
    CHECK(t.info().receive_limit > before);
  }
}

TEST_CASE("a_read_that_lets_the_window_grow_tells_of_all_of_it_at_once") {
  for (const std::string way : {"copy", "look", "lend"}) {
    CAPTURE(way);
    script t;
    t.establish("<mss 1460,wscale 7>");
    t.in(data(1, 40'001));  // in one chunk: it is read at once in each way
    t.after(100ms);
    t.skip();
    if (way == "copy") {
      CHECK(t.read_some(40'000) == 40'000);
    } else if (way == "look") {
      REQUIRE(t.h().peek(t.socket).size() == 40'000);
      t.h().consume(t.now(), t.socket, 40'000);
    } else {
      const auto held = t.h().lend(t.now(), t.socket).value();
      CHECK(held.size == 40'000);
      t.h().release(t.now(), held);
    }
    const auto limit = t.info().receive_limit;
    CHECK(limit > 80'000);
    CHECK(t.take().window == limit >> 7);
    t.quiet();
  }
}

// covers: MUST-40
TEST_CASE(
    "the delayed acknowledgement is due 40 ms after the data, whatever is asked of us meanwhile") {
  script t;
  t.establish();
  const auto at = drain_quick(t);
  t.in(". " + std::to_string(at) + " ack 1 win 0");
  CHECK(t.send(10u).value() == 10);
  t.skip();
  t.in(data(at, at + 10, " ack 1 win 0"));
  const auto begin = t.now();
  // Nothing of it can be sent, or carries an acknowledgement.
  for (int i = 0; i < 7; ++i) {
    t.after(5ms);
    CHECK(t.send(10u).value() == 10);
    t.in("R " + std::to_string(at + 100'000'000));
    t.in(". " + std::to_string(at + 10) + " ack 1 win 0");
    t.flush();
    t.quiet();
  }
  (void)t.until_sent(5s);
  CHECK(t.now() - begin >= 40ms);
  CHECK(t.now() - begin < 41ms);
  t.out(". 1 ack " + std::to_string(at + 10));
}

// covers: SHLD-19, b36
// covers: 5681-17
TEST_CASE("ack_at_least_every_second_mss") {
  script t;
  t.establish();
  const auto at = drain_quick(t);
  t.in(data(at, at + 1460));
  t.quiet();
  t.in(data(at + 1460, at + 2920));
  t.out(". 1 ack " + std::to_string(at + 2920));
}

TEST_CASE("a segment larger than any before is one full segment, not two") {
  // The second time with a flag that the short cut does not take.
  for (const std::string flags : {"P. ", "PU. "}) {
    CAPTURE(flags);
    script t;
    t.establish("<mss 536>");  // what the peer takes; it sends as much as we take
    const auto at = drain_quick(t);
    const auto segment = [&](std::uint32_t from, std::uint32_t to) {
      return flags + std::to_string(from) + ":" + std::to_string(to) + " ack 1";
    };
    t.in(segment(at, at + 1460));
    t.quiet();
    t.in(segment(at + 1460, at + 1461));
    t.out(". 1 ack " + std::to_string(at + 1461));
    t.in(segment(at + 1461, at + 2461));  // from now on less than a full one
    t.quiet();
    t.after(50ms);
    t.out(". 1 ack " + std::to_string(at + 2461));
  }
}

// covers: b36
TEST_CASE("super_segment_counts_as_the_segments_it_carries") {
  script t;
  t.establish();
  const auto at = drain_quick(t);
  receive_meta meta;
  meta.checksum_good = true;
  meta.gso_size = 500;
  t.h().input(t.now(), t.packet(data(at, at + 1000)), meta);
  t.flush();
  t.out(". 1 ack " + std::to_string(at + 1000));
}

// covers: MUST-58, MUST-59
TEST_CASE("one_ack_for_a_batch_of_segments") {
  script t;
  t.establish();
  t.in_batch({data(1, 101), data(101, 201), data(201, 301), data(301, 401)});
  t.out(". 1 ack 401");
  t.quiet();
}

TEST_CASE("reply_carries_the_acknowledgement") {
  script t;
  t.establish();
  t.arrive(data(1, 101));
  CHECK(t.read().size() == 100);
  CHECK(t.send(100u).value() == 100);
  t.flush();
  t.out("P. 1:101 ack 101");
  t.quiet();
  t.after(1ms);
  t.quiet();
}

// covers: b37, 5681-12, MUST-58
TEST_CASE("immediate_ack_on_each_part_of_a_gap_that_is_filled_and_one_for_a_batch") {
  script t;
  t.establish();
  const auto at = drain_quick(t);
  const auto acked = [&](std::uint32_t n) { t.out(". 1 ack " + std::to_string(at + n)); };
  t.in(data(at + 300, at + 400));
  acked(0);
  t.in(data(at + 100, at + 150));  // in the middle of the gap
  acked(0);
  t.in(data(at + 250, at + 300));  // at its far end
  acked(0);
  t.in(data(at + 150, at + 200));  // behind the middle
  acked(0);
  t.in(data(at, at + 100));  // its front: up to the next gap
  acked(200);
  t.in(data(at + 200, at + 240));  // a part, in order, and a gap remains
  acked(240);
  t.in_batch({data(at + 500, at + 600), data(at + 240, at + 250)});
  acked(400);
  t.quiet();
  t.in(data(at + 400, at + 500));
  acked(600);
  t.in(data(at + 600, at + 610));  // all is filled: delayed again
  t.quiet();
}

// covers: b37
// covers: 5681-12
TEST_CASE("immediate_ack_on_a_gap_and_on_its_filling") {
  script t;
  t.establish();
  const auto at = drain_quick(t);
  t.in(data(at + 100, at + 200));
  t.out(". 1 ack " + std::to_string(at));
  t.in(data(at + 200, at + 300));
  t.out(". 1 ack " + std::to_string(at));
  t.in(data(at, at + 50));
  t.out(". 1 ack " + std::to_string(at + 50));
  t.in(data(at + 50, at + 100));
  t.out(". 1 ack " + std::to_string(at + 300));
}

// covers: b38
// covers: 2018-4
TEST_CASE("sack_newest_block_comes_first") {
  script t;
  t.establish("<mss 1460,sackOK>");
  t.in(data(101, 201));
  t.out(". 1 ack 1 <sack 101:201>");
  t.in(data(301, 401));
  t.out(". 1 ack 1 <sack 301:401 101:201>");
  t.in(data(501, 601));
  t.out(". 1 ack 1 <sack 501:601 301:401 101:201>");
  t.in(data(201, 301));
  t.out(". 1 ack 1 <sack 101:401 501:601>");
  t.in(data(1, 101));
  t.out(". 1 ack 401 <sack 501:601>");
  t.in(data(401, 501));
  t.out(". 1 ack 601 <>");
}

TEST_CASE("sack_is_not_sent_without_permission") {
  script t;
  t.establish("<mss 1460>");
  t.in(data(101, 201));
  t.out(". 1 ack 1 <>");
}

// covers: b39
// covers: 2883-1
TEST_CASE("d_sack_is_reported_once") {
  script t;
  t.establish("<mss 1460,sackOK>");
  t.in(data(1, 101));
  t.skip();
  t.in(data(1, 101));
  t.out(". 1 ack 101 <sack 1:101>");
  t.in(data(201, 301));
  t.out(". 1 ack 101 <sack 201:301>");
  t.in(data(201, 301));  // a duplicate beyond a gap: inside the second block
  t.out(". 1 ack 101 <sack 201:301 201:301>");
}

// covers: b40
// covers: 7323-12, 7323-13
TEST_CASE("paws_drops_old_segments_and_acknowledges") {
  script t;
  t.establish("<mss 1460,TS 1000 0>");
  t.in("P. 1:11 ack 1 <TS 1001 0>");
  t.skip();
  t.in("P. 11:21 ack 1 <TS 1000 0>");
  t.out(". 1 ack 11 <TS 0 1001>");
  CHECK(t.count(counter::drop_tcp_paws) == 1);
  t.in("P. 11:21 ack 1 <TS 1001 0>");
  CHECK(t.read() == script::stream(0, 20));
  t.in("R 21 win 0 <TS 5 0>");  // never tested on a reset
  CHECK(t.error() == std::errc::connection_reset);
}

TEST_CASE("paws_does_not_distrust_after_24_days") {
  script t;
  t.establish("<mss 1460,TS 1000 0>");
  t.after(24h * 25);
  t.in("P. 1:11 ack 1 <TS 900 0>");
  CHECK(t.read() == script::stream(0, 10));
}

TEST_CASE("timestamp_echoed_is_that_of_the_earliest_unacknowledged_segment") {
  script t;
  t.establish("<mss 1460,TS 1000 0>");
  std::uint32_t at = 1;
  for (int i = 0; i < 20; ++i, at += 10) t.in(data(at, at + 10, " ack 1 <TS 1001 0>"));
  t.after(50ms);
  t.skip();
  t.arrive(data(at, at + 10, " ack 1 <TS 2000 0>"));
  t.arrive(data(at + 10, at + 20, " ack 1 <TS 2001 0>"));
  t.flush();
  t.after(50ms);
  t.out(". 1 ack " + std::to_string(at + 20) + " <TS 0 2000>");
}

// covers: b41
TEST_CASE("flood_of_one_byte_segments_stays_bounded_in_memory") {
  for (const bool descending : {false, true}) {
    CAPTURE(descending);
    host_options o;
    o.tcp.receive_buffer = 65535;
    script t(o);
    t.establish();
    // Every second byte of the whole window, each in a segment of its own; the first never comes.
    std::uint64_t peak = 0;
    for (std::uint32_t i = 0; i < 32000; ++i) {
      const auto at = descending ? 64001 - 2 * i : 3 + 2 * i;
      if (at < 2) break;
      t.arrive(data(at, at + 1));
      peak = std::max(peak, t.h().memory_in_use());
    }
    t.flush();
    t.skip();
    CHECK(peak <= 2 * 65535 + 64 * 1024);
    CHECK(t.info().memory <= 2 * 65535 + 64 * 1024);
    CHECK(t.count(counter::drop_tcp_memory) > 0);
    t.h().abort(t.now(), t.socket);
    CHECK(t.h().memory_in_use() == 0);
  }
}

TEST_CASE("in_order_one_byte_segments_share_chunks") {
  host_options o;
  o.tcp.receive_buffer = 65535;
  script t(o);
  t.establish();
  for (std::uint32_t i = 1; i <= 20000; ++i) t.arrive(data(i, i + 1));
  t.flush();
  CHECK(t.info().receive_queued == 20000);
  CHECK(t.info().memory < 4 * 20000);
  CHECK(t.read() == script::stream(0, 20000));
  CHECK(t.info().memory == 0);
}

TEST_CASE("idle_connection_owns_no_chunk") {
  script t;
  t.establish();
  t.in(data(1, 1001));
  CHECK(t.info().memory > 0);
  (void)t.read();
  CHECK(t.info().memory == 0);
  CHECK(t.send(100u).value() == 100);
  CHECK(t.info().memory > 0);
  t.in(". 1001 ack 101");
  CHECK(t.info().memory == 0);
}

TEST_CASE("host_memory_limit_drops_and_counts") {
  host_options o;
  o.limits.memory = 8192;
  script t(o);
  t.establish();
  std::uint32_t at = 1;
  for (int i = 0; i < 100; ++i, at += 1000) t.in(data(at, at + 1000));
  CHECK(t.h().memory_in_use() <= 8192);
  CHECK(t.count(counter::drop_tcp_memory) + t.count(counter::drop_tcp_out_of_window) > 0);
}

// covers: MUST-66, 9293-E8
TEST_CASE("zero_window_still_takes_acks_and_resets") {
  host_options o;
  o.tcp.receive_buffer = 1000;
  script t(o);
  t.establish();
  t.in(data(1, 1001));
  t.skip();
  CHECK(t.info().receive_window == 0);
  CHECK(t.send(10u).value() == 10);
  t.skip();
  t.in(". 1001 ack 11");
  CHECK(t.info().unacknowledged == 0);
  t.in("P. 1001:1002 ack 11");  // a window probe: answered, not taken
  t.out(". 11 ack 1001 win 0");
  t.in("R 1001 win 0");
  CHECK(t.error() == std::errc::connection_reset);
}

// covers: b55
TEST_CASE("two_zero_windows_do_not_exchange_pure_acks_for_ever") {
  host_options o;
  o.tcp.receive_buffer = 2000;
  two_hosts net({}, o, o);
  const auto l = *net.b().listen(at("10.0.0.2", 80), {});
  const auto a = *net.a().connect(net.now(), at("10.0.0.2", 80), {}, o.tcp);
  socket_id b = socket_id::none;
  REQUIRE(net.run_until([&] {
    if (auto got = net.b().accept(l)) b = *got;
    return b != socket_id::none;
  }));
  const std::string much(10000, 'x');
  (void)send_text(net.a(), net.now(), a, much);
  (void)send_text(net.b(), net.now(), b, much);
  net.run_for(10s);
  const auto before = net.packets();
  net.run_for(600s);
  CHECK(net.packets() - before < 200);  // probes and their answers only
  // And both come back to life.
  std::size_t at_a = 0, at_b = 0;
  net.application = [&] {
    at_a += receive_text(net.a(), net.now(), a).size();
    at_b += receive_text(net.b(), net.now(), b).size();
  };
  CHECK(net.run_until([&] { return at_a == 10000 && at_b == 10000; }, 600s));
}

TEST_CASE("readable_event_comes_at_the_edge") {
  script t;
  t.establish();
  t.in(data(1, 11));
  CHECK(any(t.events(), ready::readable));
  t.in(data(11, 21));
  CHECK_FALSE(any(t.events(), ready::readable));
  (void)t.read();
  t.in(data(21, 31));
  CHECK(any(t.events(), ready::readable));
}

TEST_CASE("peeked_bytes_stay_where_they_are_while_more_arrives") {
  script t;
  t.establish();
  t.in(data(1, 101));
  const auto head = t.h().peek(t.socket);
  REQUIRE(head.size() == 100);
  const std::string copy(reinterpret_cast<const char*>(head.data()), head.size());
  for (std::uint32_t i = 0; i < 50; ++i) t.in(data(101 + i * 1000, 1101 + i * 1000));
  CHECK(std::string(reinterpret_cast<const char*>(head.data()), head.size()) == copy);
  CHECK(t.h().peek(t.socket).data() == head.data());
}
