// UDP and ICMP: port unreachable both ways, path MTU, and what forged errors cannot do. RFC 1122
// 3.2.2.1 and 4.1.3, RFC 4443 3.1, RFC 8085 5.2.
#include <algorithm>

#include "unit/udp_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// An ICMP error of the peer's about the packet that the host sent last.
bytes about_last(const udp_bench& b, bool v6, std::uint8_t type, std::uint8_t code,
                 std::uint32_t rest = 0) {
  auto quoted = b.sink.sent.back().data;
  quoted.resize(std::min<std::size_t>(quoted.size(), v6 ? 1200 : 548));
  return error_packet(v6, type, code, rest, quoted);
}

bytes port_unreachable(const udp_bench& b, bool v6) {
  return v6 ? about_last(b, true, 1, 4) : about_last(b, false, 3, 3);
}

}  // namespace

// covers: 1122-8
TEST_CASE("a_v4_datagram_that_no_socket_wants_is_answered_with_port_unreachable") {
  udp_bench b;
  auto packet =
      from_peer(false, 17, udp_bytes(peer(false), own(false), 40000, 9, pattern(100))).build();
  b.in(packet);
  REQUIRE(b.sent() == 1);
  auto answer = as_icmp(b.sink.sent[0]);
  CHECK(answer.type == 3);
  CHECK(answer.code == 3);
  CHECK(answer.rest == 0);
  CHECK(answer.source == own(false));
  CHECK(answer.destination == peer(false));
  // The header and at least eight bytes, unchanged; we quote all that fits.
  REQUIRE(answer.body.size() >= 28);
  CHECK(std::equal(answer.body.begin(), answer.body.end(), packet.begin()));
  CHECK(b.count(counter::drop_udp_no_socket) == 1);
}

// covers: icmp-8
TEST_CASE("a_v6_datagram_that_no_socket_wants_is_answered_with_port_unreachable") {
  udp_bench b;
  auto packet =
      from_peer(true, 17, udp_bytes(peer(true), own(true), 40000, 9, pattern(100))).build();
  b.in(packet);
  REQUIRE(b.sent() == 1);
  auto answer = as_icmp(b.sink.sent[0]);
  CHECK(answer.type == 1);
  CHECK(answer.code == 4);
  CHECK(answer.body == packet);
  CHECK(answer.source == own(true));
}

TEST_CASE("port_unreachable_is_limited_in_rate") {
  auto o = ip_options();
  o.limits.icmp_errors_per_second = 10;
  udp_bench b(o);
  for (int i = 0; i < 1000; ++i) b.datagram(false, 9, text("x"));
  CHECK(b.sent() <= 20);
  CHECK(b.count(counter::icmp_errors_limited) >= 980);
}

TEST_CASE("a_connected_socket_is_told_once_that_its_port_is_unreachable") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.connect(peer_at(v6, 9));
    CHECK_FALSE(b.send(id, text("anyone?")));
    b.in(port_unreachable(b, v6));
    stack::event what;
    REQUIRE(b.host.next_event(what));
    CHECK(what.socket == id);
    CHECK(any(what.what, stack::ready::readable));
    CHECK(b.receive_error(id) == std::errc::connection_refused);
    CHECK(b.receive_error(id) == std::errc::operation_would_block);
    // A send reports it as well, and is not carried out.
    b.in(port_unreachable(b, v6));
    auto sent = b.sent();
    CHECK(b.send(id, text("again")) == std::errc::connection_refused);
    CHECK(b.sent() == sent);
    CHECK_FALSE(b.send(id, text("again")));
  }
}

TEST_CASE("an_unconnected_socket_is_not_told") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  auto to = peer_at(false, 9);
  CHECK_FALSE(b.send(id, text("x"), &to));
  b.in(port_unreachable(b, false));
  CHECK(b.receive_error(id) == std::errc::operation_would_block);
  CHECK_FALSE(b.send(id, text("x"), &to));
  CHECK(b.host.info_udp(id)->icmp_errors == 1);
}

