// Blind attacks (RFC 5961): what a stranger who guesses numbers can do, which is next to nothing.
#include "packet/sending.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// Brings a connection into each synchronized state. False: no more states.
bool enter(script& t, int which) {
  t.establish("<mss 1460>");
  switch (which) {
    case 0: return true;
    case 1: t.shutdown(); break;  // FIN-WAIT-1
    case 2:
      t.shutdown();
      t.in(". 1 ack 2");  // FIN-WAIT-2
      break;
    case 3: t.in("F. 1 ack 1"); break;  // CLOSE-WAIT
    case 4:
      t.shutdown();
      t.in("F. 1 ack 1");  // CLOSING
      break;
    case 5:
      t.in("F. 1 ack 1");
      t.shutdown();  // LAST-ACK
      break;
    default: return false;
  }
  t.skip();
  return true;
}
/// RCV.NXT in that state.
std::uint32_t next_expected(int which) { return which >= 3 ? 2 : 1; }
std::uint32_t next_sent(int which) { return which == 0 || which == 3 ? 1 : 2; }

}  // namespace

// covers: 5961-1, 5961-2, 5961-3
TEST_CASE("in each state: outside the window silence, inside a challenge, exactly an end") {
  for (int which = 0;; ++which) {
    CAPTURE(which);
    script t;
    if (!enter(t, which)) break;
    const auto state = t.state();
    const auto expected = next_expected(which);
    t.in("R " + std::to_string(expected + 70000) + " win 0");
    t.in("R " + std::to_string(expected - 1) + " win 0");
    t.in("R. " + std::to_string(expected + 70000) + " ack 1 win 0");
    t.quiet();
    CHECK(t.state() == state);
    t.in("R " + std::to_string(expected + 1) + " win 0");
    t.out(". " + std::to_string(next_sent(which)) + " ack " + std::to_string(expected));
    t.quiet();
    CHECK(t.state() == state);
    t.in("R " + std::to_string(expected) + " win 0");
    t.quiet();
    CHECK(t.state() == tcp_state::closed);
  }
}

// covers: 5961-4
TEST_CASE("an opening connection believes only a reset that acknowledges its SYN") {
  script t;
  t.connect();
  t.out("S 0");
  t.in("R 0 win 0");
  t.in("R 1 win 0");
  t.in("R. 0 ack 0 win 0");
  t.in("R. 0 ack 2 win 0");
  t.quiet();
  CHECK(t.state() == tcp_state::syn_sent);
  t.in("R. 0 ack 1 win 0");
  CHECK(t.error() == std::errc::connection_refused);
}

// covers: 5961-5
TEST_CASE("a SYN in any synchronized state is challenged, whatever its number") {
  for (int which = 0;; ++which) {
    CAPTURE(which);
    for (const std::uint32_t number : {0u, 1u, 2u, 30000u, 500000u}) {
      CAPTURE(number);
      script t;
      if (!enter(t, which)) break;
      const auto state = t.state();
      t.in("S " + std::to_string(number) + " <mss 1460>");
      t.out(". " + std::to_string(next_sent(which)) + " ack " +
            std::to_string(next_expected(which)));
      t.quiet();
      CHECK(t.state() == state);
      t.after(1s);
      t.skip();
      t.in("S. " + std::to_string(number) + " ack 1 <mss 1460>");
      t.out(". " + std::to_string(next_sent(which)) + " ack " +
            std::to_string(next_expected(which)));
      CHECK(t.state() == state);
    }
    if (which > 5) break;
  }
}

// covers: 5961-5
TEST_CASE("the peer that really restarted answers the challenge with the reset that ends it") {
  script t;
  t.establish("<mss 1460>");
  t.peer_isn += 100'000;
  t.in("S 0 <mss 1460>");
  const auto challenge = t.take();
  // As RFC 9293 3.10.7.3 has it answer from SYN-SENT: a reset with the challenge's number.
  t.peer_isn -= 100'000;
  CHECK(challenge.acknowledgment == t.peer_isn + 1);
  t.in("R 1 win 0");
  CHECK(t.error() == std::errc::connection_reset);
}

// covers: 5961-6
TEST_CASE("an acknowledgement is taken from the last window up to what was sent, nothing else") {
  for (const bool good : {true, false}) {
    CAPTURE(good);
    script t;
    t.establish("<mss 1000>", 5000);
    CHECK(t.send(1000u).value() == 1000);
    t.in(". 1 ack 1001");
    CHECK(t.send(1000u).value() == 1000);
    t.skip();
    // SND.UNA is 1001 and the largest window was 5000; SND.NXT is 2001.
    const std::uint32_t oldest = 1001u - 5000u;
    t.in("P. 1:11 ack " + std::to_string(good ? oldest : oldest - 1));
    CHECK(t.read().size() == (good ? 10 : 0));
    t.out(". 2001 ack " + std::to_string(good ? 11 : 1));
    t.after(1s);
    t.skip();
    const std::uint32_t at = good ? 11 : 1;
    t.in("P. " + r(at, at + 10) + " ack " + (good ? "2001" : "2002"));
    CHECK(t.read().size() == (good ? 10 : 0));
    CHECK(t.count(counter::drop_tcp_bad_ack) == (good ? 0 : 2));
  }
}

// covers: 5961-7
TEST_CASE("challenges are limited for each connection alone, in a time that can be set") {
  host_options o;
  o.tcp.challenge_interval = 2s;
  script t(o);
  t.establish("<mss 1460>");
  const auto first = t.socket;
  t.peer_port = 40001;
  t.establish("<mss 1460>");
  const auto challenged = [&](std::uint16_t port) {
    t.peer_port = port;
    t.in("R 2 win 0");
    const auto n = t.sent();
    t.skip();
    return n == 1;
  };
  CHECK(challenged(40000));
  for (int i = 0; i < 200; ++i) CHECK_FALSE(challenged(40000));
  // Nothing that is shared tells an attacker of one connection about another (CVE-2016-5696).
  CHECK(challenged(40001));
  t.after(1900ms);
  CHECK_FALSE(challenged(40000));
  t.after(200ms);
  CHECK(challenged(40000));
  CHECK(t.count(counter::challenge_acks_sent) == 3);
  CHECK(t.h().info(first)->state == tcp_state::established);
  CHECK(tcp_options{}.challenge_interval == 500ms);
}

TEST_CASE("a stranger's segments do not pass for signs of life of a peer that is gone") {
  for (const std::string wrong : {". 1 ack 9999", "P. 1:11 ack 9999", "R 2 win 0", "S 5"}) {
    CAPTURE(wrong);
    host_options o;
    o.tcp.keep_alive = true;
    o.tcp.keep_alive_idle = 10s;
    o.tcp.keep_alive_interval = 1s;
    o.tcp.keep_alive_probes = 3;
    script t(o);
    t.establish("<mss 1460>");
    const auto begin = t.now();
    while (!t.error() && t.now() - begin < 60s) {
      t.after(500ms);
      t.in(wrong);
    }
    CHECK(t.error() == std::errc::timed_out);
    CHECK(t.now() - begin <= 14s);
  }
}
