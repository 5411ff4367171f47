// ICMP in both families: echo, errors out within their rules, errors in turned into reports.
#include "unit/ip_support.hpp"

using namespace weir;
using namespace weir::test;
using stack::counter;
using stack::icmp_kind;

namespace {

bytes echo_request(bool v6, const ip_address& to, std::span<const std::byte> body) {
  ip_packet p =
      from_peer(v6, v6 ? 58 : 1, icmp_bytes(peer(v6), to, v6 ? 128 : 8, 0, 0x00010002, body));
  p.destination = to;
  return p.build();
}

bytes udp_packet(bool v6, std::size_t n = 8) {
  return from_peer(v6, 17, udp_bytes(peer(v6), own(v6), 5000, 9, pattern(n))).build();
}

// The host's answer to a datagram without a socket.
void refuse(ip_bench& bench, const bytes& packet) {
  auto d = bench.in(packet);
  REQUIRE(std::holds_alternative<wire::udp_datagram>(d));
  bench.ip.send_port_unreachable(bench.now, std::get<wire::udp_datagram>(d));
}

}  // namespace

// covers: 1122-10, icmp-7
TEST_CASE("icmp_echo_is_answered_with_the_same_data_from_the_address_that_was_asked") {
  for (bool v6 : {false, true}) {
    auto options = ip_options();
    options.addresses.push_back(*ip_prefix::parse(v6 ? "2001:db8::5/64" : "198.18.0.5/24"));
    ip_bench bench(options);
    auto asked = addr(v6 ? "2001:db8::5" : "198.18.0.5");
    CHECK(nothing(bench.in(echo_request(v6, asked, pattern(56)))));
    REQUIRE(bench.sink.sent.size() == 1);
    auto reply = as_icmp(bench.sink.sent[0]);
    CHECK(reply.type == (v6 ? 129 : 0));
    CHECK(reply.rest == 0x00010002);
    CHECK(reply.body == pattern(56));
    CHECK(reply.source == asked);
    CHECK(reply.destination == peer(v6));
    CHECK(bench.count(counter::icmp_echo_answered) == 1);
  }
}

TEST_CASE("icmp_echo_larger_than_the_mtu_is_answered_in_fragments") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto body = pattern(4000);
    auto request = icmp_bytes(peer(v6), own(v6), v6 ? 128 : 8, 0, 1, body);
    auto half = static_cast<std::ptrdiff_t>(2000);
    CHECK(nothing(bench.in(
        fragment_packet(v6, 5, 0, true, {request.begin(), request.begin() + half}, v6 ? 58 : 1))));
    CHECK(nothing(bench.in(fragment_packet(v6, 5, 2000, false,
                                           {request.begin() + half, request.end()}, v6 ? 58 : 1))));
    REQUIRE(bench.sink.sent.size() == 3);
    // Another host puts them together again.
    auto other = ip_options();
    other.addresses = {*ip_prefix::parse(v6 ? "2001:db8::1/64" : "198.18.0.1/24")};
    ip_bench receiver(other);
    for (auto& p : bench.sink.sent) {
      CHECK(p.data.size() <= 1500);
      CHECK(nothing(receiver.in(p.data)));
    }
    CHECK(receiver.count(counter::datagrams_reassembled) == 1);
    CHECK(receiver.count(counter::drop_icmp_malformed) == 0);
    CHECK(receiver.count(counter::drop_icmp_unknown) == 1);  // an echo reply nobody asked for
  }
}

TEST_CASE("icmp_echo_to_a_group_is_answered_from_our_own_address_or_not_at_all") {
  ip_bench bench;
  bench.in(echo_request(true, addr("ff02::1"), pattern(8)));
  REQUIRE(bench.sink.sent.size() == 1);
  CHECK(as_icmp(bench.sink.sent[0]).source == own(true));
  bench.in(echo_request(false, addr("224.0.0.1"), pattern(8)));
  bench.in(echo_request(false, addr("198.18.0.255"), pattern(8)));
  CHECK(bench.sink.sent.size() == 1);  // no amplifier
}

// covers: icmp-10
TEST_CASE("icmp_bad_checksum_is_dropped") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto packet = echo_request(v6, own(v6), pattern(8));
    packet.back() ^= std::byte{1};
    CHECK(nothing(bench.in(packet)));
    CHECK(bench.sink.sent.empty());
    CHECK(bench.count(counter::drop_icmp_malformed) == 1);
  }
}

