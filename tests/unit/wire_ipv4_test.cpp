// IPv4 headers: RFC 791 3.1 and RFC 1122 3.2.1.
#include <doctest/doctest.h>

#include "unit/wire_support.hpp"

using namespace weir;
using namespace weir::test;
using wire::ip_status;

namespace {

ip_packet some_packet() {
  ip_packet p;
  p.source = addr("198.18.0.1"), p.destination = addr("198.18.0.2");
  p.protocol = 6, p.payload = pattern(40);
  return p;
}

wire::ip_header parse(const bytes& packet) { return wire::parse_ip(exact_copy(packet).view()); }

}  // namespace

TEST_CASE("ipv4_header_comes_back_as_it_was_emitted") {
  auto p = some_packet();
  p.ttl = 3, p.traffic_class = 0xb9, p.identification = 0xbeef, p.dont_fragment = true;
  auto packet = p.build();
  auto h = wire::parse_ip(packet);
  CHECK(h.status == ip_status::ok);
  CHECK(h.source == p.source);
  CHECK(h.destination == p.destination);
  CHECK(h.protocol == 6);
  CHECK(h.ttl == 3);
  CHECK(h.traffic_class == 0xb9);
  CHECK(h.identification == 0xbeef);
  CHECK(h.dont_fragment);
  CHECK(!h.is_fragment);
  CHECK(h.header_length == 20);
  CHECK(std::ranges::equal(h.payload, p.payload));
}

// covers: 1122-1
TEST_CASE("ipv4_wrong_version_or_nothing_at_all_is_refused") {
  auto packet = some_packet().build();
  for (unsigned version : {0u, 1u, 3u, 5u, 7u, 15u}) {
    packet[0] = std::byte(version << 4 | 5);
    CHECK(parse(packet).status == ip_status::bad_version);
  }
  CHECK(parse({}).status == ip_status::bad_version);
}

// covers: 1122-1
TEST_CASE("ipv4_header_checksum_is_verified") {
  auto packet = some_packet().build();
  for (std::size_t i = 1; i < 20; ++i) {
    auto broken = packet;
    broken[i] ^= std::byte{0x10};
    CHECK(parse(broken).status != ip_status::ok);
  }
}

TEST_CASE("ipv4_lengths_that_contradict_each_other_are_malformed") {
  auto good = some_packet().build();
  for (std::size_t n = 1; n < good.size(); ++n)
    REQUIRE(parse(bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n))).status ==
            ip_status::malformed);
  for (unsigned words = 0; words < 5; ++words) {
    auto packet = good;
    packet[0] = std::byte(0x40 | words);
    REQUIRE(parse(packet).status == ip_status::malformed);
  }
  auto packet = good;
  wire::put16(packet.data() + 2, 19);
  fix_ipv4_checksum(packet);
  CHECK(parse(packet).status == ip_status::malformed);
}

TEST_CASE("ipv4_bytes_behind_the_total_length_are_cut_off") {
  auto p = some_packet();
  auto packet = p.build() + pattern(9);
  CHECK(wire::parse_ip(packet).payload.size() == p.payload.size());
}

// covers: 1122-5, MUST-50
TEST_CASE("ipv4_unknown_options_are_ignored_and_the_payload_found") {
  auto p = some_packet();
  p.options = raw({1, 0x94, 4, 0, 0, 200, 3, 9, 0, 0, 0, 0});  // router alert, an unknown one
  auto packet = p.build();
  auto h = wire::parse_ip(packet);
  CHECK(h.status == ip_status::ok);
  CHECK(h.header_length == 32);
  CHECK(std::ranges::equal(h.payload, p.payload));
}

TEST_CASE("ipv4_option_lengths_out_of_the_header_are_a_parameter_problem") {
  struct {
    bytes options;
    std::uint32_t pointer;
  } cases[] = {{raw({7, 0, 0, 0}), 21},
               {raw({7, 1, 0, 0}), 21},
               {raw({1, 7, 9, 0}), 22},
               {raw({1, 1, 1, 7}), 23}};
  for (auto& c : cases) {
    auto p = some_packet();
    p.options = c.options;
    auto h = parse(p.build());
    CHECK(h.status == ip_status::parameter_problem);
    CHECK(h.problem_pointer == c.pointer);
  }
}

TEST_CASE("ipv4_source_routes_are_told_apart_by_whether_they_end_here") {
  for (unsigned type : {131u, 137u}) {
    auto p = some_packet();
    p.options = raw({type, 7, 4, 1, 2, 3, 4, 0});
    CHECK(parse(p.build()).route_unfinished);
    p.options = raw({type, 7, 8, 1, 2, 3, 4, 0});
    CHECK(!parse(p.build()).route_unfinished);
    p.options = raw({type, 7, 3, 1, 2, 3, 4, 0});
    CHECK(parse(p.build()).status == ip_status::parameter_problem);
    p.options = raw({1, 1, type, 2});
    CHECK(parse(p.build()).status == ip_status::parameter_problem);
  }
}

TEST_CASE("ipv4_fragments_are_recognized_by_either_sign") {
  auto p = some_packet();
  p.more_fragments = true;
  CHECK(parse(p.build()).is_fragment);
  p.more_fragments = false, p.fragment_offset = 8 * 8191;
  auto h = parse(p.build());
  CHECK(h.is_fragment);
  CHECK(h.fragment_offset == 65528);
}

TEST_CASE("ipv4_quoted_packets_may_be_cut_short") {
  auto p = some_packet();
  p.options = raw({1, 1, 1, 1});
  auto packet = p.build();
  for (std::size_t n = 0; n <= packet.size(); ++n) {
    exact_copy part{std::span(packet).first(n)};
    auto q = wire::parse_quoted(part.view());
    REQUIRE(q.understood == (n >= 24));
    if (q.understood) REQUIRE(q.transport.size() == n - 24);
    if (q.understood) REQUIRE(q.total_length == packet.size());
  }
}
