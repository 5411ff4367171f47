// What the random worlds and the fuzzers found, each as the shortest script that shows it.
#include <doctest/doctest.h>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

namespace {

std::size_t connections(script& t) {
  std::size_t n = 0;
  t.h().for_each_connection([&](const tcp_info&) { ++n; });
  return n;
}

}  // namespace

// Worlds 20 and 59: the keep-alive's timer went on after close() and was taken for the end of the
// patience with an orphan.
TEST_CASE("a_keep_alive_armed_before_close_does_not_end_an_orphan_that_still_delivers") {
  host_options options;
  options.tcp.keep_alive = true;
  options.tcp.keep_alive_idle = 1s;
  script t(options);
  t.establish();
  REQUIRE(t.send(100));
  t.close();
  t.skip();
  t.in(". 1 ack 1 win 0");
  t.after(2500ms);
  CHECK(connections(t) == 1);
  t.in(". 1 ack 102");
  t.in("F. 1 ack 102");
  CHECK(t.count(counter::time_wait_entered) == 1);
  CHECK(t.count(counter::orphans_reaped) == 0);
}

// World 2131: without SACK and timestamps one acknowledgement covers what was sent again and what
// had waited behind it; the latter's age was taken for a round trip, and every later timeout lasted
// a minute and more (Karn; RFC 6298 3).
TEST_CASE("bytes_that_waited_behind_a_retransmission_say_nothing_about_the_round_trip") {
  script t;
  t.establish("<mss 1460>");
  REQUIRE(t.send(2920));
  t.in(". 1 ack 1");  // the second segment arrived, the first did not
  t.after(30s);
  t.in(". 1 ack 2921");
  CHECK(t.info().rtt < 1s);
  CHECK(t.info().rto < 1500ms);
}

// Worlds 57 and 204: with a small buffer the memory that bytes beyond a gap took kept out the bytes
// that would have filled it, for ever.
TEST_CASE("bytes_beyond_a_gap_give_way_to_those_that_fill_it") {
  host_options options;
  options.tcp.receive_buffer = 6000;
  // Room for one chunk and its note, and no more: here it is the host's memory that is full.
  options.limits.memory = 2700;
  script t(options);
  t.establish("<mss 1460>");
  t.in("P. 3001:4001 ack 1");
  CHECK(t.info().out_of_order == 1000);
  for (std::uint32_t at = 1; at < 5001; at += 1000) {
    t.in("P. " + std::to_string(at) + ":" + std::to_string(at + 1000) + " ack 1");
    CHECK(t.read() == script::stream(at - 1, at + 999));
  }
  CHECK(t.count(counter::drop_tcp_memory) > 0);
  CHECK(t.h().memory_in_use() == 0);
}

TEST_CASE("a_segment_beyond_a_gap_takes_no_larger_chunk_than_it_fills") {
  host_options options;
  options.tcp.receive_buffer = 6000;
  script t(options);
  t.establish("<mss 1460>");
  t.in("P. 3001:4449 ack 1");
  CHECK(t.info().out_of_order == 1448);
  CHECK(t.info().memory < 6000);
  t.in("P. 1:3001 ack 1");
  CHECK(t.read() == script::stream(0, 4448));
}
