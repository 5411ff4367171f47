// Small conversations between two stacks, complete: every packet of one is lost, late or doubled in
// turn, and every pair of packets is lost. Whatever is missing, all bytes arrive once and in order,
// both ends learn of both ends of the stream, and nothing is left behind.
#include <doctest/doctest.h>

#include "packet/speaker.hpp"

using namespace weir;
using namespace weir::test;

namespace {

enum class fate : std::uint8_t { lost, late, doubled };

struct plan {
  fate what = fate::lost;
  std::vector<std::uint64_t> packets;  ///< which, counted from the first of the conversation
};

struct conversation {
  bool both_open = false;   ///< simultaneous open, else a listener at b
  bool both_close = false;  ///< simultaneous close, else b closes when it has seen a's end
  std::uint32_t a_says = 0, b_says = 0;
  bool modern = true;                ///< SACK, timestamps, window scaling
  std::uint32_t receive_buffer = 0;  ///< bytes; 0: the default
  bool reads_at_the_end = false;     ///< b reads nothing before a has filled its window
  bool nagle = false;
  bool cookies = false;         ///< b keeps no half-open entry
  bool b_closes_first = false;  ///< a closes when it has seen b's end
};

/// How many packets it took.
std::uint64_t run(const conversation& c, const plan& p) {
  host_options options;
  options.tcp.sack = options.tcp.timestamps = options.tcp.window_scaling = c.modern;
  options.tcp.nodelay = !c.nagle;
  if (c.receive_buffer != 0) options.tcp.receive_buffer = c.receive_buffer;
  two_hosts net({}, options, options);
  std::uint64_t counted = 0;
  net.fate_of = [&](std::uint64_t) {
    const auto n = counted++;
    const bool meant = std::find(p.packets.begin(), p.packets.end(), n) != p.packets.end();
    if (!meant) return packet_fate::arrives;
    return p.what == fate::lost   ? packet_fate::lost
           : p.what == fate::late ? packet_fate::late
                                  : packet_fate::doubled;
  };
  speaker a(net.a()), b(net.b());
  a.say = text(c.a_says, 'a');
  b.say = text(c.b_says, 'A');
  socket_id listener = socket_id::none;
  if (!c.both_open)
    listener = *net.b().listen(at("10.0.0.2", 80), {.syn_backlog = c.cookies ? 0u : 16u});
  a.socket = *net.a().connect(net.now(), at("10.0.0.2", 80), at("10.0.0.1", 5000), options.tcp);
  if (c.both_open)
    b.socket = *net.b().connect(net.now(), at("10.0.0.1", 5000), at("10.0.0.2", 80), options.tcp);
  net.application = [&] {
    if (b.socket == socket_id::none)
      if (auto got = net.b().accept(listener)) b.socket = *got;
    a.work(net.now(), c.b_closes_first, false);
    b.work(net.now(), !c.both_close && !c.b_closes_first, c.reads_at_the_end);
  };
  const auto done = [&] { return a.ended && b.ended; };
  CHECK(net.run_until(done, 120s));
  CHECK((a.heard == b.say));
  CHECK((b.heard == a.say));
  CHECK_FALSE(a.failed);
  CHECK_FALSE(b.failed);
  net.run_for(1s);
  net.a().close(net.now(), a.socket);
  net.b().close(net.now(), b.socket);
  net.run_for(200s);
  CHECK(net.a().memory_in_use() == 0);
  CHECK(net.b().memory_in_use() == 0);
  int left = 0;
  net.a().for_each_connection([&](const tcp_info&) { ++left; });
  net.b().for_each_connection([&](const tcp_info&) { ++left; });
  CHECK(left == 0);
  // A copy that comes after the end of LAST-ACK may meet a closed port and be reset: nobody sees
  // it.
  for (auto* h : {&net.a(), &net.b()}) {
    CHECK(h->counters()[counter::connections_aborted] == 0);
    CHECK(h->counters()[counter::orphans_reaped] == 0);
  }
  return counted;
}

void try_everything(const conversation& c) {
  const auto packets = run(c, {});
  REQUIRE(packets >= 5);
  REQUIRE(packets < 60);
  for (const auto what : {fate::lost, fate::late, fate::doubled})
    for (std::uint64_t i = 0; i < packets; ++i) {
      CAPTURE(int(what));
      CAPTURE(i);
      (void)run(c, {what, {i}});
    }
  for (std::uint64_t i = 0; i < packets + 2; ++i)
    for (std::uint64_t j = i + 1; j < packets + 3; ++j) {
      CAPTURE(i);
      CAPTURE(j);
      (void)run(c, {fate::lost, {i, j}});
    }
}

}  // namespace

// covers: b58
TEST_CASE("lost FIN, lost last ACK: whichever packets of a conversation are lost, both ends end") {
  for (const bool modern : {true, false}) {
    CAPTURE(modern);
    try_everything({.a_says = 300, .b_says = 5000, .modern = modern});
  }
}

// covers: b58
TEST_CASE("simultaneous close: whichever packets are lost, both ends end") {
  for (const bool modern : {true, false}) {
    CAPTURE(modern);
    try_everything({.both_close = true, .a_says = 3000, .b_says = 3000, .modern = modern});
    try_everything({.both_close = true, .modern = modern});
  }
}

// covers: MUST-10, b20
TEST_CASE("simultaneous open: whichever packets are lost, both ends connect, talk and end") {
  for (const bool modern : {true, false}) {
    CAPTURE(modern);
    try_everything(
        {.both_open = true, .both_close = true, .a_says = 2000, .b_says = 10, .modern = modern});
    try_everything({.both_open = true, .a_says = 10, .b_says = 2000, .modern = modern});
  }
}

// covers: MUST-36, b34, b44
TEST_CASE(
    "closed windows: whichever packets are lost, updates and probes too, the bytes get through") {
  for (const bool modern : {true, false}) {
    CAPTURE(modern);
    try_everything({.a_says = 9000, .modern = modern, .receive_buffer = 3000});
    try_everything(
        {.a_says = 9000, .modern = modern, .receive_buffer = 3000, .reads_at_the_end = true});
  }
}

// covers: b42
TEST_CASE("nagle: whichever packets are lost, the last piece is not held for ever") {
  try_everything({.a_says = 3001, .b_says = 17, .nagle = true});
}

// covers: b7
TEST_CASE("syn cookies: whichever packets are lost, a client that talks first is served") {
  // Its first flight is one segment: what came after a lost first one could not be told from a
  // forgery, and is reset (RFC 4987 3.6).
  for (const bool modern : {true, false}) {
    CAPTURE(modern);
    try_everything(
        {.a_says = 300, .b_says = 3000, .modern = modern, .cookies = true, .b_closes_first = true});
  }
}
