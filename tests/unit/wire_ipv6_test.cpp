// IPv6 headers and extension headers: the verdicts of RFC 8200 4.
#include <doctest/doctest.h>

#include "unit/wire_support.hpp"

using namespace weir;
using namespace weir::test;
using wire::ip_status;

namespace {

ip_packet some_packet(std::uint8_t next, bytes payload) {
  ip_packet p;
  p.source = addr("2001:db8::1"), p.destination = addr("2001:db8::2");
  p.protocol = next, p.payload = std::move(payload);
  return p;
}

wire::ip_header parse(const bytes& packet) {
  auto copy = exact_copy(packet);
  auto h = wire::parse_ip(copy.view());
  h.payload = {};  // points into the copy
  return h;
}

wire::ip_header parse(std::uint8_t next, bytes payload) {
  return parse(some_packet(next, std::move(payload)).build());
}

// An options header of eight bytes with one option of `type` and three bytes of data.
bytes options_header(unsigned next, unsigned type) { return raw({next, 0, type, 3, 0, 0, 0, 0}); }
bytes fragment(unsigned next, unsigned offset, bool more, unsigned id = 7) {
  return raw({next, 0, offset >> 8, (offset & 0xf8) | (more ? 1u : 0u), 0, 0, 0, id});
}
bytes tcp20() { return bytes(20, std::byte{1}); }

}  // namespace

TEST_CASE("ipv6_header_comes_back_as_it_was_emitted") {
  auto p = some_packet(6, pattern(30));
  p.ttl = 0, p.traffic_class = 0xab;
  auto packet = p.build() + pattern(5);
  auto h = wire::parse_ip(packet);
  CHECK(h.status == ip_status::ok);
  CHECK(h.source == p.source);
  CHECK(h.destination == p.destination);
  CHECK(h.ttl == 0);  // 8200-1
  CHECK(h.traffic_class == 0xab);
  CHECK(h.protocol == 6);
  CHECK(h.next_header_at == 6);
  CHECK(h.header_length == 40);
  CHECK(std::ranges::equal(h.payload, p.payload));
}

TEST_CASE("ipv6_truncated_anywhere_is_malformed") {
  auto good = some_packet(0, options_header(6, 1) + tcp20()).build();
  for (std::size_t n = 1; n < good.size(); ++n)
    REQUIRE(parse(bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n))).status ==
            ip_status::malformed);
}

// covers: 8200-2
TEST_CASE("ipv6_extension_headers_are_walked_in_any_order_and_number") {
  auto chain = options_header(60, 1) + options_header(43, 1) + raw({60, 0, 0, 0, 0, 0, 0, 0}) +
               options_header(60, 1) + options_header(44, 0) + fragment(6, 0, false);
  auto packet = some_packet(0, chain + tcp20()).build();
  auto h = wire::parse_ip(packet);
  CHECK(h.status == ip_status::ok);
  CHECK(h.protocol == 6);
  CHECK(h.header_length == 40 + 48);
  CHECK(h.next_header_at == 40 + 40);
  CHECK(h.payload.size() == 20);
}

TEST_CASE("ipv6_packet_may_end_with_an_extension_header") {
  constexpr std::uint8_t nothing = 59;  // RFC 8200 4.7
  const std::pair<std::uint8_t, bytes> headers[] = {{0, options_header(nothing, 1)},
                                                    {60, options_header(nothing, 1)},
                                                    {43, raw({nothing, 0, 0, 0, 0, 0, 0, 0})},
                                                    {44, fragment(nothing, 0, false)}};
  for (const auto& [kind, header] : headers) {
    CAPTURE(static_cast<int>(kind));
    const auto h = parse(kind, header);
    CHECK(h.status == ip_status::ok);
    CHECK(h.protocol == nothing);
    CHECK(h.next_header_at == 40);
    CHECK(h.header_length == 48);
    CHECK(h.payload.empty());
    // As the first fragment of more: with all headers that it names.
    const auto first = parse(44, fragment(kind, 0, true) + header);
    CHECK(first.status == ip_status::ok);
    CHECK(first.is_fragment);
  }
}

// covers: 8200-3
TEST_CASE("ipv6_hop_by_hop_elsewhere_is_an_unrecognized_next_header") {
  auto h = parse(60, options_header(0, 1) + options_header(6, 1) + tcp20());
  CHECK(h.status == ip_status::parameter_problem);
  CHECK(h.problem_code == 1);
  CHECK(h.problem_pointer == 40);
}

TEST_CASE("ipv6_unknown_next_header_is_reported_with_the_place_that_names_it") {
  auto h = parse(60, options_header(253, 1) + pattern(8));
  CHECK(h.status == ip_status::ok);
  CHECK(h.protocol == 253);
  CHECK(h.next_header_at == 40);
}

// covers: 8200-4
TEST_CASE("ipv6_unknown_options_are_judged_by_their_two_highest_bits") {
  for (std::uint8_t header : {0, 60}) {
    CHECK(parse(header, options_header(6, 0x1e) + tcp20()).status == ip_status::ok);
    CHECK(parse(header, options_header(6, 0x5e) + tcp20()).status == ip_status::discard);
    auto h = parse(header, options_header(6, 0x9e) + tcp20());
    CHECK(h.status == ip_status::parameter_problem);
    CHECK(h.problem_code == 2);
    CHECK(h.problem_pointer == 42);
    CHECK(h.problem_even_if_multicast);
    h = parse(header, options_header(6, 0xde) + tcp20());
    CHECK(h.status == ip_status::parameter_problem);
    CHECK(h.problem_code == 2);
    CHECK(!h.problem_even_if_multicast);
  }
}

