// What the IP layer lets in: RFC 1122 3.2.1, RFC 8200 4, checksums of the transports.
#include "unit/ip_support.hpp"

using namespace weir;
using namespace weir::test;
using stack::counter;

TEST_CASE("input_delivers_tcp_segments_with_what_ip_knows_of_them") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto s = peer_segment(v6);
    s.options.mss = 1400;
    auto p = from_peer(v6, 6, tcp_bytes(s, pattern(50)));
    p.traffic_class = 0xba;
    auto d = bench.in(p.build(), {.checksum_good = false, .gso_size = 20});
    auto* segment = std::get_if<wire::tcp_segment>(&d);
    REQUIRE(segment != nullptr);
    CHECK(segment->source == peer(v6));
    CHECK(segment->destination == own(v6));
    CHECK(segment->source_port == 40000);
    CHECK(segment->options.mss == 1400);
    CHECK(segment->ecn == 2);
    CHECK(segment->traffic_class == 0xb8);
    CHECK(segment->gso_size == 20);
    CHECK(segment->segment_count() == 3);
    CHECK(std::ranges::equal(segment->payload, pattern(50)));
    CHECK(bench.count(counter::packets_received) == 1);
    CHECK(bench.sink.sent.empty());
  }
}

TEST_CASE("input_delivers_udp_datagrams") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto d = bench.in(from_peer(v6, 17, udp_bytes(peer(v6), own(v6), 5000, 7, pattern(9))).build());
    auto* datagram = std::get_if<wire::udp_datagram>(&d);
    REQUIRE(datagram != nullptr);
    CHECK(datagram->destination_port == 7);
    CHECK(std::ranges::equal(datagram->payload, pattern(9)));
  }
}

// covers: 1122-1
TEST_CASE("input_drops_what_has_a_bad_header_without_a_word") {
  ip_bench bench;
  auto good = tcp_packet(false);
  auto version = good;
  version[0] = std::byte{0x55};
  CHECK(nothing(bench.in(version)));
  CHECK(bench.count(counter::drop_ip_version) == 1);
  auto checksum = good;
  checksum[10] ^= std::byte{1};
  CHECK(nothing(bench.in(checksum)));
  CHECK(bench.count(counter::drop_ip_checksum) == 1);
  CHECK(nothing(bench.in(bytes(good.begin(), good.begin() + 30))));
  CHECK(nothing(bench.in({})));
  CHECK(bench.count(counter::drop_ip_malformed) == 1);
  CHECK(bench.sink.sent.empty());
}

// covers: MUST-3
TEST_CASE("input_drops_bad_transport_checksums_and_believes_the_device_about_good_ones") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto packet = tcp_packet(v6, pattern(10));
    packet.back() ^= std::byte{1};
    CHECK(nothing(bench.in(packet)));
    CHECK(bench.count(counter::drop_tcp_checksum) == 1);
    CHECK(!nothing(bench.in(packet, {.checksum_good = true, .gso_size = 0})));
    auto datagram = from_peer(v6, 17, udp_bytes(peer(v6), own(v6), 1, 2, pattern(10))).build();
    datagram.back() ^= std::byte{1};
    CHECK(nothing(bench.in(datagram)));
    CHECK(bench.count(counter::drop_udp_checksum) == 1);
    CHECK(bench.sink.sent.empty());
  }
}

TEST_CASE("input_drops_malformed_transports") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    CHECK(nothing(bench.in(from_peer(v6, 6, pattern(19)).build())));
    CHECK(bench.count(counter::drop_tcp_malformed) == 1);
    CHECK(nothing(bench.in(from_peer(v6, 17, pattern(7)).build())));
    CHECK(bench.count(counter::drop_udp_malformed) == 1);
    CHECK(bench.sink.sent.empty());
  }
}

