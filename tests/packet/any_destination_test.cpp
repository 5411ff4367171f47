// Listeners for others' addresses, and SYNs that wait for an answer: what a gateway is made of.
#include <doctest/doctest.h>

#include <utility>

#include "packet/script.hpp"
#include "stack/wire/icmp.hpp"

using namespace weir;
using namespace weir::test;
using weir::stack::refusal;

namespace {

any_destination network(const char* prefix, port_range ports = {}) {
  return {*ip_prefix::parse(prefix), ports};
}

/// A gateway: what the peer sends to `elsewhere` comes to it.
struct gateway : script {
  explicit gateway(bool v6 = false, const listen_options& how = {}) : script({}, v6) {
    listener = listen_for(v6 ? any_destination::v6() : any_destination::v4(), how);
    meant_for(v6 ? "2001:db8::9" : "203.0.113.9", 443);
  }
  socket_id listen_for(const any_destination& where, const listen_options& how = {}) {
    auto id = h().listen_any(where, how);
    REQUIRE(id);
    return *id;
  }
  void meant_for(const char* address, std::uint16_t port) {
    us = *ip_address::parse(address);
    local_port = port;
  }
  /// The listener that a SYN gets to; none: it was answered with a reset, or not at all.
  socket_id meets(const char* address, std::uint16_t port, std::initializer_list<socket_id> of) {
    meant_for(address, port);
    ++peer_port;
    in("S 0 <mss 1460>");
    if (sent() == 0) return socket_id::none;
    const auto answer = take();
    if (answer.has(wire::rst)) return socket_id::none;
    in(". 1 ack 1");
    for (auto id : of)
      if (auto got = h().accept(id)) {
        CHECK(h().local_endpoint(*got) == endpoint(us, port));
        CHECK(h().remote_endpoint(*got) == endpoint(them, peer_port));
        return id;
      }
    return socket_id::none;
  }
  /// The next packet is an ICMP error about the peer's SYN: its type and code.
  std::pair<int, int> taken_icmp() {
    const auto packet = take_packet();
    const auto ip = wire::parse_ip(packet);
    REQUIRE(ip.status == wire::ip_status::ok);
    CHECK(ip.source == us);
    CHECK(ip.destination == them);
    wire::icmp_message message;
    REQUIRE(wire::parse_icmp(ip.payload, ip.source, ip.destination, message) ==
            wire::parse_status::ok);
    const auto quoted = wire::parse_quoted(message.body);
    CHECK(quoted.source == them);
    CHECK(quoted.destination == us);
    CHECK(wire::get16(quoted.transport.data()) == peer_port);
    CHECK(wire::get16(quoted.transport.data() + 2) == local_port);
    CHECK(wire::get32(quoted.transport.data() + 4) == peer_isn);
    return {message.type, message.code};
  }
  socket_id request(const char* address = "203.0.113.9") {
    meant_for(address, 443);
    in("S 0 <mss 1460>");
    quiet();
    auto id = h().next_request(listener);
    REQUIRE(id);
    return *id;
  }
  bool told(socket_id id, ready what, void* user) {
    event e;
    while (h().next_event(e))
      if (e.user == user && any(e.what, what)) {
        CHECK((id == socket_id::none || e.socket == id));
        socket = e.socket;
        return true;
      }
    return false;
  }
};

const listen_options asks{.ask = true};

}  // namespace

TEST_CASE("any_destination_takes_what_is_meant_for_others_with_their_address_as_its_own") {
  for (const bool v6 : {false, true}) {
    CAPTURE(v6);
    gateway t(v6);
    t.in("S 0 <mss 1460>");
    t.out("S. 0 ack 1");
    t.in(". 1 ack 1");
    REQUIRE(t.accept());
    CHECK(t.h().local_endpoint(t.socket) == endpoint(t.us, 443));
    CHECK(t.h().remote_endpoint(t.socket) == endpoint(t.them, t.peer_port));
    t.in("P. 1:11 ack 1");
    CHECK(t.read() == t.stream(0, 10));
    t.skip();
    CHECK(t.send(5));
    t.flush();
    t.out("P. 1:6 ack 11");
  }
}

