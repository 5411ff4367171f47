// Selective acknowledgements, given and taken (RFC 2018, 2883, 6675).
#include "packet/sending.hpp"

using namespace weir;
using namespace weir::test;

namespace {

std::string data(std::uint32_t from, std::uint32_t to, const std::string& rest = " ack 1") {
  return "P. " + r(from, to) + rest;
}

}  // namespace

// covers: 2018-1, 2018-2
TEST_CASE("SACK-permitted is sent with a SYN only and counts in a SYN only") {
  script t;
  t.connect();
  auto s = t.take();
  CHECK(s.options.sack_permitted);
  t.in("S. 0 ack 1 <mss 1460>");
  s = t.take();
  CHECK_FALSE(s.options.sack_permitted);
  t.in("P. 101:201 ack 1 <sackOK>");  // too late
  s = t.take();
  CHECK_FALSE(s.options.sack_permitted);
  CHECK(s.options.sack_count == 0);
  CHECK(t.send(100u).value() == 100);
  s = t.take();
  CHECK_FALSE(s.options.sack_permitted);
  t.shutdown();
  while (t.sent() > 0) CHECK_FALSE(t.take().options.sack_permitted);
  CHECK_FALSE(t.info().sack);
  script listener;
  listener.listen();
  listener.in("S 0 <mss 1460>");  // not offered: not answered
  listener.out("S. 0 ack 1 <mss 1460>");
}

// covers: 2018-3
TEST_CASE("every segment that leaves while a gap is open reports what lies beyond it") {
  script t;
  t.establish("<mss 1460,sackOK>");
  for (std::uint32_t i = 0; i < 5; ++i) {
    t.in(data(101 + i * 100, 201 + i * 100));  // one acknowledgement for each
    t.out(". 1 ack 1 <sack " + r(101, 201 + i * 100) + ">");
    t.quiet();
  }
  CHECK(t.send(10u).value() == 10);  // data reports it too
  t.out("P. 1:11 ack 1 <sack 101:601>");
  (void)t.until_sent();
  t.out("P. 1:11 ack 1 <sack 101:601>");
  t.shutdown();
  t.out("F. 11 ack 1 <sack 101:601>");
}

// covers: 2018-5, MUST-16
TEST_CASE("blocks leave room for data in the shortest segments") {
  for (const std::uint32_t mss : {64u, 66u, 67u, 68u, 75u, 76u, 1460u}) {
    CAPTURE(mss);
    script t;
    t.establish("<mss " + std::to_string(mss) + ",sackOK>");
    for (const auto from : {101u, 301u, 501u, 701u, 901u}) t.in(data(from, from + 100));
    t.skip();
    CHECK(t.send(3 * mss).value() == 3 * mss);
    // Two bytes of padding, the head and the blocks, and 32 bytes of data beside them at least.
    const std::uint32_t blocks = mss < 68 ? 3 : 4;
    for (std::uint32_t sent = 0; sent < 3 * mss;) {
      const auto s = t.take();
      CHECK(s.options.sack_count == blocks);
      const auto n = static_cast<std::uint32_t>(s.payload.size());
      CHECK(n == std::min(3 * mss - sent, mss - 4 - 8 * blocks));
      sent += n;
    }
    t.quiet();
    t.in(data(1101, 1201));
    CHECK(t.take().options.sack_count == 4);  // without data there is room for all
  }
}

// covers: 2018-4, 2018-5
TEST_CASE("the newest block first, then those reported before it, as many as fit") {
  for (const bool timestamps : {false, true}) {
    CAPTURE(timestamps);
    script t;
    t.establish(timestamps ? "<mss 1460,sackOK,TS 5 0>" : "<mss 1460,sackOK>");
    const std::string rest = timestamps ? " ack 1 <TS 6 0>" : " ack 1";
    // Not in the order of the stream.
    const std::uint32_t order[] = {901, 301, 701, 101, 501};
    std::vector<std::uint32_t> reported;
    for (const auto from : order) {
      CAPTURE(from);
      t.in(data(from, from + 100, rest));
      reported.insert(reported.begin(), from);
      const auto s = t.take();
      const std::size_t room = timestamps ? 3 : 4;
      REQUIRE(s.options.sack_count == std::min(room, reported.size()));
      for (std::size_t i = 0; i < s.options.sack_count; ++i)
        CHECK(s.options.sack[i].left - t.peer_isn == reported[i]);
    }
    // A block that grows comes first again, and needs no second place.
    t.in(data(301 + 100, 301 + 150, rest));
    const auto s = t.take();
    CHECK(s.options.sack[0].left - t.peer_isn == 301);
    CHECK(s.options.sack[0].right - t.peer_isn == 451);
    CHECK(s.options.sack[1].left - t.peer_isn == 501);
    CHECK(s.options.sack[2].left - t.peer_isn == 101);
    // The hole closes: what was delivered is no longer reported.
    t.in(data(1, 101, rest));
    CHECK(t.take().acknowledgment - t.peer_isn == 201);
  }
}

