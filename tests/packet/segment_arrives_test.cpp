// SEGMENT ARRIVES (RFC 9293 3.10.7), state by state: what each state does with a segment that is
// out of place, with RST, SYN, ACK, data and FIN.
#include <doctest/doctest.h>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

namespace {

std::string s(std::uint32_t n) { return std::to_string(n); }

/// Where a connection stands: the next number that the host expects, and the next that it sends.
struct standing {
  std::uint32_t receive_next, send_next;
};

/// Brings a passive connection into `state`, with nothing left to be sent.
standing bring(script& t, tcp_state state) {
  t.establish();
  const auto shut = [&](std::uint32_t ack) {
    t.shutdown();
    t.out("F. 1 ack " + s(ack));
  };
  const auto finish = [&](std::uint32_t ack) {
    t.in("F. 1 ack " + s(ack));
    t.out(". " + s(ack) + " ack 2");
  };
  standing where{1, 1};
  switch (state) {
    case tcp_state::fin_wait_1:
      shut(1);
      where = {1, 2};
      break;
    case tcp_state::fin_wait_2:
      shut(1);
      t.in(". 1 ack 2");
      where = {1, 2};
      break;
    case tcp_state::close_wait:
      finish(1);
      where = {2, 1};
      break;
    case tcp_state::closing:
      shut(1);
      t.in("F. 1 ack 1");
      t.out(". 2 ack 2");
      where = {2, 2};
      break;
    case tcp_state::last_ack:
      finish(1);
      shut(2);
      where = {2, 2};
      break;
    case tcp_state::time_wait:
      shut(1);
      finish(2);
      where = {2, 2};
      break;
    default: break;
  }
  t.quiet();
  REQUIRE(t.state() == state);
  return where;
}

constexpr tcp_state synchronized_states[] = {tcp_state::established, tcp_state::fin_wait_1,
                                             tcp_state::fin_wait_2,  tcp_state::close_wait,
                                             tcp_state::closing,     tcp_state::last_ack};
constexpr tcp_state finished_by_the_peer[] = {tcp_state::close_wait, tcp_state::closing,
                                              tcp_state::last_ack, tcp_state::time_wait};

}  // namespace

// --- CLOSED and LISTEN.

// covers: 9293-E1
TEST_CASE("closed: a segment without ACK is answered with a reset that acknowledges all of it") {
  script t;
  t.in_raw(t.packet("S 0", "ten octets"));
  t.out("R. 0 ack 11");
  t.in("FP 5:15");
  t.out("R. 0 ack 16");
  t.in("- 7");  // no flag at all
  t.out("R. 0 ack 7");
  t.in("R 0 win 0");
  t.in("R. 0 ack 5 win 0");
  t.quiet();
}

// covers: 9293-E2
TEST_CASE("listen: what has neither RST nor ACK nor SYN is dropped without a word") {
  script t;
  t.listen();
  for (const char* segment : {"F 0", "P 0:10", "U 0:10", "FPU 0:10", "- 0", "EC 0"}) {
    CAPTURE(segment);
    t.in(segment);
    t.quiet();
  }
  CHECK(t.h().info_listener(t.listener)->syn_queue == 0);
  t.in("S 0");
  t.out("S. 0 ack 1");
  CHECK(t.h().info_listener(t.listener)->syn_queue == 1);
}

// covers: 9293-E3
TEST_CASE("listen: data on the SYN is not delivered before the connection is established") {
  for (const std::uint32_t syn_backlog : {16u, 0u}) {  // with an entry, and with a cookie
    CAPTURE(syn_backlog);
    script t;
    t.listen(80, {.syn_backlog = syn_backlog});
    t.in_raw(t.packet("S 0 <mss 1460>", "early"));
    t.flush();
    t.out("S. 0 ack 1");  // of the SYN alone: the data is dropped, and comes again
    CHECK_FALSE(t.accept());
    t.in_raw(t.packet("P. 1 ack 1", "early"));
    t.flush();
    t.out(". 1 ack 6");
    REQUIRE(t.accept());
    CHECK(t.read() == "early");
  }
}

// covers: 9293-E3
TEST_CASE("listen: a FIN on the SYN makes no connection") {
  script t;
  t.listen();
  t.in("SF 0");
  t.quiet();
  CHECK(t.h().info_listener(t.listener)->syn_queue == 0);
}

// --- SYN-SENT.

