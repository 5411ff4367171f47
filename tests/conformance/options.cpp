// Options of sockets that reach below the bytes: probes of a silent peer, headers, interfaces,
// zones, several paths. What a back end lacks it says.
#include "conformance/harness.hpp"

namespace conformance {

namespace {

/// What such an attempt to connect gives; waits at most so long that nobody has to answer.
task<std::error_code> connecting(endpoint to, weir::connect_options how) {
  auto made = co_await weir::connect(to, how).timeout(1s).nothrow();
  co_return made ? std::error_code() : made.error();
}

task<> echo_once(tcp_stream& stream) {
  std::array<std::byte, 5> buffer;
  co_await stream.read_exactly(buffer);
  co_await stream.write_all(buffer);
}

task<> ask_once(tcp_stream& stream) {
  co_await stream.write_all("hello");
  std::array<std::byte, 5> buffer;
  co_await stream.read_exactly(buffer);
  CHECK(text_of(buffer) == "hello");
}

const auto unsupported = std::errc::operation_not_supported;

}  // namespace

struct options_out_of_their_bounds_are_invalid {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    const std::array wrong{weir::stream_options{.keep_alive_idle = 0s},
                           weir::stream_options{.keep_alive_interval = -1s},
                           weir::stream_options{.keep_alive_interval = 10h},
                           weir::stream_options{.keep_alive_probes = 0},
                           weir::stream_options{.keep_alive_probes = 128},
                           weir::stream_options{.dscp = 64},
                           weir::stream_options{.ttl = 0},
                           weir::stream_options{.max_segment = 87},
                           weir::stream_options{.max_segment = 32768}};
    for (const auto& how : wrong) {
      std::error_code seen;
      try {
        stream.set_options(how);
      } catch (const io_error& error) {
        seen = error.code();
      }
      CHECK(seen == std::errc::invalid_argument);
      const auto connected = co_await connecting({s.other->address, 9}, {.stream = how});
      CHECK(connected == std::errc::invalid_argument);
      const auto listening = s.here.try_listen({s.address, 0}, {.stream = how});
      REQUIRE_FALSE(listening.has_value());
      CHECK(listening.error() == std::errc::invalid_argument);
    }
    const auto corked = s.here.try_listen({s.address, 0}, {.stream = {.cork = true}});
    REQUIRE_FALSE(corked.has_value());
    CHECK(corked.error() == std::errc::invalid_argument);
    co_await echo_once(stream);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await ask_once(stream);
  }
};
CONFORMANCE(options_out_of_their_bounds_are_invalid);

struct options_of_probes_and_headers_are_taken_at_any_time {
  static constexpr weir::stream_options all{.keep_alive = true,
                                            .keep_alive_idle = 20s,
                                            .keep_alive_interval = 1500ms,
                                            .keep_alive_probes = 3,
                                            .dscp = 46,
                                            .ttl = 17};
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    stream.set_options(all);
    co_await echo_once(stream);
    auto to = co_await s.wait(1);
    auto out =
        co_await weir::connect({s.other->address, static_cast<std::uint16_t>(to)}, {.stream = all});
    co_await ask_once(out);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await ask_once(stream);
    auto listener = s.here.listen({s.address, 0});
    s.signal(1, listener.local_endpoint().port);
    auto in = co_await listener.accept();
    co_await echo_once(*in);
  }
};
CONFORMANCE(options_of_probes_and_headers_are_taken_at_any_time);

struct options_of_a_listener_are_those_of_its_connections {
  static constexpr weir::stream_options all{.nodelay = false,
                                            .receive_buffer = 100'000,
                                            .keep_alive = true,
                                            .keep_alive_idle = 20s,
                                            .ttl = 17,
                                            .max_segment = 700};
  static task<> subject(side& s) {
    auto listener = s.here.listen({s.address, 0}, {.stream = all});
    s.signal(1, listener.local_endpoint().port);
    auto stream = co_await listener.accept();
    std::array<std::byte, 20'000> buffer;
    co_await stream->read_exactly(buffer);
    co_await stream->write_all(buffer);
    // A handshake tells it: it is too late for this one.
    std::error_code seen;
    try {
      stream->set_options({.max_segment = 700});
    } catch (const io_error& error) {
      seen = error.code();
    }
    CHECK(seen == unsupported);
    s.signal(2);
  }
  static task<> peer(side& s) {
    const auto port = static_cast<std::uint16_t>(co_await s.wait(1));
    auto stream =
        co_await weir::connect({s.other->address, port}, {.stream = {.max_segment = 900}});
    std::array<std::byte, 20'000> sent, got;
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<std::byte>(i * 7 % 251);
    co_await stream.write_all(sent);
    co_await stream.read_exactly(got);
    CHECK(got == sent);
    co_await s.wait(2);
  }
};
CONFORMANCE(options_of_a_listener_are_those_of_its_connections);