// covers: 2018-9
TEST_CASE("what could not be kept is not reported") {
  host_options o;
  o.tcp.receive_buffer = 65535;
  script t(o);
  t.establish("<mss 1460,sackOK>");
  // Every second byte: the bound on memory or on ranges is met long before the window is full.
  std::uint32_t at = 3;
  while (t.count(counter::drop_tcp_memory) == 0) {
    REQUIRE(at < 60000);
    t.arrive(data(at, at + 1));
    t.flush();
    t.skip();
    at += 2;
  }
  const auto held = t.info().out_of_order;
  CHECK(held > 100);
  t.in(data(at, at + 1));
  const auto s = t.take();
  std::uint32_t reported = 0;
  for (std::size_t i = 0; i < s.options.sack_count; ++i) {
    CHECK(s.options.sack[i].right - t.peer_isn <= at - 2);
    reported += s.options.sack[i].right - s.options.sack[i].left;
  }
  CHECK(reported <= held);
  CHECK(t.info().out_of_order == held);
}

// covers: 2018-9
TEST_CASE("what had to go to make room for what was missing is no longer reported") {
  host_options o;
  o.limits.memory = 1u << 20;
  script t(o);
  t.establish("<mss 1000,sackOK>");
  // Three blocks beyond a gap.
  for (const std::uint32_t block : {10'001u, 20'001u, 30'001u})
    for (std::uint32_t at = block; at < block + 4000; at += 1000) t.in(data(at, at + 1000));
  CHECK(t.info().out_of_order == 12'000);
  t.skip();
  // Then others use up the host's memory.
  const std::string piece(5000, 'x');
  std::vector<lent_chunk> kept;
  while (auto one = t.h().keep(bytes_of(piece), [](void*) noexcept {}, nullptr))
    kept.push_back(*one);
  for (std::uint32_t at = 1; at < 9001; at += 1000) {
    CAPTURE(at);
    t.in(data(at, at + 1000));
    (void)t.until_sent(1s);  // nothing beyond a gap any more: delayed
    const auto s = t.take();
    CHECK(s.acknowledgment - t.peer_isn == at + 1000);
    std::uint32_t reported = 0;
    for (std::size_t i = 0; i < s.options.sack_count; ++i)
      reported += s.options.sack[i].right - s.options.sack[i].left;
    CHECK(reported == t.info().out_of_order);
    (void)t.read();
    t.skip();
  }
  CHECK(t.count(counter::drop_tcp_memory) > 0);
  CHECK(t.info().out_of_order < 12'000);
  for (const auto& one : kept) t.h().release(t.now(), one);
}

// covers: 2883-1
TEST_CASE("a duplicate is reported first, once, also when it lies within a block") {
  script t;
  t.establish("<mss 1460,sackOK>");
  t.in(data(1, 501));
  t.skip();
  t.in(data(1, 301));  // below the acknowledgement
  t.out(". 1 ack 501 <sack 1:301>");
  t.in(data(1001, 1501));
  t.out(". 1 ack 501 <sack 1001:1501>");  // once
  t.in(data(2001, 2501));
  t.out(". 1 ack 501 <sack 2001:2501 1001:1501>");
  t.in(data(1101, 1201));  // inside the older block, which comes second
  t.out(". 1 ack 501 <sack 1101:1201 1001:1501 2001:2501>");
  t.in(data(301, 601));  // partly old, partly new
  t.out(". 1 ack 601 <sack 301:501 1001:1501 2001:2501>");
  t.in(data(601, 701));
  CHECK(t.take().options.sack[0].left - t.peer_isn != 301);
}

// covers: 2883-1
TEST_CASE("the part of a segment that was here already is reported, wherever it lies in it") {
  const auto with = [](std::initializer_list<std::pair<std::uint32_t, std::uint32_t>> segments) {
    script t;
    t.establish("<mss 1460,sackOK>");
    t.in(data(1, 1001));
    for (const auto& [from, to] : segments) {
      t.skip();
      t.in(data(from, to));
    }
    return t.describe(t.take());
  };
  const auto sack_of = [&](const std::string& text) { return text.substr(text.find('<')); };
  // The end of what is held (RFC 2883 4.2), its beginning, the middle, all of it.
  CHECK(sack_of(with({{3001, 4001}, {3501, 4501}})) == "< sack 3501:4001 3001:4501 >");
  CHECK(sack_of(with({{3001, 4001}, {2501, 3501}})) == "< sack 3001:3501 2501:4001 >");
  CHECK(sack_of(with({{3001, 3101}, {2501, 3501}})) == "< sack 3001:3101 2501:3501 >");
  CHECK(sack_of(with({{3001, 4001}, {3001, 4001}})) == "< sack 3001:4001 3001:4001 >");
  CHECK(sack_of(with({{3001, 4001}, {3201, 3301}})) == "< sack 3201:3301 3001:4001 >");
  // Two parts of it: the first. Others that are held stay reported.
  CHECK(sack_of(with({{3001, 3101}, {3301, 3401}, {2901, 3501}})) ==
        "< sack 3001:3101 2901:3501 >");
  CHECK(sack_of(with({{5001, 5101}, {3001, 4001}, {3501, 4501}})) ==
        "< sack 3501:4001 3001:4501 5001:5101 >");
  // In order, over what is held: below the acknowledgement then.
  CHECK(sack_of(with({{2001, 3001}, {1001, 2501}})) == "< sack 2001:2501 >");
  CHECK(sack_of(with({{2001, 3001}, {5001, 6001}, {1001, 3101}})) ==
        "< sack 2001:3001 5001:6001 >");
  // Old in front and held behind: the first of the two.
  CHECK(sack_of(with({{2001, 3001}, {501, 2501}})) == "< sack 501:1001 >");
  // Touching is no overlap.
  CHECK(sack_of(with({{3001, 4001}, {4001, 4501}})) == "< sack 3001:4501 >");
  CHECK(sack_of(with({{3001, 4001}, {2501, 3001}})) == "< sack 2501:4001 >");
}

// covers: 6675-2, 6675-5, 5681-13
TEST_CASE("recovery begins at the third report, halves the flight and ends beyond its first end") {
  script t(reno());
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(40000u).value() == 40000);
  CHECK(t.sent() == 10);
  t.skip();
  t.after(100ms);
  // Duplicates without any news in them let nothing out.
  for (int i = 0; i < 5; ++i) t.in(ack(at));
  t.quiet();
  CHECK(t.info().congestion_window == 10000);
  t.in(ack(at, {{at + 1000, at + 2000}}));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at + 10000});
  t.in(ack(at, {{at + 1000, at + 3000}}));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at + 11000});
  CHECK(t.info().congestion_window == 10000);
  CHECK(t.info().fast_retransmits == 0);
  t.in(ack(at, {{at + 1000, at + 4000}}));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at});
  CHECK(t.info().fast_retransmits == 1);
  CHECK(t.info().slow_start_threshold == 5000);  // of ten: what limited transmit sent is left out
  // Up to at + 12000 was out. Acknowledgements below it do not end it, nor does a new hole begin
  // another one.
  t.after(100ms);
  t.in(ack(at + 5000, {{at + 6000, at + 8000}}));
  CHECK(data_sent(t).front() == at + 5000);
  t.in(ack(at + 11000));
  CHECK(t.info().fast_retransmits == 1);
  CHECK(t.info().slow_start_threshold == 5000);
  (void)data_sent(t);
  t.in(ack(at + 12000));
  CHECK(t.info().congestion_window == 5000);
  CHECK(t.info().fast_retransmits == 1);
}

