// Listening, accepting and connecting: what a listener gives out, to whom, and when it ends.
#include "conformance/harness.hpp"

namespace conformance {

struct accept_gives_a_stream_with_both_endpoints {
  static task<> subject(side& s) {
    auto listener = s.listen();
    auto stream = co_await listener.accept();
    REQUIRE(stream.has_value());
    CHECK(stream->local_endpoint() == listener.local_endpoint());
    CHECK(stream->remote_endpoint().address == s.other->address);
    auto port = co_await s.wait(1);
    CHECK(stream->remote_endpoint().port == port);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    auto to = co_await s.target();
    CHECK(stream.remote_endpoint() == to);
    s.signal(1, stream.local_endpoint().port);
    std::array<std::byte, 1> end;
    CHECK(co_await stream.read_some(end) == 0);
  }
};
CONFORMANCE(accept_gives_a_stream_with_both_endpoints);

struct accept_serves_over_ipv6 {
  static task<> subject(side& s) {
    auto listener = s.listen_v6();
    auto stream = co_await listener.accept();
    REQUIRE(stream.has_value());
    CHECK(stream->remote_endpoint().address.is_v6());
    CHECK(co_await read_pattern(*stream, 10'000) == 10'000);
    co_await write_pattern(*stream, 10'000);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target_v6();
    auto stream = co_await weir::connect(to);
    co_await write_pattern(stream, 10'000);
    CHECK(co_await read_pattern(stream) == 10'000);
  }
};
CONFORMANCE(accept_serves_over_ipv6);

struct accept_takes_connections_that_came_before_it {
  static task<> subject(side& s) {
    auto listener = s.listen();
    co_await s.wait(1);
    for (int i = 0; i < 3; ++i) {
      auto stream = co_await listener.accept();
      REQUIRE(stream.has_value());
      CHECK(co_await read_text(*stream) == std::string(1, static_cast<char>('a' + i)));
    }
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    for (int i = 0; i < 3; ++i) {
      auto stream = co_await weir::connect(to);
      co_await stream.write_all(std::string_view("abc").substr(static_cast<std::size_t>(i), 1));
    }
    s.signal(1);
  }
};
CONFORMANCE(accept_takes_connections_that_came_before_it);

struct acceptors_are_served_in_the_order_of_their_waiting {
  static task<int> accept_in_turn(tcp_listener& listener, std::vector<int>& order, int number) {
    auto stream = co_await listener.accept();
    REQUIRE(stream.has_value());
    order.push_back(number);
    co_return number;
  }
  static task<> subject(side& s) {
    auto listener = s.listen();
    std::vector<int> order;
    co_await weir::when_all(accept_in_turn(listener, order, 0), accept_in_turn(listener, order, 1),
                            accept_in_turn(listener, order, 2));
    CHECK(order == std::vector<int>{0, 1, 2});
    s.signal(1);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto first = co_await weir::connect(to);
    auto second = co_await weir::connect(to);
    auto third = co_await weir::connect(to);
    co_await s.wait(1);
  }
};
CONFORMANCE(acceptors_are_served_in_the_order_of_their_waiting);

struct accept_ends_empty_when_stop_is_requested {
  static task<> subject(side& s) {
    auto listener = s.listen();
    s.here.post([&s] { s.here.request_stop(); });
    auto stream = co_await listener.accept();
    CHECK_FALSE(stream.has_value());
    auto again = co_await listener.accept();  // and stays so
    CHECK_FALSE(again.has_value());
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(accept_ends_empty_when_stop_is_requested);

struct accept_timeout_is_timed_out {
  static task<> subject(side& s) {
    auto listener = s.listen();
    auto before = s.here.now();
    auto stream = co_await listener.accept().timeout(20ms).nothrow();
    REQUIRE_FALSE(stream.has_value());
    CHECK(stream.error() == std::errc::timed_out);
    CHECK(s.here.now() - before >= 20ms);
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(accept_timeout_is_timed_out);

struct accept_that_times_out_or_is_cancelled_at_once_ends {
  static task<bool> accepts(tcp_listener& listener) {
    auto stream = co_await listener.accept();
    co_return stream.has_value();
  }
  static task<> subject(side& s) {
    auto listener = s.listen();
    // Before whoever accepts elsewhere (a kernel, another thread) was asked.
    for (int i = 0; i < 3; ++i) {
      auto none = co_await listener.accept().timeout(0ms).nothrow();
      REQUIRE_FALSE(none.has_value());
      CHECK(none.error() == std::errc::timed_out);
      auto raced = co_await weir::when_any(accepts(listener), []() -> task<> { co_return; }());
      CHECK(raced.index() == 1);
      raced =
          co_await weir::when_any(accepts(listener), []() -> task<> { co_await weir::yield(); }());
      CHECK(raced.index() == 1);
    }
    s.signal(1);
    auto stream = co_await listener.accept();  // nobody before it is waiting still
    REQUIRE(stream.has_value());
    CHECK(co_await read_text(*stream) == "late");
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    co_await s.wait(1);
    auto stream = co_await weir::connect(to);
    co_await stream.write_all("late");
  }
};
CONFORMANCE(accept_that_times_out_or_is_cancelled_at_once_ends);

struct accept_that_timed_out_loses_no_connection {
  static task<> subject(side& s) {
    auto listener = s.listen();
    auto none = co_await listener.accept().timeout(5ms).nothrow();
    CHECK_FALSE(none.has_value());
    s.signal(1);
    auto stream = co_await listener.accept();
    REQUIRE(stream.has_value());
    CHECK(co_await read_text(*stream) == "late");
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    co_await s.wait(1);
    auto stream = co_await weir::connect(to);
    co_await stream.write_all("late");
  }
};
CONFORMANCE(accept_that_timed_out_loses_no_connection);

struct accept_can_be_cancelled {
  static task<bool> accepts(tcp_listener& listener) {
    auto stream = co_await listener.accept();
    co_return stream.has_value();
  }
  static task<> subject(side& s) {
    auto listener = s.listen();
    auto raced =
        co_await weir::when_any(accepts(listener), []() -> task<> { co_await sleep_for(5ms); }());
    CHECK(raced.index() == 1);
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(accept_can_be_cancelled);

struct listen_on_a_port_in_use_is_address_in_use {
  static task<> subject(side& s) {
    auto listener = s.listen();
    auto second = s.here.try_listen(listener.local_endpoint());
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error() == std::errc::address_in_use);
    CHECK_THROWS_AS(s.here.listen(listener.local_endpoint()), io_error);
    co_return;
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(listen_on_a_port_in_use_is_address_in_use);

struct listen_on_a_foreign_address_is_address_not_available {
  static task<> subject(side& s) {
    auto listener = s.here.try_listen({"192.0.2.77", 7777});
    REQUIRE_FALSE(listener.has_value());
    CHECK(listener.error() == std::errc::address_not_available);
    co_return;
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(listen_on_a_foreign_address_is_address_not_available);

struct listen_on_a_wildcard_takes_a_decision {
  static task<> subject(side& s) {
    for (auto wildcard : {endpoint("0.0.0.0", 0), endpoint("::", 0)}) {
      auto refused = s.here.try_listen(wildcard);
      REQUIRE_FALSE(refused.has_value());
      CHECK(refused.error() == std::errc::permission_denied);
      auto allowed = s.here.try_listen(wildcard, {.allow_wildcard = true});
      CHECK(allowed.has_value());
    }
    co_return;
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(listen_on_a_wildcard_takes_a_decision);

struct wildcard_listener_serves_every_address {
  static task<> subject(side& s) {
    auto listener = s.here.listen({"0.0.0.0", 0}, {.allow_wildcard = true});
    s.signal(port_known, listener.local_endpoint().port);
    auto stream = co_await listener.accept();
    REQUIRE(stream.has_value());
    CHECK(stream->local_endpoint().address == s.address);
    co_await stream->write_all("here");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    CHECK(co_await read_text(stream) == "here");
  }
};
CONFORMANCE(wildcard_listener_serves_every_address);

struct listen_on_port_zero_takes_a_free_port {
  static task<> subject(side& s) {
    auto first = s.here.listen({s.address, 0});
    auto second = s.here.listen({s.address, 0});
    CHECK(first.local_endpoint().port != 0);
    CHECK(first.local_endpoint().port != second.local_endpoint().port);
    CHECK(first.local_endpoint().address == s.address);
    co_return;
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(listen_on_port_zero_takes_a_free_port);

struct closing_a_listener_frees_its_port {
  static task<> subject(side& s) {
    auto listener = s.here.listen({s.address, 0});
    auto where = listener.local_endpoint();
    listener.close();
    // Kernel sockets of a ring are closed a turn later, once their accept was withdrawn.
    for (int i = 0; i < 100; ++i) {
      auto again = s.here.try_listen(where);
      if (again) co_return;
      co_await sleep_for(1ms);
    }
    FAIL("the port is still in use");
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(closing_a_listener_frees_its_port);

struct closing_a_listener_ends_connections_that_nobody_accepted {
  static task<> subject(side& s) {
    auto listener = s.listen();
    co_await s.wait(1);
    listener.close();
    s.signal(2);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    s.signal(1);
    co_await s.wait(2);
    std::array<std::byte, 8> buffer;
    auto got = co_await stream.read_some(buffer).timeout(10s).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
  }
};
CONFORMANCE(closing_a_listener_ends_connections_that_nobody_accepted);

struct listen_option_that_cannot_be_honoured_is_an_error {
  static task<> subject(side& s) {
    auto keyed = s.here.try_listen({s.address, 0}, {.owner_key = 7});
    if (s.on_kernel()) {
      REQUIRE_FALSE(keyed.has_value());
      CHECK(keyed.error() == std::errc::operation_not_supported);
      auto reset = s.here.try_listen({s.address, 0}, {.overflow = weir::overflow::reset});
      REQUIRE_FALSE(reset.has_value());
      CHECK(reset.error() == std::errc::operation_not_supported);
    } else {
      CHECK(s.here.try_listen({s.address, 0}, {.overflow = weir::overflow::reset}).has_value());
    }
    co_return;
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(listen_option_that_cannot_be_honoured_is_an_error);

struct connect_gives_a_stream_with_both_endpoints {
  static task<> subject(side& s) {
    auto to = co_await s.target();
    auto stream = co_await weir::connect(to);
    CHECK(stream.remote_endpoint() == to);
    CHECK(stream.local_endpoint().address == s.address);
    CHECK(stream.local_endpoint().port != 0);
    co_await stream.write_all("hello");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.accept_one();
    CHECK(co_await read_text(stream) == "hello");
  }
};
CONFORMANCE(connect_gives_a_stream_with_both_endpoints);

struct connect_to_a_port_without_a_listener_is_refused {
  static task<> subject(side& s) {
    auto port = co_await s.wait(1);
    auto stream =
        co_await weir::connect({s.other->address, static_cast<std::uint16_t>(port)}).nothrow();
    REQUIRE_FALSE(stream.has_value());
    CHECK(stream.error() == std::errc::connection_refused);
    s.signal(2);
  }
  static task<> peer(side& s) {
    auto listener = s.here.listen({s.address, 0});
    auto port = listener.local_endpoint().port;
    listener.close();
    co_await sleep_for(5ms);
    s.signal(1, port);
    co_await s.wait(2);
  }
};
CONFORMANCE(connect_to_a_port_without_a_listener_is_refused);

struct connect_throws_with_the_address_in_its_text {
  static task<> subject(side& s) {
    std::string text;
    try {
      auto stream = co_await weir::connect({s.other->address, 1});
    } catch (const io_error& error) {
      text = error.what();
    }
    CHECK(text.find(endpoint(s.other->address, 1).to_string()) != std::string::npos);
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(connect_throws_with_the_address_in_its_text);

struct connect_from_a_chosen_address {
  static task<> subject(side& s) {
    weir::connect_options options;
    options.local = {s.address, 0};
    auto stream = co_await s.connect(options);
    CHECK(stream.local_endpoint().address == s.address);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.accept_one();
    CHECK(stream.remote_endpoint().address == s.other->address);
  }
};
CONFORMANCE(connect_from_a_chosen_address);

struct connect_from_a_foreign_address_is_refused {
  static task<> subject(side& s) {
    auto to = co_await s.target();
    weir::connect_options options;
    options.local = endpoint("192.0.2.77", 0);
    auto stream = co_await weir::connect(to, options).nothrow();
    REQUIRE_FALSE(stream.has_value());
    CHECK(stream.error() == std::errc::address_not_available);
    s.signal(1);
  }
  static task<> peer(side& s) {
    auto listener = s.listen();
    co_await s.wait(1);
  }
};
CONFORMANCE(connect_from_a_foreign_address_is_refused);

struct connect_into_a_full_accept_queue_can_time_out {
  static task<> subject(side& s) {
    auto to = co_await s.target();
    std::vector<tcp_stream> held;
    bool timed_out = false;
    // Linux admits backlog + 1, and the client may count itself connected a little longer than
    // that.
    for (int i = 0; i < 16 && !timed_out; ++i) {
      auto stream = co_await weir::connect(to).timeout(50ms).nothrow();
      if (stream)
        held.push_back(std::move(*stream));
      else
        timed_out = stream.error() == std::errc::timed_out;
    }
    CHECK(timed_out);
    s.signal(1);
  }
  static task<> peer(side& s) {
    auto listener = s.listen({.backlog = 1});
    co_await s.wait(1);
  }
};
CONFORMANCE(connect_into_a_full_accept_queue_can_time_out);

/// Before whoever connects elsewhere (a kernel, another thread) was asked, and soon after.
struct connect_that_is_cancelled_at_once_ends {
  static task<> connects(endpoint to, std::error_code& seen) {
    const auto stream = co_await weir::connect(to).nothrow();
    seen = stream.error();
  }
  static task<> subject(side& s) {
    const auto to = co_await s.target();
    const auto given_up_after = [&](task<> moment) -> task<> {
      std::error_code seen;
      co_await weir::when_any(connects(to, seen), std::move(moment));
      // One that was made by then was made.
      CHECK((!seen || seen == std::errc::operation_canceled));
    };
    for (int i = 0; i < 3; ++i) {
      co_await given_up_after([]() -> task<> { co_return; }());
      co_await given_up_after([]() -> task<> { co_await weir::yield(); }());
      co_await sleep_for(1ms);
    }
    auto stream = co_await weir::connect(to);
    co_await stream.write_all("late");
  }
  static task<> peer(side& s) {
    auto listener = s.listen();
    for (std::string text; text != "late";) {
      auto stream = co_await listener.accept();
      REQUIRE(stream.has_value());
      text.clear();
      std::array<std::byte, 8> buffer;
      for (;;) {  // one that was given up may end by a reset
        const auto got = co_await stream->read_some(buffer).nothrow();
        if (got.ec || got.n == 0) break;
        text += text_of(std::span(buffer).first(got.n));
      }
      CHECK((text.empty() || text == "late"));
    }
  }
};
CONFORMANCE(connect_that_is_cancelled_at_once_ends);

struct many_connections_at_once {
  static constexpr std::size_t count = 64;
  static task<> one(endpoint to, std::size_t number) {
    auto stream = co_await weir::connect(to);
    auto sent = pattern(1000, number);
    co_await stream.write_all(sent);
    std::vector<std::byte> back(sent.size());
    co_await stream.read_exactly(back);
    CHECK(back == sent);
  }
  static task<> echo(tcp_stream stream) {
    std::array<std::byte, 512> buffer;
    while (auto n = co_await stream.read_some(buffer))
      co_await stream.write_all(std::span(buffer).first(n));
  }
  static task<> subject(side& s) {
    auto listener = s.listen();
    weir::scope sessions(s.here);
    for (std::size_t i = 0; i < count; ++i) {
      auto stream = co_await listener.accept();
      REQUIRE(stream.has_value());
      sessions.spawn(echo(std::move(*stream)));
    }
    co_await sessions.join();
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    weir::scope clients(s.here);
    for (std::size_t i = 0; i < count; ++i) clients.spawn(one(to, i));
    co_await clients.join();
    CHECK(clients.io_errors() == 0);
  }
};
CONFORMANCE(many_connections_at_once);

struct thousand_connections_one_after_another {
  static constexpr int count = 1000;
  static task<> subject(side& s) {
    auto listener = s.listen();
    for (int i = 0; i < count; ++i) {
      auto stream = co_await listener.accept();
      REQUIRE(stream.has_value());
      CHECK(co_await read_text(*stream) == "x");
    }
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    for (int i = 0; i < count; ++i) {
      auto stream = co_await weir::connect(to);
      co_await stream.write_all("x");
      stream.shutdown_send();
      std::array<std::byte, 1> end;
      CHECK(co_await stream.read_some(end) == 0);
    }
  }
};
CONFORMANCE(thousand_connections_one_after_another);

}  // namespace conformance
