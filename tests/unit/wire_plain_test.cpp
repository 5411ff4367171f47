// The short way for plain packets beside the general one: whatever the bytes, both say the same.
#include "stack/wire/plain.hpp"

#include <doctest/doctest.h>

#include "unit/wire_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

constexpr std::size_t ip_header = wire::min_ipv4_header;

struct shape {
  bool timestamps = true;
  std::size_t payload = 64;
  std::size_t behind = 0;  // bytes of the frame after the packet
  std::uint8_t traffic_class = 0;
};

void complete_checksums(bytes& packet, std::size_t length) {
  wire::put16(packet.data() + 10, 0);
  wire::put16(packet.data() + 10, wire::checksum_of(std::span(packet).first(ip_header)));
  auto tcp = std::span(packet).subspan(ip_header, length - ip_header);
  if (tcp.size() < wire::min_tcp_header) return;
  wire::put16(tcp.data() + 16, 0);
  wire::internet_sum sum;
  sum.add_pseudo(wire::read_v4(packet.data() + 12), wire::read_v4(packet.data() + 16),
                 wire::tcp_protocol, static_cast<std::uint32_t>(tcp.size()));
  sum.add(tcp);
  wire::put16(tcp.data() + 16, sum.checksum());
}

bytes plain_packet(const shape& how) {
  wire::tcp_segment s;
  s.source_port = 40000, s.destination_port = 80;
  s.sequence = 0x01020304, s.acknowledgment = 0xfffefdfc;
  s.flags = wire::ack | wire::psh, s.window = 0xfedc, s.urgent = 3;
  if (how.timestamps) s.options.timestamps = wire::tcp_timestamps{0x11223344, 0x55667788};
  bytes out(ip_header + wire::max_tcp_header);
  const auto tcp = wire::emit_tcp_header(std::span(out).subspan(ip_header), s);
  out.resize(ip_header + tcp);
  out = out + pattern(how.payload);
  const auto length = out.size();
  wire::ipv4_fields ip;
  ip.source = addr("198.18.0.1"), ip.destination = addr("198.18.0.2");
  ip.protocol = wire::tcp_protocol, ip.traffic_class = how.traffic_class;
  ip.total_length = static_cast<std::uint16_t>(length);
  wire::emit_ipv4(out.data(), ip);
  complete_checksums(out, length);
  return out + pattern(how.behind, 99);
}

/// What the general parsers make of it; false where they refuse it or see no whole TCP segment.
bool parse_generally(std::span<const std::byte> packet, bool verify, wire::tcp_segment& out) {
  const auto ip = wire::parse_ip(packet);
  if (ip.status != wire::ip_status::ok || ip.is_fragment || ip.protocol != wire::tcp_protocol)
    return false;
  out.source = ip.source, out.destination = ip.destination;
  if (wire::parse_tcp(ip.payload, verify, out) != wire::parse_status::ok) return false;
  out.ecn = ip.traffic_class & 3;
  out.traffic_class = ip.traffic_class & 0xfc;
  return true;
}

void check_same(const wire::tcp_segment& a, const wire::tcp_segment& b) {
  REQUIRE(a.source == b.source);
  REQUIRE(a.destination == b.destination);
  REQUIRE(a.source_port == b.source_port);
  REQUIRE(a.destination_port == b.destination_port);
  REQUIRE(a.sequence == b.sequence);
  REQUIRE(a.acknowledgment == b.acknowledgment);
  REQUIRE(a.flags == b.flags);
  REQUIRE(a.window == b.window);
  REQUIRE(a.urgent == b.urgent);
  REQUIRE(a.ecn == b.ecn);
  REQUIRE(a.traffic_class == b.traffic_class);
  REQUIRE(a.gso_size == b.gso_size);
  REQUIRE(a.options == b.options);
  REQUIRE(a.payload.data() == b.payload.data());
  REQUIRE(a.payload.size() == b.payload.size());
}

/// Whether the short way took it; if so, that both agree.
bool taken(std::span<const std::byte> packet, bool verify) {
  const exact_copy copy(packet);
  wire::tcp_segment quick, general;
  if (!wire::parse_plain(copy.view(), verify, quick)) return false;
  REQUIRE(parse_generally(copy.view(), verify, general));
  check_same(quick, general);
  return true;
}