struct options_of_udp_headers_are_taken {
  static task<> subject(side& s) {
    auto wrong = s.here.try_bind_udp({s.address, 0}, {.dscp = 64});
    REQUIRE_FALSE(wrong.has_value());
    CHECK(wrong.error() == std::errc::invalid_argument);
    wrong = s.here.try_bind_udp({s.address, 0}, {.ttl = 0});
    REQUIRE_FALSE(wrong.has_value());
    CHECK(wrong.error() == std::errc::invalid_argument);
    for (const auto own : {s.address, s.address_v6}) {
      auto socket = s.here.bind_udp({own, 0}, {.dscp = 10, .ttl = 3});
      s.signal(own.is_v4() ? 1 : 2, socket.local_endpoint().port);
      std::array<std::byte, 64> buffer;
      auto got = co_await socket.receive_from(buffer);
      // A mark stands beside what the socket says.
      const weir::outgoing_datagram answer{.bytes = std::span(buffer).first(got.n),
                                           .to = got.from,
                                           .mark = weir::ecn_mark::capable_0};
      co_await socket.send_batch(std::span(&answer, 1));
    }
    s.signal(99);
  }
  static task<> peer(side& s) {
    for (const auto other : {s.other->address, s.other->address_v6}) {
      const auto port = co_await s.wait(other.is_v4() ? 1 : 2);
      auto socket = s.here.connect_udp({other, static_cast<std::uint16_t>(port)});
      co_await socket.send("hello");
      std::array<std::byte, 64> buffer;
      weir::incoming_datagram got{.buffer = buffer};
      const auto n = co_await socket.receive_batch(std::span(&got, 1));
      CHECK(n == 1);
      CHECK(got.n == 5);
      CHECK(got.mark == weir::ecn_mark::capable_0);
    }
    co_await s.wait(99);
  }
};
CONFORMANCE(options_of_udp_headers_are_taken);

struct options_name_an_interface_where_there_are_some {
  static task<> subject(side& s) {
    const std::string_view loopback = "lo", nowhere = "weir-nowhere",
                           long_name("a-name-that-no-interface-can-have");
    const auto why = s.on_kernel() ? std::errc::no_such_device : unsupported;
    for (const auto name : {nowhere, long_name}) {
      auto listener = s.here.try_listen({s.address, 0}, {.interface = name});
      REQUIRE_FALSE(listener.has_value());
      CHECK(listener.error() == why);
      const auto connected = co_await connecting({s.other->address, 9}, {.interface = name});
      CHECK(connected == why);
      auto socket = s.here.try_bind_udp({s.address, 0}, {.interface = name});
      REQUIRE_FALSE(socket.has_value());
      CHECK(socket.error() == why);
    }
    if (!s.on_kernel()) co_return;
    auto listener = s.here.listen({s.address, 0}, {.interface = loopback});
    auto client = co_await weir::connect(listener.local_endpoint(), {.interface = loopback});
    auto accepted = co_await listener.accept();
    co_await client.write_all("hello");
    co_await echo_once(*accepted);
    auto socket = s.here.bind_udp({s.address, 0}, {.interface = loopback});
    auto sender = s.here.connect_udp(socket.local_endpoint(), {}, {.interface = loopback});
    co_await sender.send("hello");
    std::array<std::byte, 8> buffer;
    auto got = co_await socket.receive_from(buffer);
    CHECK(got.n == 5);
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(options_name_an_interface_where_there_are_some);

struct options_zones_are_the_kernels {
  static task<> subject(side& s) {
    if (s.on_kernel()) co_return;  // tests/programs/zones_test.cpp
    const endpoint zoned("fe80::1%1", 80);
    auto listener = s.here.try_listen(zoned);
    REQUIRE_FALSE(listener.has_value());
    CHECK(listener.error() == unsupported);
    const auto connected = co_await connecting(zoned, {});
    CHECK(connected == unsupported);
    auto socket = s.here.try_connect_udp(zoned);
    REQUIRE_FALSE(socket.has_value());
    CHECK(socket.error() == unsupported);
    auto any = s.here.bind_udp({s.address_v6, 0});
    auto sent = co_await any.send_to("x", zoned).nothrow();
    CHECK(sent.ec == unsupported);
    const weir::outgoing_datagram one{.bytes = {}, .to = zoned};
    sent = co_await any.send_batch(std::span(&one, 1)).nothrow();
    CHECK(sent.ec == unsupported);
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(options_zones_are_the_kernels);

struct options_of_several_paths {
  static task<> subject(side& s) {
    auto listener = s.here.try_listen({s.address, 0}, {.mptcp = true});
    if (!listener) {
      CHECK(listener.error() == unsupported);
      s.signal(port_known);
      co_return;
    }
    CHECK(s.on_kernel());
    s.signal(port_known, listener->local_endpoint().port);
    for (int i = 0; i < 2; ++i) {
      auto stream = co_await listener->accept();
      REQUIRE(stream.has_value());
      co_await echo_once(*stream);
    }
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    if (to.port == 0) co_return;
    for (const bool several : {true, false}) {
      auto stream = co_await weir::connect(to, {.mptcp = several});
      co_await ask_once(stream);
    }
    co_await s.wait(99);
  }
};
CONFORMANCE(options_of_several_paths);

}  // namespace conformance