// covers: 9293-E4, 9293-E5
TEST_CASE("syn-sent: only a reset that acknowledges the SYN refuses the connection") {
  script t;
  t.connect();
  t.out("S 0");
  for (const char* reset : {"R 0 win 0", "R 1 win 0", "R. 0 ack 0 win 0", "R. 0 ack 2 win 0"}) {
    CAPTURE(reset);
    t.in(reset);
    t.quiet();
    CHECK(t.state() == tcp_state::syn_sent);
  }
  t.in("R. 12345 ack 1 win 0");
  t.quiet();
  CHECK(t.error() == std::errc::connection_refused);
}

// covers: 9293-E4
TEST_CASE("syn-sent: an ACK of what was never sent is answered with its own number") {
  script t;
  t.connect();
  t.out("S 0");
  for (const std::uint32_t ack : {0u, 2u, 0x7fffffffu, 0xffffffffu}) {
    CAPTURE(ack);
    for (const char* flags : {". 0 ack ", "S. 0 ack ", "FP. 0 ack "}) {
      t.in(flags + s(ack));
      t.out("R " + s(ack));
      t.quiet();
    }
  }
  CHECK(t.state() == tcp_state::syn_sent);
}

// covers: 9293-E6
TEST_CASE("syn-sent: neither SYN nor RST is dropped") {
  script t;
  t.connect();
  t.out("S 0");
  for (const char* segment : {". 0 ack 1", "P. 1:10 ack 1", "F. 0 ack 1", "F 0", "- 0"}) {
    CAPTURE(segment);
    t.in(segment);
    t.quiet();
  }
  CHECK(t.state() == tcp_state::syn_sent);
  t.in("S. 0 ack 1");
  t.out(". 1 ack 1");
  CHECK(t.state() == tcp_state::established);
}

// covers: 9293-E6
TEST_CASE("syn-sent: data and FIN on the SYN-ACK count") {
  script t;
  t.connect();
  t.out("S 0");
  t.in_raw(t.packet("SF. 0 ack 1 <mss 1460>", "hello"));
  t.flush();
  t.out(". 1 ack 7");
  CHECK(t.state() == tcp_state::close_wait);
  CHECK(t.read() == "hello");
  CHECK(t.h().at_end(t.socket));
}

// --- SYN-RECEIVED.

// covers: 9293-E13
TEST_CASE("syn-received from an active open: an ACK outside what was sent is reset") {
  script t;
  t.connect();
  t.out("S 0");
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  for (const std::uint32_t ack : {0u, 2u, 0x80000000u}) {
    CAPTURE(ack);
    t.in(". 1 ack " + s(ack));
    t.out("R " + s(ack));
    CHECK(t.state() == tcp_state::syn_received);
  }
  t.in(". 1 ack 1");
  CHECK(t.state() == tcp_state::established);
}

// covers: MUST-11, 9293-E10
TEST_CASE("syn-received remembers who opened: a reset goes back to LISTEN, or refuses") {
  script passive;
  passive.listen();
  passive.in("S 0 <mss 1460>");
  passive.out("S. 0 ack 1");
  passive.in("R 1 win 0");
  passive.quiet();
  CHECK_FALSE(passive.accept());  // no error, no connection: as if nothing had been
  event e;
  CHECK_FALSE(passive.h().next_event(e));
  passive.in("S 0 <mss 1460>");
  passive.out("S. 0 ack 1");
  passive.in(". 1 ack 1");
  CHECK(passive.accept());

  script active;
  active.connect();
  active.out("S 0");
  active.in("S 0 <mss 1460>");
  active.out("S. 0 ack 1");
  active.in("R 1 win 0");
  active.quiet();
  CHECK(any(active.events(), ready::failed));
  CHECK(active.error() == std::errc::connection_refused);
}

// --- Synchronized states: the sequence number.

// covers: 9293-E7
TEST_CASE("acceptability: the four cases of segment length and window") {
  struct row {
    std::uint32_t begin, end;
    bool taken;
  };
  // The window is 1000 bytes: numbers 1 to 1000. What is taken has its ACK field obeyed.
  for (const row& r : {row{1, 1, true}, row{1000, 1000, true}, row{0, 0, false},
                       row{1001, 1001, false}, row{1, 2, true}, row{1000, 1001, true},
                       row{1001, 1002, false}, row{0xfffffff0, 0xfffffff5, false}}) {
    CAPTURE(r.begin);
    CAPTURE(r.end);
    host_options o;
    o.tcp.receive_buffer = 1000;
    script t(o);
    t.establish();
    CHECK(t.send(10u).value() == 10);
    t.skip();
    t.in(". " + s(r.begin) + ":" + s(r.end) + " ack 11");
    CHECK((t.info().unacknowledged == 0) == r.taken);
    if (!r.taken) {
      t.out(". 11 ack 1 win 1000");  // where the host stands, so that the peer finds its way back
      CHECK(t.info().out_of_order == 0);
      CHECK(t.read().empty());
    }
    t.skip();
  }
}