// covers: 1122-6, MUST-55, icmp-5
TEST_CASE("icmp_unknown_types_source_quench_and_redirects_are_dropped_silently") {
  ip_bench bench;
  for (std::uint8_t type : {0, 4, 5, 9, 13, 15, 42, 255})
    CHECK(nothing(bench.in(error_packet(false, type, 0, 0, own_tcp_packet(false)))));
  for (std::uint8_t type : {129, 130, 133, 135, 137, 200, 255})
    CHECK(nothing(bench.in(error_packet(true, type, 0, 0, own_tcp_packet(true)))));
  CHECK(bench.count(counter::drop_icmp_unknown) == 15);
  CHECK(bench.sink.sent.empty());
}

// covers: 1122-8, icmp-8
TEST_CASE("icmp_port_unreachable_quotes_the_datagram_unchanged") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto packet = udp_packet(v6);
    refuse(bench, packet);
    REQUIRE(bench.sink.sent.size() == 1);
    auto error = as_icmp(bench.sink.sent[0]);
    CHECK(error.type == (v6 ? 1 : 3));
    CHECK(error.code == (v6 ? 4 : 3));
    CHECK(error.body == packet);
    CHECK(error.source == own(v6));
    CHECK(error.destination == peer(v6));
    CHECK(bench.count(counter::icmp_errors_sent) == 1);
  }
}

// covers: icmp-6
TEST_CASE("icmp_errors_quote_no_more_than_fits_576_or_1280_bytes") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    refuse(bench, udp_packet(v6, 1400));
    REQUIRE(bench.sink.sent.size() == 1);
    CHECK(bench.sink.sent[0].data.size() == (v6 ? 1280 : 576));
  }
}

TEST_CASE("icmp_errors_are_limited_in_rate_and_recover") {
  auto options = ip_options();
  options.limits.icmp_errors_per_second = 5;
  ip_bench bench(options);
  for (int i = 0; i < 20; ++i) refuse(bench, udp_packet(i % 2 == 0));
  CHECK(bench.sink.sent.size() == 5);
  CHECK(bench.count(counter::icmp_errors_limited) == 15);
  bench.now = bench.now + std::chrono::milliseconds(200);
  for (int i = 0; i < 5; ++i) refuse(bench, udp_packet(true));
  CHECK(bench.sink.sent.size() == 6);
  bench.now = bench.now + std::chrono::hours(9);
  for (int i = 0; i < 20; ++i) refuse(bench, udp_packet(true));
  CHECK(bench.sink.sent.size() == 11);
}

// covers: 1122-7, icmp-6
TEST_CASE("icmp_errors_are_never_sent_about_errors_groups_or_later_fragments") {
  ip_bench bench;
  // An ICMP error in a packet whose options are broken.
  for (std::uint8_t type : {3, 4, 5, 11, 12}) {
    auto p =
        from_peer(false, 1, icmp_bytes(peer(false), own(false), type, 0, 0, own_tcp_packet(false)));
    p.options = raw({7, 0, 0, 0});
    bench.in(p.build());
  }
  for (std::uint8_t type : {1, 2, 3, 4, 100, 127, 137}) {
    auto body = icmp_bytes(peer(true), own(true), type, 0, 0, own_tcp_packet(true));
    bench.in(from_peer(true, 60, raw({58, 0, 0x80, 4, 0, 0, 0, 0}) + body).build());
  }
  // Protocol unreachable about a group or a later fragment.
  auto p = from_peer(false, 132, pattern(20));
  p.destination = addr("224.0.0.1");
  bench.in(p.build());
  auto late = from_peer(false, 132, pattern(24));
  late.fragment_offset = 80, late.options = raw({7, 0, 0, 0});
  bench.in(late.build());
  CHECK(bench.sink.sent.empty());
  // But about an echo request they are.
  auto echo = from_peer(false, 1, icmp_bytes(peer(false), own(false), 8, 0, 0, {}));
  echo.options = raw({7, 0, 0, 0});
  bench.in(echo.build());
  CHECK(bench.sink.sent.size() == 1);
}

