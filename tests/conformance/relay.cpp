// relay(): the subject accepts two connections of the peer and joins them, on every back end.
#include "weir/relay.hpp"

#include "conformance/harness.hpp"

namespace conformance {

namespace {

struct joined {
  tcp_stream a, b;
};

task<> accept_pair(tcp_listener& listener, joined& into) {
  auto first = co_await listener.accept();
  into.a = std::move(*first);
  auto second = co_await listener.accept();
  into.b = std::move(*second);
}

/// One pair, relayed until it ends.
task<weir::relay_result> relay_one(side& s, weir::relay_limits limits = {}) {
  auto listener = s.listen();
  joined pair;
  co_await accept_pair(listener, pair);
  co_return co_await weir::relay(std::move(pair.a), std::move(pair.b), limits);
}

/// The peer's ends. The first is the relay's `a` because the second connects after it.
task<> connect_pair(side& s, joined& into) {
  auto first = co_await s.connect();
  auto second = co_await s.connect();
  into.a = std::move(first);
  into.b = std::move(second);
}

task<std::error_code> end_of(tcp_stream& stream) {
  std::array<std::byte, 64> buffer;
  for (;;) {
    auto got = co_await stream.read_some(buffer).nothrow();
    if (got.ec || got.n == 0) co_return got.ec;
  }
}

}  // namespace

struct relay_carries_both_ways_and_keeps_a_half_close {
  static task<> subject(side& s) {
    auto done = co_await relay_one(s);
    CHECK_FALSE(done.ec);
    CHECK(done.a_to_b == 1'000'000);
    CHECK(done.b_to_a == 300'000);
  }
  static task<> send(tcp_stream& to) {
    co_await write_pattern(to, 1'000'000);
    to.shutdown_send();
  }
  static task<> peer(side& s) {
    joined ends;
    co_await connect_pair(s, ends);
    weir::scope sending(s.here);
    sending.spawn(send(ends.a));
    auto came = co_await read_pattern(ends.b);
    CHECK(came == 1'000'000);  // to the end, and the other direction still goes
    co_await write_pattern(ends.b, 300'000);
    ends.b.shutdown_send();
    auto back = co_await read_pattern(ends.a);
    CHECK(back == 300'000);
    co_await sending.join();
  }
};
CONFORMANCE(relay_carries_both_ways_and_keeps_a_half_close);

struct relay_within_its_limits_ends_without_an_error {
  static task<> subject(side& s) {
    auto done = co_await relay_one(s, {.idle = 1min, .total = 1min});
    CHECK_FALSE(done.ec);
    CHECK(done.a_to_b == 1'000'000);
    CHECK(done.b_to_a == 300'000);
  }
  static task<> peer(side& s) { return relay_carries_both_ways_and_keeps_a_half_close::peer(s); }
};
CONFORMANCE(relay_within_its_limits_ends_without_an_error);

struct relay_passes_a_reset_on {
  static task<> subject(side& s) {
    auto done = co_await relay_one(s);
    CHECK(done.ec == std::errc::connection_reset);
    CHECK(done.a_to_b == 5);
  }
  static task<> peer(side& s) {
    joined ends;
    co_await connect_pair(s, ends);
    co_await ends.a.write_all("hello");
    std::array<std::byte, 5> buffer;
    co_await ends.b.read_exactly(buffer);
    ends.a.abort();
    auto how = co_await end_of(ends.b);
    CHECK(how == std::errc::connection_reset);
  }
};
CONFORMANCE(relay_passes_a_reset_on);

struct relay_ends_when_nothing_moves_for_its_idle_time {
  static task<> subject(side& s) {
    auto done = co_await relay_one(s, {.idle = 60ms});
    CHECK(done.ec == std::errc::timed_out);
    CHECK(done.a_to_b == 8);
  }
  static task<> peer(side& s) {
    joined ends;
    co_await connect_pair(s, ends);
    std::array<std::byte, 1> byte;
    for (int i = 0; i < 8; ++i) {  // longer than the idle time, and never idle
      co_await ends.a.write_all("x");
      co_await ends.b.read_exactly(byte);
      co_await sleep_for(5ms);
    }
    auto how = co_await end_of(ends.a);
    CHECK(how == std::errc::connection_reset);
    how = co_await end_of(ends.b);
    CHECK(how == std::errc::connection_reset);
  }
};
CONFORMANCE(relay_ends_when_nothing_moves_for_its_idle_time);

struct relay_ends_at_its_total_time_however_busy {
  static task<> subject(side& s) {
    auto done = co_await relay_one(s, {.total = 50ms});
    CHECK(done.ec == std::errc::timed_out);
  }
  static task<> peer(side& s) {
    joined ends;
    co_await connect_pair(s, ends);
    for (;;) {
      auto wrote = co_await ends.a.write_all("x").nothrow();
      if (wrote.ec) break;
      std::array<std::byte, 64> buffer;
      auto got = co_await ends.b.read_some(buffer).nothrow();
      if (got.ec || got.n == 0) break;
      co_await sleep_for(1ms);
    }
    auto how = co_await end_of(ends.b);
    CHECK(how == std::errc::connection_reset);
  }
};
CONFORMANCE(relay_ends_at_its_total_time_however_busy);

struct relay_that_is_cancelled_resets_both_sides {
  static task<> run(side& s) {
    auto done = co_await relay_one(s);
    CHECK(done.ec == std::errc::operation_canceled);
  }
  static task<> subject(side& s) {
    weir::scope relays(s.here);
    relays.spawn(run(s));
    co_await s.wait(1);
    relays.cancel();
    co_await relays.join();
  }
  static task<> peer(side& s) {
    joined ends;
    co_await connect_pair(s, ends);
    co_await ends.a.write_all("x");
    std::array<std::byte, 1> byte;
    co_await ends.b.read_exactly(byte);
    s.signal(1);
    auto how = co_await end_of(ends.a);
    CHECK(how == std::errc::connection_reset);
    how = co_await end_of(ends.b);
    CHECK(how == std::errc::connection_reset);
  }
};
CONFORMANCE(relay_that_is_cancelled_resets_both_sides);

/// More relays than may hold lent buffers wait for peers that do not read. What they hold is
/// bounded, their writers are slowed down, and another relay goes on.
struct relays_whose_readers_stand_still_do_not_stop_another {
  static constexpr int stuck = 80;
  static task<> run(joined pair, std::uint64_t& carried) {
    auto done = co_await weir::relay(std::move(pair.a), std::move(pair.b));
    carried = done.a_to_b;
  }
  static task<> subject(side& s) {
    auto listener = s.listen();
    weir::scope relays(s.here);
    std::array<std::uint64_t, stuck + 1> carried{};
    for (auto& each : carried) {
      joined pair;
      co_await accept_pair(listener, pair);
      relays.spawn(run(std::move(pair), each));
    }
    co_await relays.join();
    CHECK(carried[stuck] == 100'000);
  }
  static task<> fill(tcp_stream& to, std::span<const std::byte> bytes, std::size_t& took) {
    auto wrote = co_await to.write_all(bytes).timeout(400ms).nothrow();
    CHECK(wrote.ec == std::errc::timed_out);
    took = wrote.n;
  }
  static task<> peer(side& s) {
    std::array<joined, stuck> still;
    std::array<std::size_t, stuck> took{};
    const auto bytes = pattern(16 << 20);
    weir::scope filling(s.here);
    for (int i = 0; i < stuck; ++i) {
      co_await connect_pair(s, still[i]);
      still[i].b.set_options({.receive_buffer = 16384});
      filling.spawn(fill(still[i].a, bytes, took[i]));
    }
    co_await filling.join();
    joined ends;
    co_await connect_pair(s, ends);
    co_await write_pattern(ends.a, 100'000);
    auto came = co_await read_pattern(ends.b, 100'000);
    CHECK(came == 100'000);
    ends.a.shutdown_send();
    ends.b.shutdown_send();
    for (auto& each : still) each.b.abort();
  }
};
CONFORMANCE(relays_whose_readers_stand_still_do_not_stop_another);

}  // namespace conformance
