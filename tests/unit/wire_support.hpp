// What the tests of wire/ and ip/ share: packets built field by field, and bytes from a seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/icmp.hpp"
#include "stack/wire/ip.hpp"
#include "stack/wire/tcp.hpp"
#include "stack/wire/udp.hpp"

namespace weir::test {

using bytes = std::vector<std::byte>;
namespace wire = stack::wire;

inline ip_address addr(const char* text) { return *ip_address::parse(text); }

inline bytes raw(std::initializer_list<unsigned> values) {
  bytes out;
  for (auto v : values) out.push_back(std::byte(v));
  return out;
}

inline bytes pattern(std::size_t n, unsigned start = 0) {
  bytes out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = std::byte((start + i * 7 + i / 251) & 0xff);
  return out;
}

inline bytes operator+(bytes a, std::span<const std::byte> b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// A copy in a block of exactly its size, so that the address sanitizer sees the first byte beyond.
class exact_copy {
 public:
  explicit exact_copy(std::span<const std::byte> from)
      : bytes_(new std::byte[from.size()]), size_(from.size()) {
    if (!from.empty()) std::memcpy(bytes_.get(), from.data(), from.size());
  }
  std::span<const std::byte> view() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_;
};

inline bytes random_bytes(std::mt19937_64& random, std::size_t n) {
  bytes out(n);
  for (auto& b : out) b = std::byte(random() & 0xff);
  return out;
}

/// A whole IP packet of the addresses' family around `payload`.
struct ip_packet {
  ip_address source, destination;
  std::uint8_t protocol = 0;
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
  std::uint16_t identification = 0;
  bool dont_fragment = false;
  bool more_fragments = false;
  std::uint32_t fragment_offset = 0;
  bytes options;  // IPv4: a multiple of four
  bytes payload;

  bytes build() const {
    if (source.is_v6()) {
      bytes out(wire::ipv6_header);
      wire::ipv6_fields f;
      f.source = source, f.destination = destination, f.next_header = protocol, f.hop_limit = ttl;
      f.traffic_class = traffic_class;
      f.payload_length = static_cast<std::uint16_t>(payload.size());
      wire::emit_ipv6(out.data(), f);
      return out + payload;
    }
    bytes out(wire::min_ipv4_header);
    wire::ipv4_fields f;
    f.source = source, f.destination = destination, f.protocol = protocol, f.ttl = ttl;
    f.traffic_class = traffic_class, f.identification = identification;
    f.dont_fragment = dont_fragment, f.more_fragments = more_fragments;
    f.fragment_offset = static_cast<std::uint16_t>(fragment_offset);
    f.total_length = static_cast<std::uint16_t>(20 + options.size() + payload.size());
    wire::emit_ipv4(out.data(), f);
    out = out + options;
    if (!options.empty()) {
      out[0] = std::byte(0x40 | (out.size() / 4));
      wire::put16(out.data() + 10, 0);
      wire::put16(out.data() + 10, wire::checksum_of(out));
    }
    return out + payload;
  }
};

inline void fix_ipv4_checksum(bytes& packet) {
  auto header = (wire::get8(packet.data()) & 15u) * 4u;
  wire::put16(packet.data() + 10, 0);
  wire::put16(packet.data() + 10, wire::checksum_of(std::span(packet).first(header)));
}

inline bytes tcp_bytes(const wire::tcp_segment& s, std::span<const std::byte> payload = {}) {
  bytes out(wire::max_tcp_header);
  out.resize(wire::emit_tcp_header(out, s));
  out = out + payload;
  wire::internet_sum sum;
  sum.add_pseudo(s.source, s.destination, 6, static_cast<std::uint32_t>(out.size()));
  sum.add(out);
  wire::put16(out.data() + 16, sum.checksum());
  return out;
}

inline bytes udp_bytes(const ip_address& from, const ip_address& to, std::uint16_t source_port,
                       std::uint16_t destination_port, std::span<const std::byte> payload) {
  bytes out(8);
  wire::emit_udp_header(out.data(), source_port, destination_port,
                        static_cast<std::uint16_t>(8 + payload.size()));
  out = out + payload;
  wire::internet_sum sum;
  sum.add_pseudo(from, to, 17, static_cast<std::uint32_t>(out.size()));
  sum.add(out);
  auto value = sum.checksum();
  wire::put16(out.data() + 6, value == 0 ? 0xffff : value);
  return out;
}

inline bytes icmp_bytes(const ip_address& from, const ip_address& to, std::uint8_t type,
                        std::uint8_t code, std::uint32_t rest, std::span<const std::byte> body) {
  bytes out(8);
  wire::emit_icmp(out.data(), {type, code, rest, body}, from, to);
  return out + body;
}

}  // namespace weir::test
