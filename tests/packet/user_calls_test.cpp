// The user's calls (RFC 9293 3.9.1, 3.10.1-3.10.6, 3.10.8): OPEN with addresses of one's own, CLOSE
// and ABORT in each state, and the timeouts that a connection may be given for itself.
#include <doctest/doctest.h>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

namespace {

tcp_options with(void (*change)(tcp_options&)) {
  tcp_options o;
  change(o);
  return o;
}

/// States of all connections, also of those that nobody holds any more.
std::vector<tcp_state> states(script& t) {
  std::vector<tcp_state> out;
  t.h().for_each_connection([&](const tcp_info& info) { out.push_back(info.state); });
  return out;
}

}  // namespace

// --- OPEN.

// covers: MUST-41
TEST_CASE("a second listener on a port fails and disturbs neither the first nor its connections") {
  script t;
  t.establish();
  t.peer_port = 40001;
  t.in("S 0");  // half open
  t.out("S. 0 ack 1");
  CHECK(t.h().listen({t.us, 80}, {}).error() == std::errc::address_in_use);
  t.in(". 1 ack 1");
  const auto first = t.socket;
  REQUIRE(t.accept());
  CHECK(t.socket != first);
  CHECK(t.h().info(first)->state == tcp_state::established);
  t.peer_port = 40002;
  t.in("S 0");
  t.out("S. 0 ack 1");
}

// covers: MUST-41
TEST_CASE("a listener beside a connection of the same port leaves that connection alone") {
  script t;
  auto client = t.h().connect(t.now(), {t.them, t.peer_port}, {t.us, 5000}, {});
  REQUIRE(client);
  t.local_port = 5000;
  t.out("S 0");
  t.in("S. 0 ack 1");
  t.out(". 1 ack 1");
  t.listen(5000);
  t.in("P. 1:6 ack 1");  // for the connection, not the listener
  t.out(". 1 ack 6");
  CHECK(receive_text(t.h(), t.now(), *client) == script::stream(0, 5));
  CHECK_FALSE(t.accept());
  t.peer_port = 41000;
  t.in("S 0");
  t.out("S. 0 ack 1");
  t.in(". 1 ack 1");
  CHECK(t.accept());
}

// covers: MUST-42
TEST_CASE("a port can be listened on while a connection of it is in SYN-SENT or SYN-RECEIVED") {
  for (const bool received : {false, true}) {
    CAPTURE(received);
    script t;
    auto client = t.h().connect(t.now(), {t.them, t.peer_port}, {t.us, 5000}, {});
    REQUIRE(client);
    t.local_port = 5000;
    t.out("S 0");
    if (received) {
      t.in("S 0");
      t.out("S. 0 ack 1");
    }
    CHECK(t.h().info(*client)->state == (received ? tcp_state::syn_received : tcp_state::syn_sent));
    t.listen(5000);
    CHECK(t.listener != socket_id::none);
    t.in(received ? ". 1 ack 1" : "S. 0 ack 1");
    t.skip();
    CHECK(t.h().info(*client)->state == tcp_state::established);
    CHECK_FALSE(t.accept());
  }
}

// covers: MUST-43, MUST-45
TEST_CASE("the local address that OPEN was given is on every segment of the connection") {
  host_options o;
  o.addresses = {*ip_prefix::parse("10.0.0.1/24"), *ip_prefix::parse("10.0.0.7/24")};
  script t(o);
  t.us = *ip_address::parse("10.0.0.7");
  auto client = t.h().connect(t.now(), {t.them, t.peer_port}, {t.us, 5000}, {});
  REQUIRE(client);
  t.socket = *client;
  t.local_port = 5000;
  CHECK(t.h().local_endpoint(*client) == endpoint{t.us, 5000});
  const auto check = [&] {
    REQUIRE(t.sent() > 0);
    while (t.sent() > 0) {
      const auto segment = t.take();
      CHECK(segment.source == t.us);
      CHECK(segment.source_port == 5000);
    }
  };
  check();
  t.in("S. 0 ack 1");
  check();
  CHECK(t.send(10u).value() == 10);
  check();
  (void)t.until_sent();
  check();
  t.in("P. 1:10 ack 11");
  check();
  t.shutdown();
  check();
  t.in("F. 10 ack 12");
  check();
  t.in("F. 10 ack 12");  // and from TIME-WAIT
  check();
}