TEST_CASE("ipv6_option_lengths_out_of_their_header_are_malformed") {
  CHECK(parse(60, raw({6, 0, 1, 5, 0, 0, 0, 0}) + tcp20()).status == ip_status::malformed);
  CHECK(parse(60, raw({6, 0, 0, 0, 0, 0, 0, 1}) + tcp20()).status == ip_status::malformed);
  CHECK(parse(60, raw({6, 9, 1, 4, 0, 0, 0, 0}) + tcp20()).status == ip_status::malformed);
}

// covers: 8200-5
TEST_CASE("ipv6_routing_headers_with_segments_left_are_refused_whatever_their_type") {
  for (unsigned type : {0u, 2u, 3u, 4u, 253u}) {
    CHECK(parse(43, raw({6, 0, type, 0, 0, 0, 0, 0}) + tcp20()).status == ip_status::ok);
    auto h = parse(43, raw({6, 0, type, 1, 0, 0, 0, 0}) + tcp20());
    CHECK(h.status == ip_status::parameter_problem);
    CHECK(h.problem_code == 0);
    CHECK(h.problem_pointer == 42);
  }
}

// covers: 8200-10
TEST_CASE("ipv6_atomic_fragments_are_processed_alone") {
  auto h = parse(44, fragment(6, 0, false) + tcp20());
  CHECK(h.status == ip_status::ok);
  CHECK(!h.is_fragment);
  CHECK(h.protocol == 6);
}

TEST_CASE("ipv6_fragment_fields_are_told") {
  auto h = parse(60, options_header(44, 1) + fragment(17, 1280, true, 9) + pattern(64));
  CHECK(h.status == ip_status::ok);
  CHECK(h.is_fragment);
  CHECK(h.more_fragments);
  CHECK(h.fragment_offset == 1280);
  CHECK(h.identification == 9);
  CHECK(h.protocol == 17);
  CHECK(h.unfragmentable_length == 48);
  CHECK(h.next_header_at == 40);
  CHECK(h.header_length == 56);
}

// covers: 8200-7
TEST_CASE("ipv6_fragment_that_is_no_multiple_of_eight_is_a_parameter_problem") {
  auto h = parse(44, fragment(6, 8, true) + pattern(15));
  CHECK(h.status == ip_status::parameter_problem);
  CHECK(h.problem_code == 0);
  CHECK(h.problem_pointer == 4);
  CHECK(parse(44, fragment(6, 8, false) + pattern(15)).status == ip_status::ok);
}

// covers: 8200-7
TEST_CASE("ipv6_fragment_beyond_the_largest_payload_is_a_parameter_problem") {
  CHECK(parse(44, fragment(6, 65528, false) + pattern(7)).status == ip_status::ok);
  auto h = parse(44, fragment(6, 65528, false) + pattern(8));
  CHECK(h.status == ip_status::parameter_problem);
  CHECK(h.problem_code == 0);
  CHECK(h.problem_pointer == 42);
}

// covers: 8200-8
TEST_CASE("ipv6_first_fragment_without_all_headers_is_a_parameter_problem") {
  for (auto& rest : {pattern(16), bytes()}) {
    auto h = parse(44, fragment(6, 0, true) + rest);
    CHECK(h.status == ip_status::parameter_problem);
    CHECK(h.problem_code == 3);
  }
  CHECK(parse(44, fragment(60, 0, true) + raw({6, 3, 1, 4, 0, 0, 0, 0})).problem_code == 3);
  CHECK(parse(44, fragment(60, 0, true) + options_header(6, 1) + pattern(16)).problem_code == 3);
  for (unsigned transport : {6u, 17u, 58u, 43u, 44u})
    CHECK(parse(44, fragment(60, 0, true) + options_header(transport, 1)).problem_code == 3);
  CHECK(parse(44, fragment(60, 0, true) + options_header(17, 1) + pattern(8)).status ==
        ip_status::ok);
  CHECK(parse(44, fragment(6, 0, true) + pattern(24)).status == ip_status::ok);
}

TEST_CASE("ipv6_jumbo_payloads_are_not_known") {
  auto h = parse(0, raw({6, 0, 0xc2, 4, 0, 1, 0, 0}) + tcp20());
  CHECK(h.status == ip_status::parameter_problem);
  CHECK(h.problem_code == 2);
}

TEST_CASE("ipv6_no_next_header_ends_the_walk") {
  auto h = parse(59, {});
  CHECK(h.status == ip_status::ok);
  CHECK(h.protocol == 59);
}

TEST_CASE("ipv6_quoted_packets_may_be_cut_short_within_their_extension_headers") {
  auto packet = some_packet(60, options_header(44, 1) + fragment(6, 0, true) + tcp20()).build();
  for (std::size_t n = 0; n <= packet.size(); ++n) {
    exact_copy part{std::span(packet).first(n)};
    auto q = wire::parse_quoted(part.view());
    REQUIRE(q.understood == (n >= 56));
    if (q.understood) REQUIRE(q.protocol == 6);
    if (q.understood) REQUIRE(q.transport.size() == n - 56);
  }
  packet = some_packet(44, fragment(6, 1280, true) + tcp20()).build();
  CHECK(wire::parse_quoted(packet).later_fragment);
}