// covers: MUST-54
TEST_CASE("icmp_errors_about_our_segments_are_reported_with_their_flow") {
  struct {
    bool v6;
    std::uint8_t type, code;
    icmp_kind kind;
  } cases[] = {{false, 3, 0, icmp_kind::network_unreachable},
               {false, 3, 1, icmp_kind::host_unreachable},
               {false, 3, 2, icmp_kind::protocol_unreachable},
               {false, 3, 3, icmp_kind::port_unreachable},
               {false, 3, 5, icmp_kind::source_route_failed},
               {false, 3, 13, icmp_kind::prohibited},
               {false, 11, 0, icmp_kind::time_exceeded},
               {false, 11, 1, icmp_kind::time_exceeded},
               {false, 12, 0, icmp_kind::parameter_problem},
               {true, 1, 0, icmp_kind::network_unreachable},
               {true, 1, 1, icmp_kind::prohibited},
               {true, 1, 3, icmp_kind::host_unreachable},
               {true, 1, 4, icmp_kind::port_unreachable},
               {true, 3, 0, icmp_kind::time_exceeded},
               {true, 4, 0, icmp_kind::parameter_problem},
               {true, 4, 1, icmp_kind::protocol_unreachable},
               {true, 99, 0, icmp_kind::unknown_error}};
  for (auto& c : cases) {
    ip_bench bench;
    auto quoted = own_tcp_packet(c.v6, pattern(30));
    auto d = bench.in(error_packet(c.v6, c.type, c.code, 0, quoted));
    auto* r = std::get_if<stack::icmp_report>(&d);
    REQUIRE(r != nullptr);
    CHECK(r->kind == c.kind);
    CHECK(r->type == c.type);
    CHECK(r->code == c.code);
    CHECK(r->protocol == 6);
    CHECK(r->local == endpoint(own(c.v6), 80));
    CHECK(r->remote == endpoint(peer(c.v6), 40000));
    CHECK(r->sequence == 5000);
    CHECK(r->reporter == peer(c.v6));
    CHECK(bench.count(counter::icmp_errors_received) == 1);
    CHECK(bench.sink.sent.empty());
  }
}

TEST_CASE("icmp_packet_too_big_carries_the_mtu_and_the_quoted_length") {
  ip_bench bench;
  auto d = bench.in(error_packet(false, 3, 4, 0xabcd0578, own_tcp_packet(false, pattern(100))));
  auto* r = std::get_if<stack::icmp_report>(&d);
  REQUIRE(r != nullptr);
  CHECK(r->kind == icmp_kind::packet_too_big);
  CHECK(r->mtu == 1400);
  CHECK(r->quoted_length == 140);
  d = bench.in(error_packet(true, 2, 0, 1300, own_tcp_packet(true, pattern(100))));
  r = std::get_if<stack::icmp_report>(&d);
  REQUIRE(r != nullptr);
  CHECK(r->mtu == 1300);
  CHECK(nothing(bench.in(error_packet(true, 2, 0, 1279, own_tcp_packet(true)))));  // 8201-1
}

// covers: icmp-11
TEST_CASE("icmp_errors_about_packets_that_are_not_ours_or_cannot_be_told_are_dropped") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto foreign = tcp_packet(v6);  // the peer's own segment
    CHECK(nothing(bench.in(error_packet(v6, v6 ? 1 : 3, 1, 0, foreign))));
    auto quoted = own_tcp_packet(v6);
    for (std::size_t n = 0; n < (v6 ? 48u : 28u); ++n)
      CHECK(nothing(bench.in(error_packet(v6, v6 ? 1 : 3, 1, 0, std::span(quoted).first(n)))));
    CHECK(!nothing(
        bench.in(error_packet(v6, v6 ? 1 : 3, 1, 0, std::span(quoted).first(v6 ? 48 : 28)))));
    quoted[v6 ? 6 : 9] = std::byte{132};
    CHECK(nothing(bench.in(error_packet(v6, v6 ? 1 : 3, 1, 0, quoted))));
    CHECK(bench.sink.sent.empty());
  }
  ip_bench bench;
  auto late = own_tcp_packet(false);
  wire::put16(late.data() + 6, 1);
  CHECK(nothing(bench.in(error_packet(false, 3, 1, 0, late))));
  // A quote of the other family.
  CHECK(nothing(bench.in(error_packet(false, 3, 1, 0, own_tcp_packet(true)))));
  CHECK(bench.count(counter::drop_icmp_malformed) == 2);
}