// covers: MUST-43
TEST_CASE("a listener on one of several addresses takes what comes to that one only") {
  host_options o;
  o.addresses = {*ip_prefix::parse("10.0.0.1/24"), *ip_prefix::parse("10.0.0.7/24")};
  script t(o);
  t.us = *ip_address::parse("10.0.0.7");
  t.listen();
  t.us = *ip_address::parse("10.0.0.1");
  t.in("S 0");
  t.out("R. 0 ack 1");
  t.us = *ip_address::parse("10.0.0.7");
  t.in("S 0");
  const auto answer = t.take();
  CHECK(answer.flags == (wire::syn | wire::ack));
  CHECK(answer.source == t.us);
}

// covers: MUST-44, MUST-45
TEST_CASE("without a local address the host picks the one nearest to the peer, and keeps it") {
  host_options o;
  o.addresses = {*ip_prefix::parse("192.168.7.1/24"), *ip_prefix::parse("10.0.0.1/24"),
                 *ip_prefix::parse("fd00::1/64")};
  script t(o);
  t.connect();
  const auto syn = t.take();
  CHECK(syn.source == *ip_address::parse("10.0.0.1"));
  CHECK(t.h().local_endpoint(t.socket).address == syn.source);
  t.in("S. 0 ack 1");
  CHECK(t.take().source == syn.source);
  CHECK(t.send(10u).value() == 10);
  CHECK(t.take().source == syn.source);
  const auto other = *t.h().connect(t.now(), at("192.168.7.9", 80), {}, {});
  CHECK(t.h().local_endpoint(other).address == *ip_address::parse("192.168.7.1"));
  CHECK(t.take().source == *ip_address::parse("192.168.7.1"));
}

// --- SEND.

// covers: SHLD-27, SHLD-28
TEST_CASE("sends that wait are joined into full segments with one PSH at the end") {
  script t;
  t.establish("<mss 1000>", 1000);
  CHECK(t.send(1000u).value() == 1000);
  t.out("P. 1:1001 ack 1");
  // Ten sends while the peer's window is full.
  for (int i = 0; i < 10; ++i) CHECK(t.send(250u).value() == 250);
  t.quiet();
  t.in(". 1 ack 1001 win 65535");
  for (std::uint32_t at = 1001; at < 3501; at += 1000) {
    const auto segment = t.take();
    CHECK(segment.payload.size() == (at == 3001 ? 500u : 1000u));
    CHECK(segment.has(wire::psh) == (at == 3001));
  }
  t.quiet();
}

// covers: MUST-60, MUST-61
TEST_CASE("each send leaves without a PUSH call and ends in PSH") {
  script t;
  t.establish();
  for (std::uint32_t at = 1; at < 100; at += 10) {
    CHECK(t.send(10u).value() == 10);
    const auto segment = t.take();
    CHECK(segment.payload.size() == 10);
    CHECK(segment.has(wire::psh));
    t.quiet();
  }
}

// --- CLOSE.

// covers: 9293-E18
TEST_CASE("close in SYN-SENT forgets the connection, in SYN-RECEIVED it waits for its turn") {
  script t;
  t.connect();
  t.out("S 0");
  t.close();
  t.quiet();
  CHECK(states(t).empty());
  t.in("S. 0 ack 1");
  t.out("R 1");

  script received;
  received.connect();
  received.out("S 0");
  received.in("S 0");
  received.out("S. 0 ack 1");
  received.close();
  received.quiet();
  received.in(". 1 ack 1");
  received.out("F. 1 ack 1");
  CHECK(states(received) == std::vector{tcp_state::fin_wait_1});
}

