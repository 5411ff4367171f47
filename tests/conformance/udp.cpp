// UDP: what udp_socket's operations give, when they wait, and how they end, on every back end.
#include "conformance/harness.hpp"

namespace conformance {

namespace {

using weir::udp_socket;

const auto refused = std::errc::connection_refused;

/// A socket on this side's address, any port, of which the other side is told.
udp_socket bind(side& s) {
  auto socket = s.here.bind_udp({s.address, 0});
  s.signal(port_known, socket.local_endpoint().port);
  return socket;
}

/// A port of this side's on which nobody is.
std::uint16_t closed_port(side& s) { return s.here.bind_udp({s.address, 0}).local_endpoint().port; }

task<std::string> receive_text(udp_socket& socket) {
  std::array<std::byte, 2048> buffer;
  auto got = co_await socket.receive_from(buffer);
  co_return text_of(std::span(buffer).first(got.n));
}

/// A socket that the subject may send to; ends when the subject says so.
task<> hold_until_done(side& s) {
  auto socket = bind(s);
  co_await s.wait(99);
}

}  // namespace

struct udp_datagram_arrives_with_its_sender {
  static task<> subject(side& s) {
    auto socket = bind(s);
    std::array<std::byte, 64> buffer;
    auto got = co_await socket.receive_from(buffer);
    CHECK(text_of(std::span(buffer).first(got.n)) == "weir");
    CHECK(got.size == 4);
    CHECK(got.from.address == s.other->address);
    CHECK(co_await socket.send_to("answer", got.from) == 6);
    s.signal(1, got.from.port);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    CHECK(co_await socket.send_to("weir", to) == 4);
    std::array<std::byte, 64> buffer;
    auto got = co_await socket.receive_from(buffer);
    CHECK(text_of(std::span(buffer).first(got.n)) == "answer");
    CHECK(got.from == to);
    auto port = co_await s.wait(1);
    CHECK(port == socket.local_endpoint().port);
  }
};
CONFORMANCE(udp_datagram_arrives_with_its_sender);

struct udp_v6_datagram_arrives_with_its_sender {
  static task<> subject(side& s) {
    auto socket = s.here.bind_udp({s.address_v6, 0});
    s.signal(port_known, socket.local_endpoint().port);
    std::array<std::byte, 64> buffer;
    auto got = co_await socket.receive_from(buffer);
    CHECK(text_of(std::span(buffer).first(got.n)) == "six");
    CHECK(got.from.address == s.other->address_v6);
    co_await socket.send_to("answer", got.from);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target_v6();
    auto socket = s.here.connect_udp(to);
    CHECK(socket.local_endpoint().address == s.address_v6);
    co_await socket.send("six");
    CHECK(co_await receive_text(socket) == "answer");
  }
};
CONFORMANCE(udp_v6_datagram_arrives_with_its_sender);

struct udp_datagrams_keep_their_boundaries_and_order {
  static task<> subject(side& s) {
    auto socket = bind(s);
    for (std::size_t size = 1; size <= 60; ++size) {
      std::array<std::byte, 2048> buffer;
      auto got = co_await socket.receive_from(buffer);
      REQUIRE(got.n == size * 7 % 1400);
      auto expected = pattern(got.n, size);
      CHECK(std::equal(expected.begin(), expected.end(), buffer.begin()));
    }
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    for (std::size_t size = 1; size <= 60; ++size)
      co_await socket.send(pattern(size * 7 % 1400, size));
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_datagrams_keep_their_boundaries_and_order);

struct udp_empty_datagram_is_received_and_is_no_end {
  static task<> subject(side& s) {
    auto socket = bind(s);
    std::array<std::byte, 64> buffer;
    auto got = co_await socket.receive_from(buffer);
    CHECK(static_cast<bool>(got));
    CHECK(got.n == 0);
    CHECK(got.size == 0);
    CHECK(got.from.address == s.other->address);
    CHECK(co_await receive_text(socket) == "more");
    CHECK(co_await socket.send_to("", got.from) == 0);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    CHECK(co_await socket.send("") == 0);
    co_await socket.send("more");
    std::array<std::byte, 1> buffer;
    auto got = co_await socket.receive(buffer);
    CHECK(got.n == 0);
  }
};
CONFORMANCE(udp_empty_datagram_is_received_and_is_no_end);

struct udp_datagram_that_was_cut_short_says_so {
  static task<> subject(side& s) {
    auto socket = bind(s);
    std::array<std::byte, 10> buffer;
    auto got = co_await socket.receive_from(buffer).nothrow();
    CHECK(got.ec == std::errc::message_size);
    CHECK(got.n == 10);
    CHECK(got.size == 500);
    CHECK(buffer[9] == pattern_at(9));
    CHECK(got.from.address == s.other->address);
    std::error_code thrown;
    try {
      co_await socket.receive_from(buffer);
    } catch (const io_error& e) {
      thrown = e.code();
    }
    CHECK(thrown == std::errc::message_size);
    // Exactly as long as the buffer is not too long.
    auto exact = co_await socket.receive_from(buffer);
    CHECK(exact.n == 10);
    CHECK(exact.size == 10);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    co_await socket.send(pattern(500));
    co_await socket.send(pattern(11));
    co_await socket.send(pattern(10));
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_datagram_that_was_cut_short_says_so);

struct udp_receive_waits_for_a_datagram {
  static task<> subject(side& s) {
    auto socket = bind(s);
    s.signal(1);
    CHECK(co_await receive_text(socket) == "a");
    s.signal(2);
    CHECK(co_await receive_text(socket) == "b");
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    co_await s.wait(1);
    co_await socket.send("a");
    co_await s.wait(2);
    co_await socket.send("b");
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_receive_waits_for_a_datagram);

struct udp_receive_that_times_out_may_be_tried_again {
  static task<> subject(side& s) {
    auto socket = bind(s);
    std::array<std::byte, 16> buffer;
    for (int i = 0; i < 3; ++i) {
      auto got = co_await socket.receive_from(buffer).timeout(5ms).nothrow();
      CHECK(got.ec == std::errc::timed_out);
    }
    std::error_code thrown;
    try {
      co_await socket.receive_from(buffer).timeout(5ms);
    } catch (const io_error& e) {
      thrown = e.code();
    }
    CHECK(thrown == std::errc::timed_out);
    s.signal(1);
    auto got = co_await socket.receive_from(buffer).timeout(30s);
    CHECK(text_of(std::span(buffer).first(got.n)) == "late");
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    co_await s.wait(1);
    co_await socket.send("late");
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_receive_that_times_out_may_be_tried_again);

struct udp_cancelled_receive_reports_operation_canceled {
  static task<> receives(udp_socket& socket, std::error_code& seen) {
    std::array<std::byte, 16> buffer;
    auto got = co_await socket.receive_from(buffer).nothrow();
    seen = got.ec;
  }
  static task<> subject(side& s) {
    auto socket = bind(s);
    for (int i = 0; i < 3; ++i) {
      std::error_code seen;
      weir::scope tasks(s.here);
      tasks.spawn(receives(socket, seen));
      co_await weir::yield();
      tasks.cancel();
      co_await tasks.join();
      CHECK(seen == std::errc::operation_canceled);
    }
    s.signal(1);
    CHECK(co_await receive_text(socket) == "still here");
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    co_await s.wait(1);
    co_await socket.send("still here");
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_cancelled_receive_reports_operation_canceled);

struct udp_second_receive_at_a_time_is_busy {
  static task<> receives(udp_socket& socket, std::string& text) {
    text = co_await receive_text(socket);
  }
  static task<> subject(side& s) {
    auto socket = bind(s);
    weir::scope tasks(s.here);
    std::string text;
    tasks.spawn(receives(socket, text));
    co_await weir::yield();
    std::array<std::byte, 16> buffer;
    auto got = co_await socket.receive_from(buffer).nothrow();
    CHECK(got.ec == std::errc::device_or_resource_busy);
    std::error_code error;
    socket.connect({s.other->address, 9}, error);
    CHECK(error == std::errc::device_or_resource_busy);
    s.signal(1);
    co_await tasks.join();
    CHECK(text == "one");
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    co_await s.wait(1);
    co_await socket.send("one");
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_second_receive_at_a_time_is_busy);

struct udp_connected_socket_hears_its_remote_only {
  static task<> subject(side& s) {
    auto socket = bind(s);
    auto remote = co_await s.wait(1);
    socket.connect({s.other->address, static_cast<std::uint16_t>(remote)});
    CHECK(socket.connected());
    CHECK(socket.remote_endpoint() ==
          endpoint(s.other->address, static_cast<std::uint16_t>(remote)));
    s.signal(2);
    CHECK(co_await receive_text(socket) == "mine");
    std::array<std::byte, 16> buffer;
    auto got = co_await socket.receive(buffer);
    CHECK(text_of(std::span(buffer).first(got.n)) == "mine too");
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto mine = s.here.bind_udp({s.address, 0});
    auto other = s.here.bind_udp({s.address, 0});
    s.signal(1, mine.local_endpoint().port);
    co_await s.wait(2);
    co_await other.send_to("not mine", to);
    co_await mine.send_to("mine", to);
    co_await other.send_to("not mine", to);
    co_await mine.send_to("mine too", to);
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_connected_socket_hears_its_remote_only);

struct udp_connecting_drops_what_others_had_sent {
  static task<> subject(side& s) {
    auto socket = bind(s);
    auto remote = co_await s.wait(1);  // all but the last were sent
    socket.connect({s.other->address, static_cast<std::uint16_t>(remote)});
    s.signal(2);
    for (const char* expected : {"first", "second", "third"})
      CHECK(co_await receive_text(socket) == expected);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto mine = s.here.bind_udp({s.address, 0});
    auto other = s.here.bind_udp({s.address, 0});
    co_await other.send_to("not mine", to);
    co_await mine.send_to("first", to);
    co_await other.send_to("not mine", to);
    co_await mine.send_to("second", to);
    s.signal(1, mine.local_endpoint().port);
    co_await s.wait(2);
    co_await mine.send_to("third", to);
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_connecting_drops_what_others_had_sent);

struct udp_socket_may_be_connected_to_another_remote {
  static task<> subject(side& s) {
    auto socket = bind(s);
    auto one = co_await s.wait(1);
    auto two = co_await s.wait(2);
    socket.connect({s.other->address, static_cast<std::uint16_t>(one)});
    co_await socket.send("to one");
    CHECK(co_await receive_text(socket) == "from one");
    socket.connect({s.other->address, static_cast<std::uint16_t>(two)});
    co_await socket.send("to two");
    CHECK(co_await receive_text(socket) == "from two");
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto one = s.here.bind_udp({s.address, 0});
    auto two = s.here.bind_udp({s.address, 0});
    s.signal(1, one.local_endpoint().port);
    s.signal(2, two.local_endpoint().port);
    CHECK(co_await receive_text(one) == "to one");
    co_await one.send_to("from one", to);
    CHECK(co_await receive_text(two) == "to two");
    co_await two.send_to("from two", to);
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_socket_may_be_connected_to_another_remote);

struct udp_refusal_is_told_to_a_connected_socket {
  static task<> subject(side& s) {
    auto port = co_await s.wait(1);
    auto socket = s.here.connect_udp({s.other->address, static_cast<std::uint16_t>(port)});
    std::array<std::byte, 16> buffer;
    for (int i = 0; i < 2; ++i) {
      co_await socket.send("anyone?");
      auto got = co_await socket.receive(buffer).timeout(10s).nothrow();
      CHECK(got.ec == refused);
    }
    s.signal(99);
  }
  static task<> peer(side& s) {
    s.signal(1, closed_port(s));
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_refusal_is_told_to_a_connected_socket);

/// The other way round: what arrives at a port without a socket is refused.
struct udp_port_without_a_socket_refuses {
  static task<> subject(side& s) {
    s.signal(1, closed_port(s));
    co_await s.wait(99);
  }
  static task<> peer(side& s) {
    auto port = co_await s.wait(1);
    auto socket = s.here.connect_udp({s.other->address, static_cast<std::uint16_t>(port)});
    co_await socket.send("anyone?");
    std::array<std::byte, 16> buffer;
    auto got = co_await socket.receive(buffer).timeout(10s).nothrow();
    CHECK(got.ec == refused);
    s.signal(99);
  }
};
CONFORMANCE(udp_port_without_a_socket_refuses);

struct udp_refusal_wakes_a_receive_that_waits {
  static task<> receives(udp_socket& socket, std::error_code& seen) {
    std::array<std::byte, 16> buffer;
    auto got = co_await socket.receive(buffer).timeout(10s).nothrow();
    seen = got.ec;
  }
  static task<> subject(side& s) {
    auto port = co_await s.wait(1);
    auto socket = s.here.connect_udp({s.other->address, static_cast<std::uint16_t>(port)});
    weir::scope tasks(s.here);
    std::error_code seen;
    tasks.spawn(receives(socket, seen));
    co_await weir::yield();
    co_await socket.send("anyone?");
    co_await tasks.join();
    CHECK(seen == refused);
    s.signal(99);
  }
  static task<> peer(side& s) {
    s.signal(1, closed_port(s));
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_refusal_wakes_a_receive_that_waits);

struct udp_refusal_is_not_told_to_a_socket_without_a_remote {
  static task<> subject(side& s) {
    auto socket = bind(s);
    auto port = co_await s.wait(1);
    for (int i = 0; i < 3; ++i)
      co_await socket.send_to("anyone?", {s.other->address, static_cast<std::uint16_t>(port)});
    s.signal(2);
    CHECK(co_await receive_text(socket) == "yes");
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    s.signal(1, closed_port(s));
    co_await s.wait(2);
    co_await socket.send_to("yes", to);
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_refusal_is_not_told_to_a_socket_without_a_remote);

struct udp_second_socket_on_the_same_pair_is_address_in_use {
  static task<> subject(side& s) {
    auto socket = s.here.bind_udp({s.address, 0});
    auto at = socket.local_endpoint();
    CHECK(at.port != 0);
    auto again = s.here.try_bind_udp(at);
    REQUIRE_FALSE(again.has_value());
    CHECK(again.error() == std::errc::address_in_use);
    endpoint everywhere(weir::ip_address(), at.port);
    auto beside = s.here.try_bind_udp(everywhere, {.allow_wildcard = true});
    REQUIRE_FALSE(beside.has_value());
    CHECK(beside.error() == std::errc::address_in_use);
    std::error_code thrown;
    try {
      auto third = s.here.bind_udp(at);
    } catch (const io_error& e) {
      thrown = e.code();
    }
    CHECK(thrown == std::errc::address_in_use);
    // UDP's ports are not TCP's. (On kernel sockets somebody else's TCP may have one of them.)
    bool both = false;
    for (int attempt = 0; attempt < 20 && !both; ++attempt) {
      auto other = s.here.bind_udp({s.address, 0});
      both = s.here.try_listen(other.local_endpoint()).has_value();
    }
    CHECK(both);
    co_return;
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(udp_second_socket_on_the_same_pair_is_address_in_use);

struct udp_closing_frees_the_port_at_once {
  static task<> subject(side& s) {
    auto socket = s.here.bind_udp({s.address, 0});
    auto at = socket.local_endpoint();
    std::array<std::byte, 16> buffer;
    for (int i = 0; i < 20; ++i) {
      auto got = co_await socket.receive_from(buffer).timeout(1ms).nothrow();
      CHECK(got.ec == std::errc::timed_out);
      socket.close();
      auto again = s.here.try_bind_udp(at);
      REQUIRE(again.has_value());
      socket = std::move(*again);
    }
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(udp_closing_frees_the_port_at_once);

struct udp_wildcard_is_refused_unless_it_is_asked_for {
  static task<> subject(side& s) {
    for (auto any : {weir::ip_address(), weir::ip_address::v6({})}) {
      auto socket = s.here.try_bind_udp({any, 0});
      REQUIRE_FALSE(socket.has_value());
      CHECK(socket.error() == std::errc::permission_denied);
    }
    auto socket = s.here.bind_udp({weir::ip_address(), 0}, {.allow_wildcard = true});
    s.signal(port_known, socket.local_endpoint().port);
    std::array<std::byte, 16> buffer;
    auto got = co_await socket.receive_from(buffer);
    CHECK(text_of(std::span(buffer).first(got.n)) == "to any");
    co_await socket.send_to("answer", got.from);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    co_await socket.send("to any");
    CHECK(co_await receive_text(socket) == "answer");
  }
};
CONFORMANCE(udp_wildcard_is_refused_unless_it_is_asked_for);

struct udp_foreign_address_is_not_available {
  static task<> subject(side& s) {
    for (const char* foreign : {"192.0.2.1", "2001:db8::1"}) {
      auto socket = s.here.try_bind_udp({foreign, 0});
      REQUIRE_FALSE(socket.has_value());
      CHECK(socket.error() == std::errc::address_not_available);
    }
    co_return;
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(udp_foreign_address_is_not_available);

struct udp_datagram_that_is_too_long_is_message_size {
  static task<> subject(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    std::vector<std::byte> bytes(udp_socket::max_payload_v4 + 1);
    auto sent = co_await socket.send_to(bytes, to).nothrow();
    CHECK(sent.ec == std::errc::message_size);
    CHECK(sent.n == 0);
    std::vector<std::byte> much(1 << 20);
    auto more = co_await socket.send_to(much, to).nothrow();
    CHECK(more.ec == std::errc::message_size);
    s.signal(99);
  }
  static task<> peer(side& s) { return hold_until_done(s); }
};
CONFORMANCE(udp_datagram_that_is_too_long_is_message_size);

struct udp_datagrams_beyond_the_mtu_cross_in_fragments {
  static task<> subject(side& s) {
    auto socket = bind(s);
    std::vector<std::byte> buffer(65536);
    for (std::size_t size : {std::size_t{1473}, std::size_t{9000}, udp_socket::max_payload_v4}) {
      auto got = co_await socket.receive_from(buffer);
      REQUIRE(got.n == size);
      auto expected = pattern(size);
      CHECK(std::equal(expected.begin(), expected.end(), buffer.begin()));
      CHECK(co_await socket.send_to(std::span(buffer).first(got.n), got.from) == size);
    }
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    std::vector<std::byte> buffer(65536);
    for (std::size_t size : {std::size_t{1473}, std::size_t{9000}, udp_socket::max_payload_v4}) {
      co_await socket.send(pattern(size));
      auto got = co_await socket.receive(buffer);
      CHECK(got.n == size);
      auto expected = pattern(size);
      CHECK(std::equal(expected.begin(), expected.end(), buffer.begin()));
    }
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_datagrams_beyond_the_mtu_cross_in_fragments);

struct udp_destinations_that_are_not_one_host_are_refused {
  static task<> subject(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    for (const char* where : {"0.0.0.0", "224.0.0.1", "255.255.255.255"}) {
      auto sent = co_await socket.send_to("x", {where, 9}).nothrow();
      CHECK(sent.ec == std::errc::invalid_argument);
      std::error_code error;
      socket.connect({where, 9}, error);
      CHECK(error == std::errc::invalid_argument);
      auto client = s.here.try_connect_udp({where, 9});
      REQUIRE_FALSE(client.has_value());
      CHECK(client.error() == std::errc::invalid_argument);
    }
    auto no_port = co_await socket.send_to("x", {s.other->address, 0}).nothrow();
    CHECK(no_port.ec == std::errc::invalid_argument);
    auto other_family = co_await socket.send_to("x", {s.other->address_v6, 9}).nothrow();
    CHECK(other_family.ec == std::errc::address_family_not_supported);
    std::error_code thrown;
    try {
      socket.connect({s.other->address_v6, 9});
    } catch (const io_error& e) {
      thrown = e.code();
    }
    CHECK(thrown == std::errc::address_family_not_supported);
    // None of this has harmed the socket.
    co_await socket.send_to("x", to);
    s.signal(99);
  }
  static task<> peer(side& s) { return hold_until_done(s); }
};
CONFORMANCE(udp_destinations_that_are_not_one_host_are_refused);

struct udp_calls_that_want_a_remote_say_so {
  static task<> subject(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    std::array<std::byte, 16> buffer;
    auto sent = co_await socket.send("x").nothrow();
    CHECK(sent.ec == std::errc::not_connected);
    auto got = co_await socket.receive(buffer).nothrow();
    CHECK(got.ec == std::errc::not_connected);
    CHECK(socket.remote_endpoint() == endpoint());
    auto nothing = co_await socket.receive_from({}).nothrow();
    CHECK(nothing.ec == std::errc::invalid_argument);
    socket.connect(to);
    auto elsewhere = co_await socket.send_to("x", to).nothrow();
    CHECK(elsewhere.ec == std::errc::already_connected);
    CHECK(co_await socket.send("x") == 1);
    s.signal(99);
  }
  static task<> peer(side& s) { return hold_until_done(s); }
};
CONFORMANCE(udp_calls_that_want_a_remote_say_so);

struct udp_stop_ends_receive_from_but_not_a_connected_receive {
  static task<> serve(udp_socket& socket, int& received, bool& ended) {
    std::array<std::byte, 16> buffer;
    while (auto got = co_await socket.receive_from(buffer)) {
      ++received;
      co_await socket.send_to(std::span(buffer).first(got.n), got.from);
    }
    ended = true;
  }
  static task<> subject(side& s) {
    auto socket = bind(s);
    auto remote = co_await s.wait(1);
    auto client = s.here.connect_udp({s.other->address, static_cast<std::uint16_t>(remote)});
    weir::scope tasks(s.here);
    int received = 0;
    bool ended = false;
    tasks.spawn(serve(socket, received, ended));
    s.signal(2, client.local_endpoint().port);
    co_await s.wait(3);
    s.here.request_stop();
    co_await tasks.join();
    CHECK(ended);
    CHECK(received == 1);
    std::array<std::byte, 16> buffer;
    auto after = co_await socket.receive_from(buffer);  // at once, and without an exception
    CHECK_FALSE(after);
    CHECK(after.ec == weir::error::closed);
    s.signal(4);
    auto got = co_await client.receive(buffer);
    CHECK(text_of(std::span(buffer).first(got.n)) == "go on");
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    s.signal(1, socket.local_endpoint().port);
    auto client = co_await s.wait(2);
    auto asking = s.here.connect_udp(to);
    co_await asking.send("one");
    std::array<std::byte, 16> buffer;
    co_await asking.receive(buffer);
    s.signal(3);
    co_await s.wait(4);
    co_await socket.send_to("go on", {s.other->address, static_cast<std::uint16_t>(client)});
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_stop_ends_receive_from_but_not_a_connected_receive);

struct udp_queue_that_is_full_drops_and_goes_on_when_it_is_read {
  static constexpr std::size_t flood = 5000;
  static task<> marks(udp_socket& socket) {
    for (;;) {
      (void)co_await socket.send("mark").nothrow();
      co_await sleep_for(1ms);
    }
  }
  static task<> subject(side& s) {
    auto socket = s.here.bind_udp({s.address, 0}, {.receive_buffer = 64 * 1024});
    s.signal(port_known, socket.local_endpoint().port);
    co_await s.wait(1);
    std::size_t received = 0;
    for (;;) {
      auto text = co_await receive_text(socket);
      if (text == "mark") break;
      ++received;
    }
    CHECK(received > 0);
    CHECK(received < flood);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    // Ends, though nobody reads: a send waits for the network at most, never for the receiver.
    auto bytes = pattern(1000);
    for (std::size_t i = 0; i < flood; ++i)
      (void)co_await socket.send(bytes).timeout(30s).nothrow();
    s.signal(1);
    weir::scope tasks(s.here);
    tasks.spawn(marks(socket));
    co_await s.wait(99);
    tasks.cancel();
    co_await tasks.join();
  }
};
CONFORMANCE(udp_queue_that_is_full_drops_and_goes_on_when_it_is_read);

struct udp_send_that_meets_no_reader_does_not_wait_for_one {
  static task<> subject(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    auto bytes = pattern(1400);
    std::size_t sent = 0;
    for (int i = 0; i < 10'000; ++i) {
      auto done = co_await socket.send_to(bytes, to).timeout(30s).nothrow();
      if (done.ec)
        CHECK(done.ec == std::errc::no_buffer_space);
      else
        ++sent;
    }
    CHECK(sent > 0);
    s.signal(99);
  }
  static task<> peer(side& s) { return hold_until_done(s); }
};
CONFORMANCE(udp_send_that_meets_no_reader_does_not_wait_for_one);

struct udp_sends_may_overlap_and_each_is_a_datagram {
  static constexpr int many = 32;
  static task<> send_one(udp_socket& socket, endpoint to, int number) {
    auto bytes = pattern(100, static_cast<std::uint64_t>(number));
    bytes[0] = static_cast<std::byte>(number);
    co_await socket.send_to(bytes, to);
  }
  static task<> subject(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    weir::scope tasks(s.here);
    for (int i = 0; i < many; ++i) tasks.spawn(send_one(socket, to, i));
    co_await tasks.join();
    co_await s.wait(99);
  }
  static task<> peer(side& s) {
    auto socket = bind(s);
    std::array<bool, many> seen{};
    for (int i = 0; i < many; ++i) {
      std::array<std::byte, 200> buffer;
      auto got = co_await socket.receive_from(buffer);
      REQUIRE(got.n == 100);
      auto number = static_cast<std::size_t>(buffer[0]);
      REQUIRE(number < many);
      auto expected = pattern(100, number);
      CHECK(std::equal(expected.begin() + 1, expected.end(), buffer.begin() + 1));
      CHECK_FALSE(seen[number]);
      seen[number] = true;
    }
    s.signal(99);
  }
};
CONFORMANCE(udp_sends_may_overlap_and_each_is_a_datagram);

struct udp_a_thousand_questions_get_their_answers {
  static task<> subject(side& s) {
    auto socket = bind(s);
    std::array<std::byte, 2048> buffer;
    for (int i = 0; i < 1000; ++i) {
      auto got = co_await socket.receive_from(buffer);
      co_await socket.send_to(std::span(buffer).first(got.n), got.from);
    }
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    std::array<std::byte, 2048> buffer;
    for (std::size_t i = 0; i < 1000; ++i) {
      auto question = pattern(i % 1400, i);
      co_await socket.send(question);
      auto got = co_await socket.receive(buffer);
      REQUIRE(got.n == question.size());
      CHECK(std::equal(question.begin(), question.end(), buffer.begin()));
    }
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_a_thousand_questions_get_their_answers);

/// Before whoever sends elsewhere (a kernel, another thread) was asked: beside one that goes on,
/// and alone.
struct udp_send_that_is_cancelled_at_once_sends_nothing {
  static task<> sends(udp_socket& socket, const char* text, endpoint to, std::string& said) {
    const auto sent = co_await socket.send_to(text, to).nothrow();
    CHECK((!sent.ec || sent.ec == std::errc::operation_canceled));
    if (!sent.ec) said += text;
  }
  static task<> gives_up(udp_socket& socket, const char* text, endpoint to, std::string& said) {
    co_await weir::when_any(sends(socket, text, to, said), []() -> task<> { co_return; }());
  }
  static task<> subject(side& s) {
    const auto to = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    std::string said;
    co_await weir::when_all(sends(socket, "a", to, said), gives_up(socket, "b", to, said));
    co_await gives_up(socket, "c", to, said);
    co_await sleep_for(1ms);
    co_await sends(socket, "d", to, said);
    CHECK(said.find('a') != std::string::npos);
    CHECK(said.back() == 'd');
    s.signal(1, static_cast<std::uint64_t>(said.size()));
    co_await s.wait(2);
  }
  static task<> peer(side& s) {
    auto socket = bind(s);
    std::string came;
    while (!came.ends_with('d')) came += co_await receive_text(socket);
    CHECK(came.size() == co_await s.wait(1));
    s.signal(2);
  }
};
CONFORMANCE(udp_send_that_is_cancelled_at_once_sends_nothing);

struct udp_both_directions_of_one_socket_work_at_once {
  static constexpr int count = 200;
  static task<> sends(udp_socket& socket, const char* text) {
    for (int i = 0; i < count; ++i) {
      co_await socket.send(text);
      if (i % 20 == 0) co_await sleep_for(1ms);
    }
  }
  static task<> talk(side& s, udp_socket& socket, const char* mine, const char* theirs) {
    weir::scope tasks(s.here);
    tasks.spawn(sends(socket, mine));
    for (int i = 0; i < count; ++i) CHECK(co_await receive_text(socket) == theirs);
    co_await tasks.join();
  }
  static task<> subject(side& s) {
    auto socket = bind(s);
    auto remote = co_await s.wait(1);
    socket.connect({s.other->address, static_cast<std::uint16_t>(remote)});
    s.signal(2);
    co_await talk(s, socket, "ping", "pong");
    s.signal(3);
    co_await s.wait(3);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto socket = s.here.connect_udp(to);
    s.signal(1, socket.local_endpoint().port);
    co_await s.wait(2);
    co_await talk(s, socket, "pong", "ping");
    s.signal(3);
    co_await s.wait(3);
  }
};
CONFORMANCE(udp_both_directions_of_one_socket_work_at_once);

}  // namespace conformance