// covers: 6675-1, 9293-E14
TEST_CASE("a report beyond what was sent is ignored, up to its end it is not") {
  for (const bool beyond : {true, false}) {
    CAPTURE(beyond);
    script t;
    t.establish("<mss 1000,sackOK>");
    const auto at = warm_up(t);
    CHECK(t.send(5000u).value() == 5000);
    t.skip();
    t.after(100ms);
    t.in(ack(at, {{at + 1000, at + (beyond ? 5001 : 5000)}}));
    if (beyond) {
      t.quiet();
      CHECK(t.info().fast_retransmits == 0);
      // Beside a good one it hinders that no more than it helps.
      t.in(ack(at, {{at + 2000, at + 50'000}, {at + 1000, at + 5000}}));
    }
    CHECK(data_sent(t) == std::vector<std::uint32_t>{at});
    CHECK(t.info().fast_retransmits == 1);
  }
}

// covers: 6675-1, 6675-3
TEST_CASE("holes that are known to be lost go before new data, in order, each once") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(40000u).value() == 40000);
  t.skip();
  t.after(100ms);
  // The first, third and fifth are lost.
  t.in(ack(at, {{at + 5000, at + 8000}, {at + 3000, at + 4000}, {at + 1000, at + 2000}}));
  auto sent = data_sent(t);
  for (std::uint32_t end = at + 9000; end <= at + 10000; end += 1000) {
    t.in(ack(at, {{at + 5000, end}, {at + 3000, at + 4000}, {at + 1000, at + 2000}}));
    for (const auto from : data_sent(t)) sent.push_back(from);
  }
  REQUIRE(sent.size() >= 4);
  CHECK(sent[0] == at);
  CHECK(sent[1] == at + 2000);
  CHECK(sent[2] == at + 4000);
  for (std::size_t i = 3; i < sent.size(); ++i) CHECK(sent[i] == at + 10000 + (i - 3) * 1000);
}

// covers: 8985-4
TEST_CASE("what one acknowledgement reports together is not taken for reordering") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  t.after(100ms);
  // Two segments and, beyond a hole, one more: acknowledged at once by a receiver that batches.
  t.in(ack(at + 2000, {{at + 5000, at + 6000}, {at + 3000, at + 4000}}));
  t.in(ack(at + 2000, {{at + 5000, at + 7000}, {at + 3000, at + 4000}}));
  CHECK(data_sent(t).front() == at + 2000);  // three reported, no reordering seen: lost at once
}

// covers: 6675-3, 6675-1
TEST_CASE(
    "the last segment of a flight is found lost through the retransmission of an earlier one") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  t.after(100ms);
  // The first and the last are lost: nothing after the last one can report it.
  t.in(ack(at, {{at + 1000, at + 9000}}));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at});
  t.after(100ms);
  t.in(ack(at + 9000));
  CHECK(data_sent(t) == std::vector<std::uint32_t>{at + 9000});
  CHECK(t.info().timeouts == 0);
}