// covers: 9293-E18
TEST_CASE("close in CLOSE-WAIT sends what is queued, then FIN, and waits in LAST-ACK") {
  script t;
  t.establish("<mss 1000>", 1000);
  t.in("F. 1 ack 1");
  t.skip();
  CHECK(t.send(1500u).value() == 1500);
  t.out(". 1:1001 ack 2");
  t.close();
  CHECK(states(t) == std::vector{tcp_state::last_ack});
  t.in(". 2 ack 1001");
  t.out("FP. 1001:1501 ack 2");
  t.in(". 2 ack 1502");
  t.quiet();
  CHECK(states(t).empty());
  CHECK(t.h().memory_in_use() == 0);
}

// covers: b57
TEST_CASE("close with a blocked send queue leaves ESTABLISHED at once and ends in bounded time") {
  for (const bool peer_answers : {false, true}) {
    CAPTURE(peer_answers);
    script t;
    t.establish("<mss 1000>", 1000);
    CHECK(t.send(5000u).value() == 5000);
    t.skip();
    t.in(". 1 ack 1001 win 0");
    CHECK(states(t) == std::vector{tcp_state::established});
    t.close();
    CHECK(states(t) == std::vector{tcp_state::fin_wait_1});
    duration total{};
    while (!states(t).empty() && total < 3600s) {
      total += t.until_sent(600s);
      t.skip();
      if (peer_answers && !states(t).empty()) t.in(". 1 ack 1001 win 0");
      t.skip();
    }
    CHECK(total < 1800s);
    CHECK(t.h().memory_in_use() == 0);
  }
}

// covers: MUST-12
TEST_CASE("the application can tell an orderly end from an abort") {
  script fin;
  fin.establish();
  fin.in("FP. 1:6 ack 1");
  CHECK(fin.read().size() == 5);
  CHECK(fin.h().at_end(fin.socket));
  CHECK_FALSE(fin.error());
  std::array<std::byte, 8> buffer;
  CHECK(fin.h().receive(fin.now(), fin.socket, buffer).value() == 0);

  script rst;
  rst.establish();
  rst.in("P. 1:6 ack 1");
  rst.in("R 6 win 0");
  CHECK(any(rst.events(), ready::failed));
  CHECK(rst.read().size() == 5);
  CHECK_FALSE(rst.h().at_end(rst.socket));
  CHECK(rst.error() == std::errc::connection_reset);
  CHECK(rst.h().receive(rst.now(), rst.socket, buffer).error() == std::errc::connection_reset);
}

// --- ABORT.

// covers: 9293-E19
TEST_CASE("abort sends a reset at SND.NXT wherever the peer still holds a connection") {
  const auto aborted = [](script& t, const std::string& reset) {
    t.skip();
    t.h().abort(t.now(), t.socket);
    t.out(reset);
    t.quiet();
    CHECK(states(t).empty());
    CHECK(t.h().memory_in_use() == 0);
  };
  {
    script t;  // SYN-RECEIVED
    t.connect();
    t.out("S 0");
    t.in("S 0");
    t.out("S. 0 ack 1");
    aborted(t, "R. 1 ack 1");
  }
  {
    script t;  // ESTABLISHED, with data out and more queued
    t.establish("<mss 1000>", 1000);
    CHECK(t.send(3000u).value() == 3000);
    aborted(t, "R. 1001 ack 1");
  }
  {
    script t;  // FIN-WAIT-1
    t.establish();
    t.shutdown();
    aborted(t, "R. 2 ack 1");
  }
  {
    script t;  // FIN-WAIT-2
    t.establish();
    t.shutdown();
    t.in(". 1 ack 2");
    CHECK(t.state() == tcp_state::fin_wait_2);
    aborted(t, "R. 2 ack 1");
  }
  {
    script t;  // CLOSE-WAIT
    t.establish();
    t.in("F. 1 ack 1");
    aborted(t, "R. 1 ack 2");
  }
}

