// A small conversation in which one end shuts down, closes or aborts after each packet in turn,
// with one of the packets that follow lost. However it ends, both ends come to know in bounded
// time, what was heard is what was said, and nothing is left behind.
#include <doctest/doctest.h>

#include <optional>

#include "packet/speaker.hpp"

using namespace weir;
using namespace weir::test;

namespace {

enum class act : std::uint8_t { shutdown, close, abort };

struct plan {
  act what = act::shutdown;
  bool by_a = true;
  std::uint64_t after = UINT64_MAX;     ///< packets
  std::optional<std::uint64_t> lost{};  ///< a packet
  std::uint32_t receive_buffer = 0;     ///< bytes; 0: the default
  bool modern = true;                   ///< SACK, timestamps, window scaling
};

struct end : speaker {
  using speaker::speaker;
  bool gone = false;

  void turn(instant now) {
    if (gone || socket == socket_id::none) return;
    work(now, true, false);
    if (failed || (ended && shut)) {
      h->close(now, socket);
      gone = true;
    }
  }
  void interrupt(instant now, act what) {
    if (gone) return;
    switch (what) {
      case act::shutdown: shut = shut || !h->shutdown_send(now, socket); return;
      case act::close: h->close(now, socket); break;
      case act::abort: h->abort(now, socket); break;
    }
    gone = true;
  }
};

/// How many packets it took.
std::uint64_t run(const plan& p) {
  host_options options;
  options.tcp.sack = options.tcp.timestamps = options.tcp.window_scaling = p.modern;
  if (p.receive_buffer != 0) options.tcp.receive_buffer = p.receive_buffer;
  // An end that waits for nothing would never learn that the other has gone.
  options.tcp.keep_alive = true;
  options.tcp.keep_alive_idle = 60s;
  two_hosts net({}, options, options);
  std::uint64_t counted = 0;
  net.fate_of = [&](std::uint64_t) {
    return counted++ == p.lost ? packet_fate::lost : packet_fate::arrives;
  };
  end a(net.a()), b(net.b());
  a.say = text(3000, 'a');
  b.say = text(2000, 'A');
  const auto listener = *net.b().listen(at("10.0.0.2", 80), {});
  a.socket = *net.a().connect(net.now(), at("10.0.0.2", 80), {}, options.tcp);
  bool done = false;
  net.application = [&] {
    if (b.socket == socket_id::none)
      if (auto got = net.b().accept(listener)) b.socket = *got;
    auto& who = p.by_a ? a : b;
    if (!done && counted >= p.after && who.socket != socket_id::none) {
      done = true;
      who.interrupt(net.now(), p.what);
    }
    // Somebody ends it: b once it has said everything.
    if (!b.gone && b.socket != socket_id::none && b.said == b.say.size() && !b.shut)
      b.shut = !net.b().shutdown_send(net.now(), b.socket);
    a.turn(net.now());
    b.turn(net.now());
  };
  // b may never have heard of a connection that was given up before it was made.
  const auto over = [&] { return a.gone && (b.gone || b.socket == socket_id::none); };
  CHECK(net.run_until(over, 3600s));
  CHECK((a.heard == b.say.substr(0, a.heard.size())));
  CHECK((b.heard == a.say.substr(0, b.heard.size())));
  if (p.what == act::shutdown || p.after == UINT64_MAX) {
    CHECK_FALSE(a.failed);
    CHECK_FALSE(b.failed);
    CHECK(b.heard.size() == a.said);
    CHECK(a.heard.size() == b.said);
  }
  net.run_for(1800s);
  for (auto* h : {&net.a(), &net.b()}) {
    CHECK(h->memory_in_use() == 0);
    int left = 0;
    h->for_each_connection([&](const tcp_info&) { ++left; });
    CHECK(left == 0);
  }
  return counted;
}

void at_every_moment(plan p) {
  for (const std::uint32_t receive_buffer : {0u, 1200u})
    for (const bool modern : {true, false}) {
      p.receive_buffer = receive_buffer;
      p.modern = modern;
      auto whole = p;
      whole.after = UINT64_MAX;
      const auto packets = run(whole);
      REQUIRE(packets > 8);
      for (p.after = 0; p.after < packets + 2; ++p.after) {
        p.lost.reset();
        (void)run(p);
        for (std::uint64_t ahead = 0; ahead < 6; ++ahead) {
          p.lost = p.after + ahead;
          CAPTURE(receive_buffer);
          CAPTURE(modern);
          CAPTURE(p.after);
          CAPTURE(ahead);
          (void)run(p);
        }
      }
    }
}

}  // namespace

// covers: 9293-E18
TEST_CASE("shutdown at every moment: what was said before arrives, and the other end goes on") {
  at_every_moment({.what = act::shutdown, .by_a = true});
  at_every_moment({.what = act::shutdown, .by_a = false});
}

// covers: b56, b57
TEST_CASE("close at every moment: both ends come to know in bounded time") {
  at_every_moment({.what = act::close, .by_a = true});
  at_every_moment({.what = act::close, .by_a = false});
}

// covers: 9293-E19
TEST_CASE("abort at every moment: both ends come to know in bounded time") {
  at_every_moment({.what = act::abort, .by_a = true});
  at_every_moment({.what = act::abort, .by_a = false});
}