// covers: 2018-6, 6675-6
TEST_CASE("a timeout out of recovery ends it, and what was reported is not sent again") {
  script t(reno());
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(10000u).value() == 10000);
  t.skip();
  t.after(100ms);
  t.in(ack(at, {{at + 1000, at + 4000}, {at + 6000, at + 8000}}));
  t.skip();
  while (t.info().timeouts == 0) (void)t.after(10ms);
  CHECK(data_sent(t).back() == at);
  CHECK(t.info().congestion_window == 1000);
  const auto recoveries = t.info().fast_retransmits;
  // Up to at + 10000 no new recovery: duplicates and reports are of what the timeout lost.
  t.after(100ms);
  t.in(ack(at + 4000, {{at + 6000, at + 8000}}));
  std::vector<std::uint32_t> sent = data_sent(t);
  t.in(ack(at + 6000 + 2000));
  for (const auto from : data_sent(t)) sent.push_back(from);
  CHECK(sent == std::vector<std::uint32_t>{at + 4000, at + 5000, at + 8000, at + 9000});
  CHECK(t.info().fast_retransmits == recoveries);
  t.in(ack(at + 10000));
  CHECK(t.info().send_queued == 0);
}

// covers: 2018-7, 2018-8
TEST_CASE("a receiver that dropped what it had reported gets it again, left edge first") {
  script t;
  t.establish("<mss 1000,sackOK>");
  const auto at = warm_up(t);
  CHECK(t.send(4000u).value() == 4000);
  t.skip();
  t.after(100ms);
  t.in(ack(at, {{at + 1000, at + 4000}}));
  t.skip();
  t.after(100ms);
  t.in(ack(at + 1000));  // ... and no block: the three are gone
  CHECK(t.info().send_queued == 3000);
  t.skip();
  (void)t.until_sent();
  t.out_payload(". " + r(at + 1000, at + 2000) + " ack 1", script::stream(at + 999, at + 1999));
  CHECK(t.info().timeouts == 1);
  t.in(ack(at + 2000));
  t.out_payload(". " + r(at + 2000, at + 3000) + " ack 1", script::stream(at + 1999, at + 2999));
  t.out_payload("P. " + r(at + 3000, at + 4000) + " ack 1", script::stream(at + 2999, at + 3999));
}