// covers: 9293-E7
TEST_CASE("acceptability: with a closed window only the next number, and no data") {
  for (const auto& [begin, end, obeyed] :
       std::vector<std::tuple<std::uint32_t, std::uint32_t, bool>>{
           {1001, 1001, true}, {1000, 1000, false}, {1002, 1002, false}, {1002, 1003, false}}) {
    CAPTURE(begin);
    CAPTURE(end);
    host_options o;
    o.tcp.receive_buffer = 1000;
    script t(o);
    t.establish();
    t.in("P. 1:1001 ack 1");
    CHECK(t.info().receive_window == 0);
    CHECK(t.send(10u).value() == 10);
    t.skip();
    t.in(". " + s(begin) + ":" + s(end) + " ack 11");
    CHECK((t.info().unacknowledged == 0) == obeyed);
    if (!obeyed) t.out(". 11 ack 1001 win 0");
    CHECK(t.read().size() == 1000);
  }
}

// covers: MUST-66, 9293-E8
TEST_CASE("zero window: URG and RST are processed all the same") {
  const auto full = [](script& t) {
    t.establish();
    t.in("P. 1:1001 ack 1");
    CHECK(t.info().receive_window == 0);
    CHECK(t.send(10u).value() == 10);
    t.skip();
  };
  host_options o;
  o.tcp.receive_buffer = 1000;
  {
    script t(o);
    full(t);
    t.in("U. 1001 ack 11");
    CHECK(t.info().unacknowledged == 0);
    t.in("UP. 1001:1011 ack 11");  // the data finds no room, and its sender is told so
    t.out(". 11 ack 1001 win 0");
    CHECK(t.read().size() == 1000);
  }
  for (const char* reset : {"R 1001 win 0", "R. 1001 ack 1 win 0", "R. 1001:1011 ack 1 win 0"}) {
    CAPTURE(reset);  // also one that carries data
    script t(o);
    full(t);
    t.in(reset);
    t.quiet();
    CHECK(t.error() == std::errc::connection_reset);
  }
  script t(o);
  full(t);
  t.in("R 1002 win 0");  // not the next number: nothing
  t.quiet();
  CHECK(t.state() == tcp_state::established);
}

// --- Synchronized states: RST.

// covers: 9293-E9, b60
TEST_CASE("reset at the next number ends every synchronized state") {
  for (const auto state : synchronized_states) {
    CAPTURE(name(state));
    script t;
    const auto where = bring(t, state);
    t.in("R " + s(where.receive_next) + " win 0");
    t.quiet();
    CHECK(t.state() == tcp_state::closed);
    CHECK(t.error() == std::errc::connection_reset);
    CHECK(t.count(counter::resets_received) == 1);
  }
}

// covers: 9293-E9, b60
TEST_CASE("reset elsewhere in the window is challenged in every synchronized state") {
  for (const auto state : synchronized_states) {
    CAPTURE(name(state));
    script t;
    const auto where = bring(t, state);
    t.in("R " + s(where.receive_next + 1) + " win 0");
    t.out(". " + s(where.send_next) + " ack " + s(where.receive_next));
    t.quiet();
    CHECK(t.state() == state);
    // The answer to the challenge, from a peer that means it, has the exact number.
    t.in("R " + s(where.receive_next) + " win 0");
    CHECK(t.state() == tcp_state::closed);
  }
}