/// `value` with its low half so chosen that it and `others` add up to what carries when it is
/// folded once, or nearly does.
std::uint32_t carrying(std::uint32_t value, std::uint32_t others, std::uint32_t less) {
  return (value & 0xffff0000) | ((0xffff - less - others - (value >> 16)) & 0xffff);
}
std::uint32_t halves(std::uint32_t value) { return (value >> 16) + (value & 0xffff); }

}  // namespace

TEST_CASE("plain_packets_are_taken_and_read_as_the_general_parsers_read_them") {
  for (bool timestamps : {true, false})
    for (std::size_t payload : {0u, 1u, 64u, 1448u})
      for (std::size_t behind : {0u, 6u})
        for (std::uint8_t tc : {0, 0x03, 0xb8}) {
          const auto packet = plain_packet({timestamps, payload, behind, tc});
          CHECK(taken(packet, true));
          CHECK(taken(packet, false));
        }
}

TEST_CASE("plain_packets_with_a_bad_checksum_are_left_to_the_general_path") {
  auto packet = plain_packet({});
  packet.back() ^= std::byte{1};
  CHECK(!taken(packet, true));
  CHECK(taken(packet, false));  // the device vouches for it
  packet = plain_packet({});
  packet[8] ^= std::byte{1};  // TTL: under the header's checksum
  CHECK(!taken(packet, false));
}

TEST_CASE("plain_is_neither_a_fragment_nor_another_protocol_nor_one_with_other_options") {
  const auto changed = [](std::size_t at, std::uint8_t value) {
    auto packet = plain_packet({});
    packet[at] = std::byte{value};
    complete_checksums(packet, packet.size());
    return packet;
  };
  CHECK(!taken(changed(0, 0x46), true));               // IP options
  CHECK(!taken(changed(0, 0x65), true));               // version
  CHECK(!taken(changed(6, 0x20), true));               // more fragments
  CHECK(!taken(changed(7, 0x01), true));               // a later one
  CHECK(!taken(changed(9, 17), true));                 // UDP
  CHECK(!taken(changed(ip_header + 12, 0x70), true));  // a header that ends in an option
  CHECK(!taken(changed(ip_header + 12, 0x40), true));  // shorter than a header
  CHECK(!taken(changed(ip_header + 12, 0xf0), true));  // more options
  CHECK(!taken(changed(ip_header + 20, 3), true));     // another option first
  CHECK(taken(changed(6, 0x00), true));                // DF is not asked for
  CHECK(!taken(changed(2, 0xff), true));               // longer than the frame
  const auto whole = plain_packet({});
  CHECK(!taken(std::span(whole).first(39), true));
}

TEST_CASE("whatever_the_short_way_takes_of_changed_packets_the_general_one_reads_alike") {
  std::mt19937_64 random(20260);
  std::size_t short_way = 0;
  for (int i = 0; i < 200'000; ++i) {
    auto packet = plain_packet(
        {(random() & 1) != 0, random() % 80, random() % 8, static_cast<std::uint8_t>(random())});
    const auto changes = random() % 4;
    for (std::uint64_t n = 0; n < changes; ++n)
      packet[random() % std::min<std::size_t>(packet.size(), 60)] = std::byte(random() & 0xff);
    if (random() % 8 == 0) packet.resize(random() % packet.size());
    if (packet.size() >= ip_header && random() % 4 != 0) {
      const auto length = std::min<std::size_t>(wire::get16(packet.data() + 2), packet.size());
      complete_checksums(packet, std::max(length, ip_header));
    }
    if (taken(packet, random() % 2 == 0)) ++short_way;
  }
  CHECK(short_way > 20'000);
}

TEST_CASE("plain_ipv4_headers_are_the_bytes_of_the_general_emitter") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    wire::plain_ipv4 f;
    f.source = static_cast<std::uint32_t>(random());
    f.destination = static_cast<std::uint32_t>(random());
    f.total_length = static_cast<std::uint16_t>(random());
    f.protocol = static_cast<std::uint8_t>(random());
    f.ttl = static_cast<std::uint8_t>(random());
    f.traffic_class = static_cast<std::uint8_t>(random());
    if (i == 0) f = {};
    if (i == 1) f = {0xffffffff, 0xffffffff, 0xffff, 0xff, 0xff, 0xff};
    if (i % 4 == 3)
      f.destination = carrying(f.destination,
                               0x4500 + f.traffic_class + f.total_length + 0x4000 +
                                   (std::uint32_t{f.ttl} << 8) + f.protocol + halves(f.source),
                               random() % 8);
    wire::ipv4_fields g;
    g.source = ip_address::v4(f.source), g.destination = ip_address::v4(f.destination);
    g.total_length = f.total_length, g.protocol = f.protocol, g.ttl = f.ttl;
    g.traffic_class = f.traffic_class;
    bytes quick(ip_header), general(ip_header);
    wire::emit_plain_ipv4(quick.data(), f);
    wire::emit_ipv4(general.data(), g);
    REQUIRE(quick == general);
    REQUIRE(wire::checksum_of(quick) == 0);
  }
}