// covers: 1122-9
TEST_CASE("soft_errors_are_hints_and_end_nothing") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.connect(peer_at(v6, 9));
    CHECK_FALSE(b.send(id, text("x")));
    b.in(v6 ? about_last(b, true, 1, 0) : about_last(b, false, 3, 0));
    b.in(v6 ? about_last(b, true, 3, 0) : about_last(b, false, 11, 0));
    CHECK(b.receive_error(id) == std::errc::operation_would_block);
    CHECK_FALSE(b.send(id, text("x")));
    auto info = *b.host.info_udp(id);
    CHECK(info.icmp_errors == 2);
    CHECK(info.last_icmp_type == (v6 ? 3 : 11));
  }
}

// covers: icmp-11
TEST_CASE("an_error_about_what_was_never_sent_changes_nothing") {
  udp_bench b;
  auto id = b.connect(peer_at(false, 9), own_at(false, 53));
  // Never sent anything: whoever says so guesses.
  ip_packet forged;
  forged.source = own(false), forged.destination = peer(false), forged.protocol = 17;
  forged.payload = udp_bytes(own(false), peer(false), 53, 9, text("x"));
  b.in(error_packet(false, 3, 3, 0, forged.build()));
  CHECK(b.receive_error(id) == std::errc::operation_would_block);
  CHECK_FALSE(b.send(id, text("x")));
  // Another remote, another local port.
  forged.payload = udp_bytes(own(false), peer(false), 53, 10, text("x"));
  b.in(error_packet(false, 3, 3, 0, forged.build()));
  forged.payload = udp_bytes(own(false), peer(false), 54, 9, text("x"));
  b.in(error_packet(false, 3, 3, 0, forged.build()));
  CHECK(b.receive_error(id) == std::errc::operation_would_block);
  CHECK(b.host.info_udp(id)->icmp_errors == 0);
  CHECK(b.host.memory_in_use() == 0);
}

TEST_CASE("packet_too_big_makes_the_next_datagram_fit_the_path") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.bind(own_at(v6, 53));
    auto to = peer_at(v6, 4000);
    CHECK_FALSE(b.send(id, pattern(1400), &to));
    REQUIRE(b.sent() == 1);
    b.in(v6 ? about_last(b, true, 2, 0, 1300) : about_last(b, false, 3, 4, 1300));
    CHECK(b.receive_error(id) == std::errc::operation_would_block);
    b.skip();
    CHECK_FALSE(b.send(id, pattern(1400), &to));
    CHECK(b.sent() == 2);
    for (const auto& packet : b.sink.sent) CHECK(packet.data.size() <= 1300);
  }
}

TEST_CASE("a_forged_packet_too_big_does_not_lower_the_path_mtu") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  auto to = peer_at(false, 4000);
  CHECK_FALSE(b.send(id, pattern(100), &to));
  // Nothing of that length was ever sent there.
  ip_packet forged;
  forged.source = own(false), forged.destination = peer(false), forged.protocol = 17;
  forged.dont_fragment = true;
  forged.payload = udp_bytes(own(false), peer(false), 53, 4000, pattern(1400));
  auto quoted = forged.build();
  quoted.resize(548);
  b.in(error_packet(false, 3, 4, 600, quoted));
  // What was sent is smaller than the hop it is said not to fit.
  b.in(about_last(b, false, 3, 4, 600));
  b.skip();
  CHECK_FALSE(b.send(id, pattern(1400), &to));
  CHECK(b.sent() == 1);
}

TEST_CASE("port_unreachable_from_ourselves_reaches_our_own_socket") {
  udp_bench b;
  auto id = b.connect(own_at(false, 9));
  CHECK_FALSE(b.send(id, text("x")));
  b.host.flush(b.now);
  CHECK(b.receive_error(id) == std::errc::connection_refused);
  CHECK(b.sent() == 0);
}