TEST_CASE("any_destination_gives_way_to_listeners_that_name_more") {
  gateway t;
  const auto all = t.listener;
  const auto wide = t.listen_for(network("203.0.0.0/16"));
  const auto narrow = t.listen_for(network("203.0.113.0/24"));
  const auto web = t.listen_for(network("203.0.113.0/24", {80, 90}));
  const auto own = *t.h().listen({"10.0.0.1", 80}, {});
  const auto everywhere = *t.h().listen({"0.0.0.0", 25}, {.allow_wildcard = true});
  const auto of = {all, wide, narrow, web, own, everywhere};
  CHECK(t.meets("198.51.100.1", 80, of) == all);
  CHECK(t.meets("203.0.7.1", 80, of) == wide);
  CHECK(t.meets("203.0.113.1", 79, of) == narrow);
  CHECK(t.meets("203.0.113.1", 80, of) == web);
  CHECK(t.meets("203.0.113.1", 90, of) == web);
  CHECK(t.meets("203.0.113.1", 91, of) == narrow);
  CHECK(t.meets("10.0.0.1", 80, of) == own);
  CHECK(t.meets("10.0.0.1", 81, of) == all);
  CHECK(t.meets("203.0.113.1", 25, of) == everywhere);
}

TEST_CASE("any_destination_is_refused_where_it_would_take_anothers_part") {
  gateway t;
  CHECK(t.h().listen_any(any_destination::v4()).error() == std::errc::address_in_use);
  const auto web = t.listen_for(network("203.0.113.0/24", {80, 90}));
  CHECK(t.h().listen_any(network("203.0.113.7/24", {90, 99})).error() == std::errc::address_in_use);
  (void)t.listen_for(network("203.0.113.7/24", {91, 99}));
  t.h().close(t.now(), web);
  (void)t.listen_for(network("203.0.113.0/24", {80, 90}));
  CHECK(t.h().listen_any(network("10.0.0.0/8", {0, 9})).error() == std::errc::invalid_argument);
  CHECK(t.h().listen_any(network("10.0.0.0/8", {9, 8})).error() == std::errc::invalid_argument);
  for (std::uint16_t port = 1; port < 64 - 2; ++port)
    (void)t.listen_for(network("10.0.0.0/8", {port, port}));
  CHECK(t.h().listen_any(network("10.0.0.0/8", {999, 999})).error() ==
        std::errc::not_enough_memory);
}

TEST_CASE("any_destination_takes_nothing_that_is_no_other_host") {
  gateway t;
  for (const auto* address : {"127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255"}) {
    CAPTURE(address);
    CHECK(t.meets(address, 80, {t.listener}) == socket_id::none);
    t.quiet();
  }
  CHECK(t.count(counter::drop_ip_not_ours) == 5);
  gateway t6(true);
  for (const auto* address : {"::1", "::", "::ffff:127.0.0.1", "ff02::1:2"}) {
    CAPTURE(address);
    CHECK(t6.meets(address, 80, {t6.listener}) == socket_id::none);
    t6.quiet();
  }
  CHECK(t6.count(counter::drop_ip_not_ours) == 4);
  CHECK(t6.meets("203.0.113.9", 80, {t6.listener}) == socket_id::none);  // no listener for IPv4
}

TEST_CASE("any_destination_leaves_ports_for_the_hosts_own_connections") {
  gateway t;
  auto id = t.h().connect(t.now(), {t.them, 7}, {}, {});
  REQUIRE(id);
  CHECK(t.h().local_endpoint(*id).address == *ip_address::parse("10.0.0.1"));
}

TEST_CASE("any_destination_that_was_closed_leaves_a_reset") {
  gateway t;
  t.h().close(t.now(), t.listener);
  t.in("S 0 <mss 1460>");
  CHECK(t.take().has(wire::rst));
}