// covers: 9293-E19
TEST_CASE("abort is silent in SYN-SENT, CLOSING, LAST-ACK and TIME-WAIT") {
  const auto silent = [](script& t, tcp_state state) {
    CAPTURE(name(state));
    t.skip();
    CHECK(t.state() == state);
    t.h().abort(t.now(), t.socket);
    t.quiet();
    CHECK(states(t).empty());
  };
  {
    script t;
    t.connect();
    silent(t, tcp_state::syn_sent);
  }
  {
    script t;
    t.establish();
    t.shutdown();
    t.in("F. 1 ack 1");
    silent(t, tcp_state::closing);
  }
  {
    script t;
    t.establish();
    t.in("F. 1 ack 1");
    t.shutdown();
    silent(t, tcp_state::last_ack);
  }
  {
    script t;
    t.establish();
    t.shutdown();
    t.in("F. 1 ack 2");
    silent(t, tcp_state::time_wait);
  }
}

// --- Timeouts.

// covers: MUST-21
TEST_CASE("each connection may have a limit of its own on repeated retransmissions") {
  const auto life = [](const tcp_options& options) {
    script t;
    t.connect(options);
    t.out("S 0");
    t.in("S. 0 ack 1");
    t.skip();
    CHECK(t.send(10u).value() == 10);
    const auto from = t.now();
    while (!t.error()) t.after(1s);
    CHECK(t.error() == std::errc::timed_out);
    return std::pair(t.info().retransmissions, t.now() - from);
  };
  CHECK(life(with([](tcp_options& o) { o.retries = 3; })).first == 3);
  CHECK(life(with([](tcp_options& o) { o.retries = 6; })).first == 6);
  const auto by_time = life(with([](tcp_options& o) { o.user_timeout = 20s; })).second;
  CHECK(by_time >= 20s);
  CHECK(by_time < 45s);
}

// covers: MUST-21
TEST_CASE("the limit on retransmissions can be changed on a live connection") {
  script t;
  t.establish();
  auto now = *t.h().get_options(t.socket);
  now.user_timeout = 5s;
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, now));
  CHECK(t.send(10u).value() == 10);
  t.after(15s);
  CHECK(t.error() == std::errc::timed_out);
}

// covers: SHLD-11
TEST_CASE("without further settings a connection is kept for over 100 seconds of silence") {
  script t;
  t.establish();
  CHECK(t.send(10u).value() == 10);
  t.after(100s);
  CHECK_FALSE(t.error());
  CHECK(t.info().rto > 1s);
  t.after(1h);
  CHECK(t.error() == std::errc::timed_out);
}

// covers: 9293-E20
TEST_CASE("the user timeout flushes both queues and says why") {
  script t;
  t.connect(with([](tcp_options& o) { o.user_timeout = 5s; }));
  t.out("S 0");
  t.in("S. 0 ack 1 win 1000");
  t.skip();
  t.in("P. 6:11 ack 1");  // beyond a gap
  CHECK(t.send(5000u).value() == 5000);
  CHECK(t.info().memory > 0);
  t.after(60s);
  CHECK(any(t.events(), ready::failed));
  CHECK(t.error() == std::errc::timed_out);
  CHECK(t.info().send_queued == 0);
  CHECK(t.send(1u).error() == std::errc::timed_out);
  t.close();
  CHECK(t.h().memory_in_use() == 0);
}

// --- Keep-alive and zero-window probes.

