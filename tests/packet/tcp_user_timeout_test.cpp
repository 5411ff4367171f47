// The user timeout and its option (RFC 5482, RFC 9293 3.10.8).
#include <doctest/doctest.h>

#include "packet/script.hpp"
#include "stack/tcp/user_timeout.hpp"

using namespace weir;
using namespace weir::test;

namespace {

tcp_options with_option(duration own = {}) {
  tcp_options o;
  o.user_timeout_option = true;
  o.user_timeout = own;
  return o;
}
host_options host_with_option(duration own = {}) {
  host_options o;
  o.tcp = with_option(own);
  return o;
}

/// How long a connection lives whose data nobody answers; `limit` when it still lives.
duration life(script& t, duration limit) {
  CHECK(t.send(10u).value() == 10);
  const auto begin = t.now();
  while (t.now() - begin < limit && t.state() != tcp_state::closed) t.after(1s);
  t.skip();
  return t.now() - begin;
}

}  // namespace

// covers: 5482-1
TEST_CASE("user_timeout_is_encoded_in_seconds_or_minutes_and_never_as_zero") {
  CHECK(tcp::encode_user_timeout(0s) == 1);
  CHECK(tcp::encode_user_timeout(100s) == 100);
  CHECK(tcp::encode_user_timeout(1500ms) == 2);
  CHECK(tcp::encode_user_timeout(32767s) == 0x7fff);
  CHECK(tcp::encode_user_timeout(32768s) == (0x8000 | 547));
  CHECK(tcp::encode_user_timeout(24h * 365) == 0xffff);
  CHECK(tcp::decode_user_timeout(0x8000 | 5) == 5min);
  CHECK(tcp::decode_user_timeout(300) == 300s);
  CHECK(tcp::decode_user_timeout(0x8000).count() == 0);
}

// covers: 5482-1
TEST_CASE("user_timeout_option_is_sent_only_where_enabled_on_the_syn_and_once_more") {
  script plain;
  plain.connect();
  CHECK_FALSE(plain.take().options.user_timeout);

  script t;
  t.connect(with_option(200s));
  CHECK(t.take().options.user_timeout == 200);
  t.in("S. 0 ack 1 <mss 1460>");
  CHECK(t.take().options.user_timeout == 200);
  CHECK(t.send(10u).value() == 10);
  CHECK_FALSE(t.take().options.user_timeout);
  // A new value is told.
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, with_option(400s)));
  CHECK(t.send(10u).value() == 10);
  CHECK(t.take().options.user_timeout == 400);
  // Another option is nothing new; this one switched off and on again is.
  auto other = with_option(400s);
  other.keep_alive = true;
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, other));
  CHECK(t.send(10u).value() == 10);
  CHECK_FALSE(t.take().options.user_timeout);
  other.user_timeout_option = false;
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, other));
  CHECK(t.send(10u).value() == 10);
  CHECK_FALSE(t.take().options.user_timeout);
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, with_option(400s)));
  CHECK(t.send(10u).value() == 10);
  CHECK(t.take().options.user_timeout == 400);
}

// covers: 5482-1
TEST_CASE("user_timeout_option_never_makes_a_segment_too_long") {
  script t(host_with_option());
  t.establish("<mss 1000>");
  CHECK(t.send(3000u).value() == 3000);
  for (int i = 0; i < 3; ++i) {
    const auto s = t.take();
    CHECK(s.payload.size() == 1000);
    CHECK_FALSE(s.options.user_timeout);
  }
  t.in("P. 1:11 ack 3001");
  CHECK(t.take().options.user_timeout == 300);  // RFC 793's five minutes
}

// covers: 5482-1
TEST_CASE("user_timeout_option_is_ignored_unless_enabled_and_if_reserved") {
  script t;
  t.establish();
  t.in("P. 1:11 ack 1 <uto 200>");
  CHECK(t.info().user_timeout.count() == 0);
  script u(host_with_option());
  u.establish();
  u.in("P. 1:11 ack 1 <uto 0>");
  CHECK(u.info().user_timeout.count() == 0);
  u.in("P. 11:21 ack 1 <uto 32768>");
  CHECK(u.info().user_timeout.count() == 0);
}

// covers: 5482-2
TEST_CASE("user_timeout_is_adopted_within_its_limits") {
  const auto adopted = [](std::uint16_t raw) {
    script t(host_with_option());
    t.establish();
    t.in("P. 1:11 ack 1 <uto " + std::to_string(raw) + ">");
    return t.info().user_timeout;
  };
  CHECK(adopted(5) == 300s);                         // ours, announced, is longer
  CHECK(adopted(600) == 600s);                       // the peer's is longer
  CHECK(adopted(0x8000 | 0x7fff) == 24h);            // U_LIMIT
  CHECK(tcp::adopted_user_timeout(1s, 2s) == 100s);  // L_LIMIT (SHLD-11)
  script t(host_with_option());
  t.establish();
  t.in("P. 1:11 ack 1 <uto 400>");
  t.skip();
  const auto lived = life(t, 1h);
  CHECK(lived >= 400s);
  CHECK(lived <= 402s);
  CHECK(t.error() == std::errc::timed_out);
}

// covers: 5482-3, MUST-21
TEST_CASE("user_timeout_that_the_application_set_wins") {
  script t(host_with_option(150s));
  t.establish();
  t.in("P. 1:11 ack 1 <uto 4000>");
  t.skip();
  CHECK(t.info().user_timeout == 150s);
  const auto lived = life(t, 1h);
  CHECK(lived >= 150s);
  CHECK(lived <= 152s);
}