// covers: 9293-E9
TEST_CASE("reset outside the window is dropped in every synchronized state") {
  for (const auto state : synchronized_states) {
    CAPTURE(name(state));
    script t;
    const auto where = bring(t, state);
    t.in("R " + s(where.receive_next - 1) + " win 0");
    t.in("R " + s(where.receive_next + 100'000) + " win 0");
    t.in("R. " + s(where.receive_next - 1) + " ack " + s(where.send_next) + " win 0");
    t.quiet();
    CHECK(t.state() == state);
  }
}

// --- Synchronized states: SYN and ACK.

// covers: 9293-E11, b60
TEST_CASE("syn is challenged in every synchronized state whatever its number") {
  for (const auto state : synchronized_states) {
    for (const std::uint32_t number : {0u, 1u, 5u, 0x7fff0000u, 0xffff0000u}) {
      CAPTURE(name(state));
      CAPTURE(number);
      script t;
      const auto where = bring(t, state);
      t.in("S " + s(number) + " <mss 1460>");
      t.out(". " + s(where.send_next) + " ack " + s(where.receive_next));
      t.quiet();
      CHECK(t.state() == state);
    }
  }
}

// covers: 9293-E12
TEST_CASE("segment without ACK is dropped in every synchronized state") {
  for (const auto state : synchronized_states) {
    CAPTURE(name(state));
    script t;
    const auto where = bring(t, state);
    t.in("P " + s(where.receive_next) + ":" + s(where.receive_next + 10));
    t.in("F " + s(where.receive_next));
    t.in("- " + s(where.receive_next));
    t.quiet();
    CHECK(t.state() == state);
    CHECK(t.count(counter::drop_tcp_no_ack) == 3);
    CHECK(t.read().empty());
  }
}

// covers: 9293-E14
TEST_CASE("acknowledgement of what was never sent is answered and its segment dropped") {
  for (const auto state : synchronized_states) {
    CAPTURE(name(state));
    script t;
    const auto where = bring(t, state);
    t.in("P. " + s(where.receive_next) + ":" + s(where.receive_next + 10) + " ack " +
         s(where.send_next + 1));
    t.out(". " + s(where.send_next) + " ack " + s(where.receive_next));
    t.quiet();
    CHECK(t.state() == state);
    CHECK(t.read().empty());
  }
}

// covers: 9293-E14
TEST_CASE("duplicate acknowledgement changes nothing and an old one not even the window") {
  script t;
  t.establish("<mss 1000>", 5000);
  CHECK(t.send(1000u).value() == 1000);
  t.skip();
  t.in("P. 1:11 ack 1001 win 4000");
  t.skip();
  CHECK(t.info().send_window == 4000);
  t.in("P. 1:11 ack 1 win 9000");  // old number, old acknowledgement
  t.skip();
  CHECK(t.info().send_window == 4000);
  t.in(". 11 ack 1001 win 4000");
  t.quiet();
  CHECK(t.info().send_window == 4000);
  t.in(". 11 ack 1001 win 3000");  // the same acknowledgement, a newer window
  CHECK(t.info().send_window == 3000);
}

// --- Synchronized states: data and FIN.

// covers: 9293-E17
TEST_CASE("data after the peer's FIN is ignored in every state that has seen it") {
  for (const auto state : finished_by_the_peer) {
    CAPTURE(name(state));
    script t;
    const auto where = bring(t, state);
    t.in("P. " + s(where.receive_next) + ":" + s(where.receive_next + 10) + " ack " +
         s(state == tcp_state::time_wait ? where.send_next : 1));
    while (t.sent() > 0) {
      const auto answer = t.take();
      CHECK(answer.flags == wire::ack);
      CHECK(answer.acknowledgment - t.peer_isn == where.receive_next);
    }
    CHECK(t.state() == state);
    CHECK(t.read().empty());
    CHECK(t.h().at_end(t.socket));
  }
}

// covers: 9293-E15
TEST_CASE("fin that comes again is acknowledged again in every state that has seen it") {
  for (const auto state : finished_by_the_peer) {
    CAPTURE(name(state));
    script t;
    const auto where = bring(t, state);
    for (int i = 0; i < 3; ++i) {
      t.in("F. 1 ack " + s(state == tcp_state::time_wait ? where.send_next : 1));
      t.out(". " + s(where.send_next) + " ack 2");
      t.quiet();
    }
    CHECK(t.state() == state);
  }
}

// covers: 9293-E15
TEST_CASE("fin with data is acknowledged with one number more than its bytes") {
  for (const auto state : {tcp_state::established, tcp_state::fin_wait_1, tcp_state::fin_wait_2}) {
    CAPTURE(name(state));
    script t;
    const auto where = bring(t, state);
    const auto acked = state == tcp_state::fin_wait_2 ? where.send_next : 1;
    t.in("FP. 1:6 ack " + s(acked));
    t.out(". " + s(where.send_next) + " ack 7");
    CHECK(t.state() == (state == tcp_state::established  ? tcp_state::close_wait
                        : state == tcp_state::fin_wait_1 ? tcp_state::closing
                                                         : tcp_state::time_wait));
    CHECK(t.read() == script::stream(0, 5));
    CHECK(t.h().at_end(t.socket));
  }
}