TEST_CASE("request_waits_for_its_answer_and_becomes_a_connection") {
  gateway t(false, asks);
  const auto id = t.request();
  int user = 0;
  t.h().set_user(id, &user);
  CHECK(t.h().local_endpoint(id) == endpoint("203.0.113.9", 443));
  CHECK(t.h().remote_endpoint(id) == endpoint(t.them, t.peer_port));
  CHECK(t.h().next_request(t.listener).error() == std::errc::operation_would_block);
  t.after(1s);
  t.in("S 0 <mss 1460>");  // again: nothing changes
  t.in(". 1 ack 1");       // nor by an answer to what was never said
  t.quiet();
  CHECK(t.h().next_request(t.listener).error() == std::errc::operation_would_block);
  CHECK_FALSE(t.h().accept_request(t.now(), id));
  t.out("S. 0 ack 1 <mss 1460>");
  CHECK(t.h().accept_request(t.now(), id) == std::errc::invalid_argument);
  t.after(1100ms);
  t.out("S. 0 ack 1 <mss 1460>");  // repeated as any other
  t.in(". 1 ack 1");
  REQUIRE(t.told(socket_id::none, ready::connected, &user));
  CHECK(t.state() == tcp_state::established);
  CHECK_FALSE(t.accept());  // it is not in the accept queue
  CHECK(t.h().info_listener(t.listener)->syn_queue == 0);
  t.in("P. 1:11 ack 1");
  CHECK(t.read() == t.stream(0, 10));
}

TEST_CASE("request_is_refused_in_as_many_words") {
  using enum refusal;
  struct row {
    refusal how;
    std::pair<int, int> v4, v6;
  };
  for (const auto& [how, v4, v6] :
       {row{network_unreachable, {3, 0}, {1, 0}}, row{host_unreachable, {3, 1}, {1, 3}},
        row{port_unreachable, {3, 3}, {1, 4}}, row{prohibited, {3, 13}, {1, 1}}}) {
    CAPTURE(static_cast<int>(how));
    gateway t(false, asks);
    t.h().refuse_request(t.now(), t.request(), how);
    CHECK(t.taken_icmp() == v4);
    gateway t6(true, asks);
    t6.h().refuse_request(t6.now(), t6.request("2001:db8::9"), how);
    CHECK(t6.taken_icmp() == v6);
  }
  gateway t(false, asks);
  t.h().refuse_request(t.now(), t.request());
  const auto answer = t.take();
  CHECK(answer.flags == (wire::rst | wire::ack));
  CHECK(answer.sequence == 0);
  CHECK(answer.acknowledgment == t.peer_isn + 1);
  t.h().refuse_request(t.now(), t.request(), silence);
  t.quiet();
  CHECK(t.count(counter::syn_asked) == 2);
  CHECK(t.count(counter::syn_asked_refused) == 2);
  CHECK(t.h().half_open_entries() == 0);
}

TEST_CASE("request_that_nobody_answers_is_refused_when_its_time_is_over") {
  for (const bool taken : {false, true}) {
    CAPTURE(taken);
    gateway t(false, {.ask = true, .answer_within = 5s});
    t.in("S 0 <mss 1460>");
    int user = 0;
    auto id = socket_id::none;
    if (taken) {
      id = *t.h().next_request(t.listener);
      t.h().set_user(id, &user);
    }
    t.after(4s);
    t.quiet();
    t.after(2s);
    CHECK(t.take().has(wire::rst));
    CHECK(t.told(id, ready::failed, &user) == taken);
    CHECK(t.h().next_request(t.listener).error() == std::errc::operation_would_block);
    if (taken) CHECK(t.h().accept_request(t.now(), id) == std::errc::connection_aborted);
    t.quiet();
  }
}

TEST_CASE("request_ends_with_the_peer_that_made_it") {
  gateway t(false, asks);
  auto id = t.request();
  int user = 0;
  t.h().set_user(id, &user);
  t.in("R 5");  // not its number
  CHECK_FALSE(t.told(id, ready::failed, &user));
  t.in("R 1");
  CHECK(t.told(id, ready::failed, &user));
  CHECK(t.h().accept_request(t.now(), id) == std::errc::connection_aborted);
  t.quiet();
  // Answered, and never heard of again.
  id = t.request();
  t.h().set_user(id, &user);
  CHECK_FALSE(t.h().accept_request(t.now(), id));
  t.after(200s);
  CHECK(t.told(id, ready::failed, &user));
  CHECK(t.count(counter::syn_expired) == 1);
  t.skip();
  // Given up by the user between answer and handshake.
  id = t.request();
  t.h().set_user(id, &user);
  CHECK_FALSE(t.h().accept_request(t.now(), id));
  t.out("S. 0 ack 1");
  t.h().refuse_request(t.now(), id);
  t.out("R. 1 ack 1");
  CHECK_FALSE(t.told(id, ready::failed, &user));
}

