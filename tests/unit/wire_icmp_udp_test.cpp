// ICMP and UDP headers.
#include <doctest/doctest.h>

#include "unit/wire_support.hpp"

using namespace weir;
using namespace weir::test;
using wire::parse_status;

TEST_CASE("icmp_messages_come_back_and_their_checksum_is_verified") {
  for (bool v6 : {false, true}) {
    auto from = addr(v6 ? "2001:db8::1" : "198.18.0.1"),
         to = addr(v6 ? "2001:db8::2" : "198.18.0.2");
    auto body = pattern(31);
    auto data = icmp_bytes(from, to, 8, 1, 0x12345678, body);
    wire::icmp_message m;
    CHECK(wire::parse_icmp(data, from, to, m) == parse_status::ok);
    CHECK(m.type == 8);
    CHECK(m.code == 1);
    CHECK(m.rest == 0x12345678);
    CHECK(std::ranges::equal(m.body, body));
    // Only ICMPv6 covers the addresses: RFC 4443 2.3.
    auto other = addr(v6 ? "2001:db8::3" : "198.18.0.3");
    CHECK(wire::parse_icmp(data, other, to, m) ==
          (v6 ? parse_status::bad_checksum : parse_status::ok));
    data[9] ^= std::byte{1};
    CHECK(wire::parse_icmp(data, from, to, m) == parse_status::bad_checksum);
    for (std::size_t n = 0; n < 8; ++n)
      CHECK(wire::parse_icmp(exact_copy(std::span(data).first(n)).view(), from, to, m) ==
            parse_status::malformed);
  }
}

TEST_CASE("udp_datagrams_come_back_and_trailing_bytes_are_cut") {
  wire::udp_datagram d;
  d.source = addr("198.18.0.1"), d.destination = addr("198.18.0.2");
  auto data = udp_bytes(d.source, d.destination, 5000, 7, pattern(13)) + pattern(4);
  CHECK(wire::parse_udp(data, true, d) == parse_status::ok);
  CHECK(d.source_port == 5000);
  CHECK(d.destination_port == 7);
  CHECK(std::ranges::equal(d.payload, pattern(13)));
}

TEST_CASE("udp_length_out_of_range_is_malformed") {
  wire::udp_datagram d;
  d.source = addr("198.18.0.1"), d.destination = addr("198.18.0.2");
  auto data = udp_bytes(d.source, d.destination, 5000, 7, pattern(13));
  for (unsigned length : {0u, 7u, 22u, 65535u}) {
    auto wrong = data;
    wire::put16(wrong.data() + 4, static_cast<std::uint16_t>(length));
    CHECK(wire::parse_udp(exact_copy(wrong).view(), false, d) == parse_status::malformed);
  }
  for (std::size_t n = 0; n < 8; ++n)
    CHECK(wire::parse_udp(exact_copy(std::span(data).first(n)).view(), false, d) ==
          parse_status::malformed);
}

// covers: 8200-12
TEST_CASE("udp_checksum_of_zero_is_none_in_ipv4_and_refused_in_ipv6") {
  for (bool v6 : {false, true}) {
    wire::udp_datagram d;
    d.source = addr(v6 ? "2001:db8::1" : "198.18.0.1");
    d.destination = addr(v6 ? "2001:db8::2" : "198.18.0.2");
    auto data = udp_bytes(d.source, d.destination, 5000, 7, pattern(13));
    CHECK(wire::parse_udp(data, true, d) == parse_status::ok);
    data[10] ^= std::byte{1};
    CHECK(wire::parse_udp(data, true, d) == parse_status::bad_checksum);
    wire::put16(data.data() + 6, 0);
    CHECK(wire::parse_udp(data, true, d) == (v6 ? parse_status::bad_checksum : parse_status::ok));
  }
}
