// Whole servers: the echo server of the README, its scope, its bounds, its shutdown, and clients
// that misbehave.
#include "conformance/harness.hpp"

namespace conformance {

namespace {

task<> session(tcp_stream stream) {
  std::array<std::byte, 4096> buffer;
  while (auto n = co_await stream.read_some(buffer).timeout(30s))
    co_await stream.write_all(std::span(buffer).first(n));
}

/// Accepts into the scope until the shard is asked to stop.
task<> serve(tcp_listener& listener, weir::scope& sessions) {
  for (;;) {
    auto stream = co_await listener.accept();
    if (!stream) break;
    sessions.spawn(session(std::move(*stream)));
  }
}

task<bool> echoes(tcp_stream& stream, std::size_t size) {
  auto sent = pattern(size);
  co_await stream.write_all(sent);
  std::vector<std::byte> back(size);
  auto got = co_await stream.read_exactly(back).timeout(20s).nothrow();
  co_return !got.ec && back == sent;
}

}  // namespace

struct echo_server_serves_a_hundred_clients {
  static task<> client(endpoint to) {
    auto stream = co_await weir::connect(to);
    for (std::size_t size : {1, 64, 1000, 5000}) CHECK(co_await echoes(stream, size));
  }
  static task<> subject(side& s) {
    auto listener = s.listen();
    weir::scope sessions(s.here, {.max = 10'000});
    co_await weir::when_any(serve(listener, sessions),
                            [](side& me) -> task<> { co_await me.wait(1); }(s));
    auto drained = co_await sessions.drain(5s);
    CHECK(drained.in_time);
    CHECK(sessions.io_errors() == 0);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    {
      weir::scope clients(s.here);
      for (int i = 0; i < 100; ++i) clients.spawn(client(to));
      co_await clients.join();
      CHECK(clients.io_errors() == 0);
    }
    s.signal(1);
  }
};
CONFORMANCE(echo_server_serves_a_hundred_clients);

struct full_scope_closes_what_it_cannot_serve {
  static task<> subject(side& s) {
    auto listener = s.listen();
    weir::scope sessions(s.here, {.max = 2});
    co_await weir::when_any(serve(listener, sessions),
                            [](side& me) -> task<> { co_await me.wait(1); }(s));
    CHECK(sessions.refused() == 1);
    co_await sessions.drain(0s);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto first = co_await weir::connect(to);
    CHECK(co_await echoes(first, 10));
    auto second = co_await weir::connect(to);
    CHECK(co_await echoes(second, 10));
    auto third = co_await weir::connect(to);
    std::array<std::byte, 1> end;
    CHECK(co_await third.read_some(end) == 0);
    CHECK(co_await echoes(first, 10));
    s.signal(1);
  }
};
CONFORMANCE(full_scope_closes_what_it_cannot_serve);

struct drain_waits_for_sessions_that_end_in_time {
  static task<> subject(side& s) {
    auto listener = s.listen();
    weir::scope sessions(s.here);
    auto stream = co_await listener.accept();
    REQUIRE(stream.has_value());
    sessions.spawn(session(std::move(*stream)));
    s.signal(1);
    auto drained = co_await sessions.drain(10s);
    CHECK(drained.in_time);
    CHECK(drained.cancelled == 0);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await sleep_for(10ms);
    CHECK(co_await echoes(stream, 100));
  }
};
CONFORMANCE(drain_waits_for_sessions_that_end_in_time);

struct drain_cancels_sessions_that_do_not_end {
  static task<> subject(side& s) {
    auto listener = s.listen();
    weir::scope sessions(s.here);
    for (int i = 0; i < 3; ++i) {
      auto stream = co_await listener.accept();
      REQUIRE(stream.has_value());
      sessions.spawn(session(std::move(*stream)));
    }
    auto drained = co_await sessions.drain(10ms);
    CHECK_FALSE(drained.in_time);
    CHECK(drained.cancelled == 3);
    CHECK(sessions.size() == 0);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto first = co_await weir::connect(to);
    auto second = co_await weir::connect(to);
    auto third = co_await weir::connect(to);
    std::array<std::byte, 1> end;
    CHECK(co_await first.read_some(end) == 0);
    CHECK(co_await second.read_some(end) == 0);
    CHECK(co_await third.read_some(end) == 0);
  }
};
CONFORMANCE(drain_cancels_sessions_that_do_not_end);

struct session_that_is_reset_does_not_end_the_server {
  static task<> subject(side& s) {
    auto listener = s.listen();
    weir::scope sessions(s.here);
    co_await weir::when_any(serve(listener, sessions),
                            [](side& me) -> task<> { co_await me.wait(1); }(s));
    CHECK(sessions.io_errors() == 1);
    co_await sessions.drain(5s);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto bad = co_await weir::connect(to);
    CHECK(co_await echoes(bad, 10));
    bad.abort();
    auto good = co_await weir::connect(to);
    CHECK(co_await echoes(good, 10));
    good.close();
    co_await sleep_for(10ms);
    s.signal(1);
  }
};
CONFORMANCE(session_that_is_reset_does_not_end_the_server);

struct exception_in_a_session_fails_its_scope {
  static task<> breaks(tcp_stream stream) {
    std::array<std::byte, 4> buffer;
    co_await stream.read_some(buffer);
    throw std::runtime_error("a bug of the session's own");
  }
  static task<> subject(side& s) {
    auto listener = s.listen();
    weir::scope sessions(s.here);
    for (int i = 0; i < 2; ++i) {
      auto stream = co_await listener.accept();
      REQUIRE(stream.has_value());
      sessions.spawn(breaks(std::move(*stream)));
    }
    std::string text;
    try {
      co_await sessions.join();
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
    CHECK(text == "a bug of the session's own");
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto first = co_await weir::connect(to);
    auto second = co_await weir::connect(to);
    co_await first.write_all("x");
    std::array<std::byte, 1> end;
    CHECK(co_await second.read_some(end) == 0);  // cancelled with the other
  }
};
CONFORMANCE(exception_in_a_session_fails_its_scope);

struct idle_session_times_out {
  static task<> idle(tcp_stream stream, bool& timed_out) {
    std::array<std::byte, 4> buffer;
    auto got = co_await stream.read_some(buffer).timeout(20ms).nothrow();
    timed_out = got.ec == std::errc::timed_out;
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    bool timed_out = false;
    co_await idle(std::move(stream), timed_out);
    CHECK(timed_out);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    std::array<std::byte, 1> end;
    CHECK(co_await stream.read_some(end) == 0);
  }
};
CONFORMANCE(idle_session_times_out);

struct whole_session_can_have_a_deadline {
  static task<> trickle(tcp_stream stream) {
    std::array<std::byte, 1> buffer;
    while (auto n = co_await stream.read_some(buffer).timeout(1s)) CHECK(n == 1);
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::error_code seen;
    try {
      co_await weir::with_timeout(50ms, trickle(std::move(stream)));
    } catch (const io_error& error) {
      seen = error.code();
    }
    CHECK(seen == std::errc::timed_out);
    s.signal(1);
  }
  static task<> writes(tcp_stream& stream) {
    for (;;) {
      auto wrote = co_await stream.write_all("x").nothrow();
      if (wrote.ec) break;
      co_await sleep_for(1ms);
    }
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await writes(stream);
    co_await s.wait(1);
  }
};
CONFORMANCE(whole_session_can_have_a_deadline);

struct stop_under_load_drains {
  static task<> client(endpoint to, std::uint64_t& answered) {
    for (;;) {
      auto stream = co_await weir::connect(to).nothrow();
      if (!stream) co_return;
      std::array<std::byte, 64> buffer;
      auto wrote = co_await stream->write_all("request").nothrow();
      if (wrote.ec) co_return;
      auto got = co_await stream->read_exactly(std::span(buffer).first(7)).nothrow();
      if (got.ec) co_return;
      ++answered;
    }
  }
  static task<> subject(side& s) {
    weir::scope sessions(s.here);
    {
      auto listener = s.listen();
      s.here.post([&s] { s.signal(7); });
      co_await weir::when_any(serve(listener, sessions),
                              [](side& me) -> task<> { co_await me.wait(1); }(s));
    }
    co_await sessions.drain(5s);
    CHECK(sessions.size() == 0);
    s.signal(2);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    weir::scope clients(s.here);
    std::uint64_t answered = 0;
    for (int i = 0; i < 32; ++i) clients.spawn(client(to, answered));
    for (int i = 0; i < 5000 && answered < 200; ++i) co_await sleep_for(1ms);
    CHECK(answered >= 200);
    s.signal(1);
    co_await s.wait(2);
    co_await clients.drain(5s);
  }
};
CONFORMANCE(stop_under_load_drains);

struct pipelined_requests_are_answered_in_order {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    for (int i = 0; i < 200; ++i) {
      std::array<std::byte, 4> request;
      co_await stream.read_exactly(request);
      co_await stream.write_all(request);
    }
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    auto all = pattern(800);
    co_await stream.write_all(all);
    std::vector<std::byte> back(800);
    co_await stream.read_exactly(back);
    CHECK(back == all);
  }
};
CONFORMANCE(pipelined_requests_are_answered_in_order);

struct options_can_be_set_on_a_live_stream {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    stream.set_options({.nodelay = false});
    co_await stream.write_all("a");
    stream.set_options({.nodelay = true, .keep_alive = true});
    co_await stream.write_all("b");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    CHECK(co_await read_text(stream) == "ab");
  }
};
CONFORMANCE(options_can_be_set_on_a_live_stream);

struct corked_stream_still_delivers_at_the_end {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    stream.set_options({.cork = true});
    co_await stream.write_all("held ");
    co_await stream.write_all("together");
    stream.set_options({.cork = false});
    co_await s.wait(1);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    std::array<std::byte, 13> buffer;
    co_await stream.read_exactly(buffer);
    CHECK(text_of(buffer) == "held together");
    s.signal(1);
  }
};
CONFORMANCE(corked_stream_still_delivers_at_the_end);

struct slow_reader_does_not_hold_up_others {
  static task<> floods(tcp_stream stream) {
    auto bytes = pattern(64 << 20);
    (void)co_await stream.write_all(bytes).nothrow();
  }
  static task<> subject(side& s) {
    auto listener = s.listen();
    weir::scope sessions(s.here);
    auto slow = co_await listener.accept();
    REQUIRE(slow.has_value());
    sessions.spawn(floods(std::move(*slow)));
    co_await weir::when_any(serve(listener, sessions),
                            [](side& me) -> task<> { co_await me.wait(1); }(s));
    co_await sessions.drain(0s);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto slow = co_await weir::connect(to);
    co_await sleep_for(20ms);
    auto quick = co_await weir::connect(to);
    for (int i = 0; i < 100; ++i) CHECK(co_await echoes(quick, 64));
    s.signal(1);
  }
};
CONFORMANCE(slow_reader_does_not_hold_up_others);

struct fast_writer_does_not_hold_up_others {
  static task<> absorb(tcp_stream stream) {
    std::vector<std::byte> buffer(64 * 1024);
    while (auto n = co_await stream.read_some(buffer)) CHECK(n > 0);
  }
  static task<> subject(side& s) {
    auto listener = s.listen();
    weir::scope sessions(s.here);
    auto flood = co_await listener.accept();
    REQUIRE(flood.has_value());
    sessions.spawn(absorb(std::move(*flood)));
    co_await weir::when_any(serve(listener, sessions),
                            [](side& me) -> task<> { co_await me.wait(1); }(s));
    co_await sessions.drain(0s);
  }
  static task<> floods(tcp_stream& stream, bool& enough) {
    auto bytes = pattern(256 * 1024);
    while (!enough) co_await stream.write_all(bytes);
  }
  static task<> asks(endpoint to, bool& enough) {
    auto quick = co_await weir::connect(to);
    for (int i = 0; i < 50; ++i) CHECK(co_await echoes(quick, 64));
    enough = true;
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto flood = co_await weir::connect(to);
    bool enough = false;
    co_await weir::when_all(floods(flood, enough), asks(to, enough));
    s.signal(1);
  }
};
CONFORMANCE(fast_writer_does_not_hold_up_others);

struct million_synchronous_awaits_need_no_stack {
  static task<std::size_t> nothing(tcp_stream& stream) {
    co_return co_await stream.write_all(std::span<const std::byte>());
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::size_t sum = 0;
    for (int i = 0; i < 1'000'000; ++i) sum += co_await nothing(stream);
    CHECK(sum == 0);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(99);
  }
};
CONFORMANCE(million_synchronous_awaits_need_no_stack);

}  // namespace conformance