TEST_CASE("plain_segments_leave_with_the_bytes_of_the_general_emitters") {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    wire::tcp_segment s;
    s.source = ip_address::v4(static_cast<std::uint32_t>(random()));
    s.destination = ip_address::v4(static_cast<std::uint32_t>(random()));
    s.source_port = static_cast<std::uint16_t>(random());
    s.destination_port = static_cast<std::uint16_t>(random());
    s.sequence = static_cast<std::uint32_t>(random());
    s.acknowledgment = static_cast<std::uint32_t>(random());
    s.flags = static_cast<std::uint8_t>(random());
    s.window = static_cast<std::uint16_t>(random());
    s.urgent = static_cast<std::uint16_t>(random());
    s.ecn = random() & 3, s.traffic_class = random() & 0xfc;
    if (random() & 1)
      s.options.timestamps = wire::tcp_timestamps{static_cast<std::uint32_t>(random()),
                                                  static_cast<std::uint32_t>(random())};
    const std::size_t payload = random() % 60'000;
    REQUIRE(wire::is_plain(s));
    if (i % 4 == 3) {
      const auto length = static_cast<std::uint32_t>(wire::plain_headers(s) - ip_header + payload);
      const auto others = halves(s.source.to_v4_number()) + wire::tcp_protocol + length;
      s.destination = ip_address::v4(carrying(s.destination.to_v4_number(), others, random() % 8));
    }

    wire::ipv4_fields ip;
    ip.source = s.source, ip.destination = s.destination, ip.protocol = wire::tcp_protocol;
    ip.ttl = 63, ip.traffic_class = s.traffic_class | s.ecn;
    bytes general(ip_header + wire::max_tcp_header);
    const auto tcp = wire::emit_tcp_header(std::span(general).subspan(ip_header), s);
    general.resize(ip_header + tcp);
    ip.total_length = static_cast<std::uint16_t>(general.size() + payload);
    wire::emit_ipv4(general.data(), ip);
    wire::internet_sum pseudo;
    pseudo.add_pseudo(s.source, s.destination, wire::tcp_protocol,
                      static_cast<std::uint32_t>(tcp + payload));
    wire::put16(general.data() + ip_header + 16, pseudo.folded());

    bytes quick(wire::plain_headers(s));
    wire::emit_plain(quick.data(), s, payload, 63);
    REQUIRE(quick == general);
  }
}

TEST_CASE("segments_with_other_options_or_of_ipv6_are_not_plain") {
  wire::tcp_segment s;
  s.source = addr("198.18.0.1"), s.destination = addr("198.18.0.2");
  CHECK(wire::is_plain(s));
  const auto with = [&](auto&& change) {
    auto other = s;
    change(other);
    return wire::is_plain(other);
  };
  CHECK(!with([](auto& o) { o.options.mss = 1460; }));
  CHECK(!with([](auto& o) { o.options.window_scale = 7; }));
  CHECK(!with([](auto& o) { o.options.sack_permitted = true; }));
  CHECK(!with([](auto& o) { o.options.sack_count = 1; }));
  CHECK(!with([](auto& o) { o.options.user_timeout = 5; }));
  CHECK(!with([](auto& o) { o.source = o.destination = addr("2001:db8::1"); }));
}