// covers: MUST-24, MUST-27
TEST_CASE("keep-alive is turned on and off for one connection and leaves the others alone") {
  script t;
  t.establish();
  const auto first = t.socket;
  t.peer_port = 40001;
  t.establish();
  auto options = *t.h().get_options(t.socket);
  options.keep_alive = true;
  options.keep_alive_idle = 100s;
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, options));
  CHECK(t.until_sent(1000s) >= 100s);
  CHECK(t.now() < instant::from_ns(0) + 110s);
  t.out(". 0 ack 1");
  t.quiet();  // the first connection says nothing
  t.in(". 1 ack 1");
  options.keep_alive = false;
  CHECK_FALSE(t.h().set_options(t.now(), t.socket, options));
  t.after(24h);
  t.quiet();
  CHECK(t.h().info(first)->state == tcp_state::established);
  CHECK(t.state() == tcp_state::established);
}

// covers: MUST-28
TEST_CASE("keep-alive that is only turned on waits two hours") {
  script t;
  t.connect(with([](tcp_options& o) { o.keep_alive = true; }));
  t.out("S 0");
  t.in("S. 0 ack 1");
  t.skip();
  CHECK(t.until_sent(10h) >= 2h);
  t.out(". 0 ack 1");
}

// covers: MUST-26
TEST_CASE("keep-alive does not probe while something is unacknowledged or arrives") {
  host_options o;
  o.tcp.keep_alive = true;
  o.tcp.keep_alive_idle = 10s;
  script t(o);
  t.establish("<mss 1000>", 1000);
  // Traffic more often than the interval: no probe.
  std::uint32_t at = 1;
  for (int i = 0; i < 20; ++i, at += 10) {
    t.after(9s);
    t.in("P. " + std::to_string(at) + ":" + std::to_string(at + 10) + " ack 1");
    t.after(50ms);
    t.out(". 1 ack " + std::to_string(at + 10));
    t.quiet();
  }
  // Data is out: what is sent are retransmissions.
  CHECK(t.send(10u).value() == 10);
  t.skip();
  t.after(60s);
  CHECK(t.sent() > 0);
  while (t.sent() > 0) CHECK(t.take().payload.size() == 10);
}

// covers: SHLD-29, b44
TEST_CASE("the first zero-window probe leaves one retransmission timeout after the window closed") {
  script t;
  t.establish("<mss 1000>", 1000);
  for (std::uint32_t at = 1; at < 5; ++at) {  // a round trip of 300 ms, so that the RTO is its own
    CHECK(t.send(1u).value() == 1);
    t.after(300ms);
    t.in(". 1 ack " + std::to_string(at + 1));
  }
  CHECK(t.send(2000u).value() == 2000);
  t.skip();
  t.in(". 1 ack 1005 win 0");
  const auto rto = t.info().rto;
  CHECK(rto > 400ms);
  const auto took = t.until_sent();
  CHECK(took >= rto);
  CHECK(took < rto + 2ms);
  t.out(". 1004 ack 1");
}

TEST_CASE("a send that says more follows holds its last piece until the next, or for 200 ms") {
  script t;
  t.establish("<mss 1000>");
  const auto send = [&](std::size_t from, std::size_t to, bool more) {
    const auto text = script::stream(from, to);
    const auto part = bytes_of(text);
    CHECK(t.h().send(t.now(), t.socket, {&part, 1}, more).value() == to - from);
  };
  send(0, 10, true);
  t.quiet();
  send(10, 20, true);
  t.quiet();
  send(20, 30, false);
  t.out_payload("P. 1:31 ack 1", script::stream(0, 30));
  t.in(". 1 ack 31");
  // Full segments go; the piece is held though they are acknowledged.
  send(30, 2530, true);
  t.out(". 31:1031 ack 1");
  t.out(". 1031:2031 ack 1");
  t.in(". 1 ack 2031");
  t.quiet();
  const auto begin = t.now();
  (void)t.until_sent();
  CHECK(t.now() - begin >= 200ms);
  CHECK(t.now() - begin < 201ms);
  t.out("P. 2031:2531 ack 1");
  t.in(". 1 ack 2531");
  // It says so for one call only; what is shut or uncorked waits for nothing.
  send(2530, 2540, false);
  t.out("P. 2531:2541 ack 1");
  send(2540, 2550, true);
  t.quiet();
  CHECK_FALSE(t.h().set_cork(t.now(), t.socket, false));
  t.out("P. 2541:2551 ack 1");
  send(2550, 2560, true);
  t.quiet();
  t.shutdown();
  t.out("FP. 2551:2561 ack 1");
}