// covers: 5482-4
TEST_CASE("keep_alive_waits_longer_than_an_adopted_user_timeout") {
  auto o = host_with_option();
  o.tcp.keep_alive = true;
  o.tcp.keep_alive_idle = 120s;
  script t(o);
  t.establish();
  t.in("P. 1:11 ack 1 <uto 600>");
  t.skip();
  CHECK(t.read().size() == 10);
  t.skip();
  CHECK(t.until_sent(1h) > 600s);
  t.out(". 0 ack 11");
}

// covers: 5482-4
TEST_CASE("user_timeout_that_never_arrives_changes_nothing_and_one_on_the_syn_waits_for_the_rest") {
  // Enabled on our side only: retransmissions are counted as ever.
  script t(host_with_option());
  t.establish();
  CHECK(t.info().user_timeout.count() == 0);
  CHECK(life(t, 800s) >= 800s);
  // While the connection opens, the SYN's own retries decide.
  script u;
  auto o = with_option();
  u.connect(o);
  u.out("S 0");
  u.in("S. 0 ack 1 <mss 1460 uto 500>");
  CHECK(u.info().user_timeout == 500s);
  CHECK(u.state() == tcp_state::established);
}

// covers: 9293-E20
TEST_CASE("user_timeout_flushes_the_queues_and_is_told_once") {
  script t(host_with_option(110s));
  t.establish();
  CHECK(life(t, 200s) <= 112s);
  CHECK(any(t.events(), ready::failed));
  CHECK(t.info().send_queued == 0);
  CHECK(t.info().memory == 0);
  CHECK(send_text(t.h(), t.now(), t.socket, "x").error() == std::errc::timed_out);
}

// --- Peers that do not read.

namespace {

/// Answers every probe with a closed window; how long the connection lived.
duration starve(script& t, std::uint32_t acked, duration most) {
  const auto from = t.now();
  while (!t.error() && t.now() - from < most) {
    (void)t.until_sent(1s);
    if (t.error() || t.sent() == 0) continue;
    t.skip();
    t.in(". 1 ack " + std::to_string(acked) + " win 0");
  }
  return t.now() - from;
}

host_options with_timeout(duration limit) {
  host_options o;
  o.tcp.user_timeout = limit;
  return o;
}

}  // namespace

TEST_CASE("a peer that answers probes and never reads is given up after the user timeout") {
  script t(with_timeout(30s));
  t.establish("<mss 1460>", 1000);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  t.in(". 1 ack 1001 win 0");
  const auto lived = starve(t, 1001, 10min);
  CHECK(lived >= 29s);
  CHECK(lived <= 32s);
  CHECK(t.error() == std::errc::timed_out);
  CHECK(t.count(counter::user_timeouts) == 1);
  CHECK(t.info().send_queued == 0);
  CHECK(t.info().memory == 0);
  t.skip();
  t.in(". 1 ack 1001 win 5000");  // too late
  CHECK(t.take().has(wire::rst));
}

TEST_CASE("a reader that takes something in time is slow, not gone") {
  script t(with_timeout(30s));
  t.establish("<mss 1460>", 1000);
  CHECK(t.send(20'000u).value() == 20'000);
  t.skip();
  std::uint32_t at = 1;
  for (int i = 0; i < 10; ++i) {
    at += 1000;
    t.in(". 1 ack " + std::to_string(at) + " win 0");
    CHECK(starve(t, at, 20s) >= 20s);
    REQUIRE_FALSE(t.error());
    t.skip();
    t.in(". 1 ack " + std::to_string(at) + " win 1000");
    if (t.sent() == 0) (void)t.until_sent(300s);
    t.skip();
  }
  CHECK(t.state() == tcp_state::established);
}

TEST_CASE(
    "what is written to a peer that has been full for long gets the user timeout of its own") {
  script t(with_timeout(30s));
  t.establish("<mss 1460>", 1000);
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  t.in(". 1 ack 1001 win 0");
  t.after(5min);  // nothing waits: no reason to end
  CHECK_FALSE(t.error());
  CHECK(t.send(10u).value() == 10);
  CHECK(starve(t, 1001, 10min) >= 29s);
  CHECK(t.error() == std::errc::timed_out);
}

// covers: 9293-E20
TEST_CASE("the end of a stream gets the user timeout of its own, however long nothing was sent") {
  for (const bool passive : {false, true})
    for (const bool given_up : {false, true})
      for (const bool shut : {false, true}) {
        CAPTURE(passive);
        CAPTURE(given_up);
        CAPTURE(shut);
        script t(with_timeout(5s));
        t.establish("<mss 1460>");
        if (passive) t.in("F. 1 ack 1");
        if (shut) t.in((passive ? ". 2" : ". 1") + std::string(" ack 1 win 0"));
        t.after(10s);
        t.skip();
        const auto begin = t.now();
        if (given_up)
          t.close();
        else
          t.shutdown();
        while (t.count(counter::user_timeouts) == 0 && t.now() - begin < 60s) t.after(10ms);
        CHECK(t.now() - begin >= 5s);
        CHECK(t.now() - begin <= 5020ms);
      }
}

// covers: SHLD-17
TEST_CASE("the user timeout ends it too where the window was shut over data that is out") {
  script t(with_timeout(30s));
  t.establish("<mss 1000>", 5000);
  CHECK(t.send(5000u).value() == 5000);
  t.skip();
  t.in(". 1 ack 1001 win 0");
  const auto lived = starve(t, 1001, 10min);
  CHECK(lived >= 29s);
  CHECK(lived <= 60s);
  CHECK(t.error() == std::errc::timed_out);
}

// covers: MUST-37
TEST_CASE("a user timeout that was adopted from the peer does not end what answers its probes") {
  script t(host_with_option());
  t.establish("<mss 1460,uto 101>", 1000);
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  t.in(". 1 ack 1001 win 0");
  CHECK(starve(t, 1001, 1h) >= 1h);
  CHECK_FALSE(t.error());
}
