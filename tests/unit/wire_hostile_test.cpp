// Every parser on bytes that mean harm: noise, and good packets with a few bytes changed, in blocks
// of exactly their size. What comes out has to lie inside what went in.
#include <doctest/doctest.h>

#include "unit/wire_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

void check_inside(std::span<const std::byte> part, std::span<const std::byte> whole) {
  if (part.empty()) return;
  REQUIRE(part.data() >= whole.data());
  REQUIRE(part.data() + part.size() <= whole.data() + whole.size());
}

void parse_everything(std::span<const std::byte> data) {
  auto h = wire::parse_ip(data);
  if (h.status == wire::ip_status::ok) {
    check_inside(h.payload, data);
    REQUIRE(h.header_length <= h.total_length);
    REQUIRE(h.total_length <= data.size());
    REQUIRE(h.next_header_at < h.header_length);
  }
  if (h.status == wire::ip_status::parameter_problem) REQUIRE(h.problem_pointer < data.size());
  auto q = wire::parse_quoted(data);
  check_inside(q.transport, data);
  wire::tcp_segment s;
  if (wire::parse_tcp(data, false, s) == wire::parse_status::ok) {
    check_inside(s.payload, data);
    REQUIRE(s.options.sack_count <= 4);
  }
  wire::udp_datagram d;
  if (wire::parse_udp(data, false, d) == wire::parse_status::ok) check_inside(d.payload, data);
  wire::icmp_message m;
  if (wire::parse_icmp(data, s.source, s.destination, m) == wire::parse_status::ok)
    check_inside(m.body, data);
  wire::tcp_option_set o;
  wire::parse_tcp_options(data.first(std::min<std::size_t>(data.size(), 40)), o);
  REQUIRE(o.sack_count <= 4);
}

std::vector<bytes> good_packets() {
  ip_packet v4;
  v4.source = addr("198.18.0.1"), v4.destination = addr("198.18.0.2"), v4.protocol = 6;
  wire::tcp_segment s;
  s.source = v4.source, s.destination = v4.destination;
  s.options.mss = 1460, s.options.timestamps = wire::tcp_timestamps{1, 2};
  s.options.sack_permitted = true, s.options.window_scale = 7;
  v4.payload = tcp_bytes(s, pattern(20));
  v4.options = raw({7, 7, 4, 0, 0, 0, 0, 131, 7, 4, 1, 2, 3, 4, 1, 0});
  ip_packet v6;
  v6.source = addr("2001:db8::1"), v6.destination = addr("2001:db8::2"), v6.protocol = 0;
  v6.payload = raw({43, 0, 1, 4, 0, 0, 0, 0}) + raw({60, 0, 0, 0, 0, 0, 0, 0}) +
               raw({44, 1, 0x1e, 2, 0, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0}) +
               raw({6, 0, 0, 1, 0, 0, 0, 1}) + bytes(24, std::byte{3});
  return {v4.build(), v6.build(), v4.payload, v6.payload};
}

}  // namespace

TEST_CASE("hostile_noise_is_parsed_without_harm") {
  std::mt19937_64 random(11);
  for (int i = 0; i < 40000; ++i) {
    auto data = random_bytes(random, random() % 128);
    if (!data.empty() && i % 2 == 0)
      data[0] = std::byte(random() % 2 == 0 ? 0x45 + random() % 11 : 0x60);
    exact_copy copy(data);
    parse_everything(copy.view());
  }
}

TEST_CASE("hostile_changes_to_good_packets_are_parsed_without_harm") {
  std::mt19937_64 random(12);
  auto packets = good_packets();
  for (int i = 0; i < 40000; ++i) {
    auto data = packets[random() % packets.size()];
    for (auto n = 1 + random() % 4; n > 0; --n)
      data[random() % data.size()] = std::byte(random() & 0xff);
    if (random() % 3 == 0) data.resize(random() % (data.size() + 1));
    if (data.size() >= 20 && std::to_integer<unsigned>(data[0]) >> 4 == 4 &&
        (std::to_integer<unsigned>(data[0]) & 15) * 4 <= data.size() && random() % 4 != 0)
      fix_ipv4_checksum(data);
    exact_copy copy(data);
    parse_everything(copy.view());
  }
}

TEST_CASE("hostile_option_areas_of_every_two_bytes_are_parsed_without_harm") {
  for (unsigned a = 0; a < 256; ++a)
    for (unsigned b = 0; b < 256; ++b) {
      bytes area = raw({a, b});
      area.resize(12, std::byte{1});
      exact_copy copy(area);
      wire::tcp_option_set o;
      wire::parse_tcp_options(copy.view(), o);
      REQUIRE(o.sack_count <= 4);
    }
}