TEST_CASE("requests_are_bounded_by_the_syn_queue_and_the_rest_is_dropped_and_counted") {
  gateway t(false, {.syn_backlog = 4, .ask = true});
  for (std::uint16_t i = 0; i < 10; ++i) {
    t.peer_port = static_cast<std::uint16_t>(5000 + i);
    t.in("S 0 <mss 1460>");
    t.quiet();
  }
  CHECK(t.count(counter::syn_asked) == 4);
  CHECK(t.count(counter::syn_asked_overflow) == 6);
  CHECK(t.count(counter::syn_cookies_sent) == 0);
  const auto info = *t.h().info_listener(t.listener);
  CHECK(info.syn_queue == 4);
  CHECK(info.syn_overflows == 6);
  CHECK(info.asks);
  // In order, and there is room again for who comes again.
  for (std::uint16_t i = 0; i < 4; ++i) {
    auto id = t.h().next_request(t.listener);
    REQUIRE(id);
    CHECK(t.h().remote_endpoint(*id).port == 5000 + i);
    t.h().refuse_request(t.now(), *id, refusal::silence);
  }
  t.in("S 0 <mss 1460>");
  CHECK(t.h().next_request(t.listener));
}

TEST_CASE("requests_of_a_listener_that_is_closed_are_reset_and_their_users_told") {
  gateway t(false, asks);
  const auto id = t.request();
  int user = 0;
  t.h().set_user(id, &user);
  t.peer_port = 40001;
  t.in("S 0 <mss 1460>");
  t.h().close(t.now(), t.listener);
  CHECK(t.take().has(wire::rst));
  CHECK(t.take().has(wire::rst));
  CHECK(t.told(id, ready::failed, &user));
  t.h().refuse_request(t.now(), id);  // it is dead already
  t.quiet();
}

TEST_CASE("requests_that_nobody_was_told_of_leave_their_list_wherever_they_stand") {
  for (std::uint16_t gone = 0; gone < 3; ++gone) {
    CAPTURE(gone);
    gateway t(false, asks);
    for (std::uint16_t i = 0; i < 3; ++i) {
      t.peer_port = static_cast<std::uint16_t>(5000 + i);
      t.in("S 0 <mss 1460>");
    }
    t.peer_port = static_cast<std::uint16_t>(5000 + gone);
    t.in("R 1");
    t.peer_port = 5003;
    t.in("S 0 <mss 1460>");
    for (std::uint16_t i = 0; i < 4; ++i) {
      if (i == gone) continue;
      auto id = t.h().next_request(t.listener);
      REQUIRE(id);
      CHECK(t.h().remote_endpoint(*id).port == 5000 + i);
    }
    CHECK_FALSE(t.h().next_request(t.listener));
  }
}

TEST_CASE("an_echo_request_to_another_is_left_to_the_gateway") {
  gateway t;
  std::array<std::byte, wire::icmp_header> bytes{};
  wire::emit_icmp(bytes.data(), {wire::icmp4::echo_request, 0, 0x00010001, {}}, t.them, t.us);
  std::vector<std::byte> packet(wire::min_ipv4_header);
  wire::ipv4_fields ip;
  ip.source = t.them;
  ip.destination = t.us;
  ip.protocol = wire::icmp_v4;
  ip.total_length = static_cast<std::uint16_t>(packet.size() + bytes.size());
  wire::emit_ipv4(packet.data(), ip);
  packet.insert(packet.end(), bytes.begin(), bytes.end());
  t.in_raw(packet);
  t.flush();
  t.quiet();
  CHECK(t.count(counter::icmp_echo_ignored) == 1);
}