TEST_CASE("a receive side that is shut is at its end, and drops what comes without holding it up") {
  for (const bool unread : {false, true}) {
    CAPTURE(unread);
    script t;
    CHECK(t.h().shutdown_receive(t.now(), socket_id::none) == std::errc::bad_file_descriptor);
    t.establish("<mss 1000,sackOK>");
    std::uint32_t at = 1;
    if (unread) t.in("P. 1:1001 ack 1"), at = 1001;
    t.in("P. " + std::to_string(at + 1000) + ":" + std::to_string(at + 1100) + " ack 1");
    t.skip();
    (void)t.events();
    CHECK_FALSE(t.h().shutdown_receive(t.now(), t.socket));
    CHECK_FALSE(t.h().shutdown_receive(t.now(), t.socket));
    CHECK(any(t.events(), ready::readable));
    CHECK(t.h().at_end(t.socket));
    std::byte byte[1];
    CHECK(t.h().receive(t.now(), t.socket, byte).value() == 0);
    CHECK(t.h().lend(t.now(), t.socket)->size == 0);
    // More than any window: all of it is acknowledged, and none of it kept.
    t.in("P. " + std::to_string(at) + ":" + std::to_string(at + 1000) + " ack 1");
    at += 1100;
    for (int i = 0; i < 200; ++i, at += 1000)
      t.in("P. " + std::to_string(at) + ":" + std::to_string(at + 1000) + " ack 1");
    t.after(50ms);
    CHECK(t.info().receive_queued == 0);
    CHECK(t.info().memory == 0);
    CHECK(t.info().receive_window >= 60'000);
    CHECK(t.info().bytes_received == at - 1);
    t.skip();
    // Sending goes on, and the end is an orderly one.
    CHECK(t.send(10u).value() == 10);
    t.out("P. 1:11 ack " + std::to_string(at));
    t.in(". " + std::to_string(at) + " ack 11");
    t.close();
    t.out("F. 11 ack " + std::to_string(at));
    t.in("F. " + std::to_string(at) + " ack 12");
    CHECK(t.take().flags == wire::ack);
    CHECK(t.h().time_wait_entries() == 1);
  }
  script opening;
  opening.connect();
  CHECK(opening.h().shutdown_receive(opening.now(), opening.socket) == std::errc::not_connected);
}

// covers: MUST-14, MUST-16, MUST-67
TEST_CASE("each connection may be opened with shorter segments than the MTU allows") {
  for (const std::uint16_t most : {1u, 500u, 9000u}) {
    CAPTURE(most);
    const std::uint16_t offered = most == 1 ? 28 : most == 500 ? 500 : 1460;
    tcp_options how;
    how.max_segment = most;
    script t;
    t.connect(how);
    CHECK(t.take().options.mss == offered);
    t.in("S. 0 ack 1 <mss 1460>");
    t.skip();
    CHECK(t.info().send_mss == offered);
    CHECK(t.send(2000u).value() == 2000);
    CHECK(t.take().payload.size() == offered);
    // The peer's smaller one holds.
    script u;
    u.connect(how);
    u.skip();
    script small;
    small.connect(how);
    CHECK(small.take().options.mss == offered);
    small.in("S. 0 ack 1 <mss 300>");
    CHECK(small.info().send_mss == std::min<std::uint16_t>(300, offered));
  }
}

TEST_CASE("each listener may have settings of its own for what it accepts, from the SYN-ACK on") {
  for (const bool cookies : {false, true}) {
    CAPTURE(cookies);
    script t;
    listen_options how;
    if (cookies) how.syn_backlog = 0;
    how.tcp.emplace();
    how.tcp->max_segment = 600;
    how.tcp->timestamps = cookies;  // a cookie's options stand in one
    how.tcp->sack = false;
    how.tcp->receive_buffer = 20'000;
    how.tcp->ttl = 9;
    how.tcp->traffic_class = 0x20;
    how.tcp->initial_window = 2;
    const auto own = *t.h().listen({t.us, 81}, how);
    t.listen(80);
    const auto usual = t.listener;
    for (const bool special : {true, false}) {
      CAPTURE(special);
      t.listener = special ? own : usual;
      t.local_port = special ? 81 : 80;
      t.peer_port = special ? 40'000 : 40'001;
      t.in("S 0 <mss 1460,sackOK,TS 5 0,wscale 2>");
      CHECK(t.last_ttl() == (special ? 9 : 64));
      const auto answer = t.take();
      CHECK(answer.options.mss == (special ? 600 : 1460));
      CHECK(answer.options.sack_permitted == !special);
      CHECK(answer.options.timestamps.has_value() == (!special || cookies));
      CHECK(answer.options.window_scale == (special ? 0 : 7));
      CHECK(answer.window == (special ? 20'000 : 65535));
      CHECK(answer.traffic_class == (special ? 0x20 : 0));
      const auto stamp = answer.options.timestamps
                             ? " <TS 6 " + std::to_string(answer.options.timestamps->value) + ">"
                             : std::string();
      t.in(". 1 ack 1" + stamp);
      REQUIRE(t.accept());
      CHECK(t.info().sack == !special);
      CHECK(t.info().receive_limit == (special ? 20'000 : 65536));
      CHECK(t.h().get_options(t.socket)->ttl == (special ? 9 : 64));
      CHECK(t.send(3000u).value() == 3000);
      CHECK(t.sent() == (special ? 2 : 3));
      CHECK(t.last_ttl() == (special ? 9 : 64));
      CHECK(t.take().payload.size() == (special ? cookies ? 588 : 600 : 1448));
      t.skip();
    }
  }
}

TEST_CASE("what a connection shows of losses is what its scoreboard holds") {
  script t;
  t.establish("<mss 1000,sackOK>");
  CHECK(t.send(1000u).value() == 1000);
  t.after(100ms);
  t.in(". 1 ack 1001");
  CHECK(t.send(10'000u).value() == 10'000);
  t.skip();
  t.after(100ms);
  const auto shown = [&](congestion_phase phase, std::uint32_t lost, std::uint32_t sacked,
                         std::uint32_t again) {
    const auto i = t.info();
    CHECK(i.phase == phase);
    CHECK(i.lost == lost);
    CHECK(i.sacked == sacked);
    CHECK(i.retransmitted == again);
  };
  shown(congestion_phase::open, 0, 0, 0);
  CHECK(t.info().reorder_window == 25ms);
  t.in(". 1 ack 1001 <sack 3001:4001>");
  shown(congestion_phase::disorder, 0, 1000, 0);
  t.in(". 1 ack 1001 <sack 3001:6001>");
  CHECK(name(t.info().phase) == "recovery");
  shown(congestion_phase::recovery, 2000, 3000, 2000);
  CHECK_FALSE(t.info().reordering);
  t.in(". 1 ack 1001 <sack 1001:3001 3001:6001>");
  t.in(". 1 ack 11001");
  shown(congestion_phase::open, 0, 0, 0);
  // What was never sent again came after what was sent later.
  CHECK(t.send(3000u).value() == 3000);
  t.skip();
  t.after(100ms);
  t.in(". 1 ack 11001 <sack 13001:14001>");
  t.in(". 1 ack 13001 <sack 13001:14001>");
  CHECK(t.info().reordering);
  t.in(". 1 ack 14001");
  CHECK(t.send(5000u).value() == 5000);
  while (t.info().timeouts == 0) (void)t.until_sent(), t.skip();
  CHECK(t.info().phase == congestion_phase::loss);
  CHECK(t.info().lost == 5000);
  CHECK(t.info().retransmitted == 1000);
}