// covers: 1122-1, 1122-13, MUST-63
TEST_CASE("input_ignores_sources_that_nobody_can_have") {
  ip_bench bench;
  for (auto bad :
       {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.255", "198.18.0.2"}) {
    auto s = peer_segment(false);
    s.source = addr(bad);
    auto p = from_peer(false, 6, tcp_bytes(s));
    p.source = addr(bad);
    CHECK_MESSAGE(nothing(bench.in(p.build())), bad);
  }
  for (auto bad : {"::", "::1", "ff02::1", "2001:db8::2", "::ffff:1.2.3.4"}) {
    auto s = peer_segment(true);
    s.source = addr(bad);
    auto p = from_peer(true, 6, tcp_bytes(s));
    p.source = addr(bad);
    CHECK_MESSAGE(nothing(bench.in(p.build())), bad);
  }
  CHECK(bench.count(counter::drop_ip_bad_source) == 11);
  CHECK(bench.sink.sent.empty());
}

// covers: 1122-1, 1122-13, MUST-57
TEST_CASE("input_ignores_what_is_not_for_this_host") {
  ip_bench bench;
  for (auto other :
       {"198.18.0.3", "198.18.0.255", "255.255.255.255", "224.0.0.1", "127.0.0.1", "0.0.0.0"}) {
    auto s = peer_segment(false);
    s.destination = addr(other);
    auto p = from_peer(false, 6, tcp_bytes(s));
    p.destination = addr(other);
    CHECK_MESSAGE(nothing(bench.in(p.build())), other);
  }
  for (auto other : {"2001:db8::3", "ff02::1", "ff02::2", "::1", "::"}) {
    auto s = peer_segment(true);
    s.destination = addr(other);
    auto p = from_peer(true, 6, tcp_bytes(s));
    p.destination = addr(other);
    CHECK_MESSAGE(nothing(bench.in(p.build())), other);
  }
  CHECK(bench.count(counter::drop_ip_not_ours) == 11);
  CHECK(bench.sink.sent.empty());
}

TEST_CASE("input_of_a_host_that_owns_a_loopback_address_still_refuses_it_from_outside") {
  auto options = ip_options();
  options.addresses.push_back(*ip_prefix::parse("127.0.0.1/8"));
  ip_bench bench(options);
  auto s = peer_segment(false);
  s.destination = addr("127.0.0.1");
  auto p = from_peer(false, 6, tcp_bytes(s));
  p.destination = addr("127.0.0.1");
  CHECK(nothing(bench.in(p.build())));
  CHECK(bench.count(counter::drop_ip_not_ours) == 1);
}

// covers: 1122-4, 8200-1
TEST_CASE("input_accepts_any_ttl") {
  for (bool v6 : {false, true})
    for (std::uint8_t ttl : {0, 1, 255}) {
      ip_bench bench;
      auto p = from_peer(v6, 6, tcp_bytes(peer_segment(v6)));
      p.ttl = ttl;
      CHECK(!nothing(bench.in(p.build())));
    }
}

// covers: 1122-5
TEST_CASE("input_ignores_unknown_ip_options_and_refuses_to_forward") {
  ip_bench bench;
  auto p = from_peer(false, 6, tcp_bytes(peer_segment(false)));
  p.options = raw({200, 4, 0, 0});
  CHECK(!nothing(bench.in(p.build())));
  p.options = raw({131, 7, 4, 9, 9, 9, 9, 0});
  CHECK(nothing(bench.in(p.build())));
  CHECK(bench.count(counter::drop_ip_options) == 1);
  CHECK(bench.sink.sent.empty());
}

TEST_CASE("input_cuts_off_what_the_frame_carries_beyond_the_packet") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto d = bench.in(tcp_packet(v6, pattern(10)) + pattern(6));
    REQUIRE(!nothing(d));
    CHECK(std::get<wire::tcp_segment>(d).payload.size() == 10);
  }
}

// covers: 1122-8, 8200-3
TEST_CASE("input_of_an_unknown_protocol_is_answered_in_both_families") {
  ip_bench bench;
  CHECK(nothing(bench.in(from_peer(false, 132, pattern(20)).build())));
  REQUIRE(bench.sink.sent.size() == 1);
  auto v4 = as_icmp(bench.sink.sent[0]);
  CHECK(v4.type == 3);
  CHECK(v4.code == 2);
  CHECK(nothing(
      bench.in(from_peer(true, 60, raw({132, 0, 1, 4, 0, 0, 0, 0}) + pattern(20)).build())));
  REQUIRE(bench.sink.sent.size() == 2);
  auto v6 = as_icmp(bench.sink.sent[1]);
  CHECK(v6.type == 4);
  CHECK(v6.code == 1);
  CHECK(v6.rest == 40);
  CHECK(bench.count(counter::drop_ip_protocol) == 2);
  CHECK(nothing(bench.in(from_peer(true, 59, {}).build())));
  CHECK(bench.sink.sent.size() == 2);
}

// covers: 8200-4, 8200-5, icmp-9
TEST_CASE("input_of_broken_headers_is_answered_with_a_parameter_problem") {
  ip_bench bench;
  auto p = from_peer(false, 6, tcp_bytes(peer_segment(false)));
  p.options = raw({7, 0, 0, 0});
  CHECK(nothing(bench.in(p.build())));
  REQUIRE(bench.sink.sent.size() == 1);
  auto v4 = as_icmp(bench.sink.sent[0]);
  CHECK(v4.type == 12);
  CHECK(v4.code == 0);
  CHECK((v4.rest >> 24) == 21);
  auto unknown_option = raw({6, 0, 0x80, 4, 0, 0, 0, 0}) + tcp_bytes(peer_segment(true));
  CHECK(nothing(bench.in(from_peer(true, 60, unknown_option).build())));
  REQUIRE(bench.sink.sent.size() == 2);
  auto v6 = as_icmp(bench.sink.sent[1]);
  CHECK(v6.type == 4);
  CHECK(v6.code == 2);
  CHECK(v6.rest == 42);
  CHECK(bench.count(counter::drop_ip_options) == 2);
}

// covers: 8200-4
TEST_CASE("input_to_a_multicast_group_asks_for_a_parameter_problem_only_where_the_option_says_so") {
  ip_bench bench;
  for (unsigned type : {0xc0u, 0x80u}) {
    auto p = from_peer(true, 60, raw({6, 0, type, 4, 0, 0, 0, 0}) + tcp_bytes(peer_segment(true)));
    p.destination = addr("ff02::1");
    CHECK(nothing(bench.in(p.build())));
  }
  REQUIRE(bench.sink.sent.size() == 1);
  CHECK(as_icmp(bench.sink.sent[0]).source == own(true));
}

TEST_CASE("input_goes_through_extension_headers_to_the_transport") {
  ip_bench bench;
  auto chain = raw({43, 0, 1, 4, 0, 0, 0, 0}) + raw({6, 0, 4, 0, 0, 0, 0, 0});
  auto d = bench.in(from_peer(true, 0, chain + tcp_bytes(peer_segment(true), pattern(3))).build());
  REQUIRE(!nothing(d));
  CHECK(std::get<wire::tcp_segment>(d).payload.size() == 3);
}
