// A host's IP layer on a bench: what it sends is kept, what it counts can be asked for.
#pragma once

#include <doctest/doctest.h>

#include "stack/ip/ip_layer.hpp"
#include "unit/wire_support.hpp"

namespace weir::test {

struct sent_packet {
  bytes data;
  stack::transmit_meta meta;
};

class recording_sink final : public stack::packet_sink {
 public:
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const stack::transmit_meta& meta) override {
    if (full) return false;
    sent_packet p;
    p.meta = meta;
    for (auto& part : parts) p.data = p.data + part;
    sent.push_back(std::move(p));
    return true;
  }
  std::vector<sent_packet> sent;
  bool full = false;
};

inline instant at_ms(std::int64_t ms) { return instant::from_ns(ms * 1'000'000); }

inline stack::host_options ip_options() {
  stack::host_options o;
  o.addresses = {*ip_prefix::parse("198.18.0.2/24"), *ip_prefix::parse("2001:db8::2/64")};
  for (std::size_t i = 0; i < o.secret.size(); ++i) o.secret[i] = static_cast<std::uint8_t>(i * 37);
  return o;
}

struct ip_bench {
  explicit ip_bench(stack::host_options o = ip_options())
      : options(std::move(o)), ip(options, sink, counters) {}

  stack::delivery in(const bytes& packet, stack::receive_meta meta = {}) {
    held = packet;  // deliveries point into it
    return ip.input(now, held, meta);
  }
  std::uint64_t count(stack::counter c) const { return counters[c]; }

  stack::host_options options;
  recording_sink sink;
  stack::host_counters counters;
  stack::ip_layer ip;
  instant now = at_ms(1000);
  bytes held;
};

inline ip_address peer(bool v6) { return addr(v6 ? "2001:db8::1" : "198.18.0.1"); }
inline ip_address own(bool v6) { return addr(v6 ? "2001:db8::2" : "198.18.0.2"); }

inline ip_packet from_peer(bool v6, std::uint8_t protocol, bytes payload) {
  ip_packet p;
  p.source = peer(v6), p.destination = own(v6), p.protocol = protocol,
  p.payload = std::move(payload);
  return p;
}

inline wire::tcp_segment peer_segment(bool v6) {
  wire::tcp_segment s;
  s.source = peer(v6), s.destination = own(v6);
  s.source_port = 40000, s.destination_port = 80, s.sequence = 1000, s.flags = wire::ack;
  s.window = 500;
  return s;
}

inline wire::tcp_segment own_segment(bool v6) {
  wire::tcp_segment s;
  s.source = own(v6), s.destination = peer(v6);
  s.source_port = 80, s.destination_port = 40000, s.sequence = 5000, s.flags = wire::ack;
  return s;
}

/// The whole packet of a TCP segment from the peer.
inline bytes tcp_packet(bool v6, std::span<const std::byte> payload = {}) {
  return from_peer(v6, 6, tcp_bytes(peer_segment(v6), payload)).build();
}

/// An ICMP error from the peer about `quoted`.
inline bytes error_packet(bool v6, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
                          std::span<const std::byte> quoted) {
  return from_peer(v6, v6 ? 58 : 1, icmp_bytes(peer(v6), own(v6), type, code, rest, quoted))
      .build();
}

/// A packet that we sent: what a router would quote.
inline bytes own_tcp_packet(bool v6, std::span<const std::byte> payload = {}) {
  auto s = own_segment(v6);
  ip_packet p;
  p.source = s.source, p.destination = s.destination, p.protocol = 6,
  p.payload = tcp_bytes(s, payload);
  return p.build();
}

/// Type and code of a sent ICMP message, checked for its checksum.
struct sent_icmp {
  unsigned type = 0, code = 0;
  std::uint32_t rest = 0;
  bytes body;
  ip_address source, destination;
};
inline sent_icmp as_icmp(const sent_packet& p) {
  auto h = wire::parse_ip(p.data);
  REQUIRE(h.status == wire::ip_status::ok);
  REQUIRE(h.total_length == p.data.size());
  wire::icmp_message m;
  REQUIRE(wire::parse_icmp(h.payload, h.source, h.destination, m) == wire::parse_status::ok);
  return {m.type, m.code, m.rest, {m.body.begin(), m.body.end()}, h.source, h.destination};
}

inline bool nothing(const stack::delivery& d) { return std::holds_alternative<std::monostate>(d); }

/// A UDP datagram of `n` bytes from the peer in fragments of `piece` bytes.
inline std::vector<bytes> udp_fragments(bool v6, std::size_t n, std::size_t piece, unsigned id = 77,
                                        std::uint8_t traffic_class = 0) {
  auto whole = udp_bytes(peer(v6), own(v6), 5000, 7, pattern(n));
  std::vector<bytes> out;
  for (std::size_t at = 0; at < whole.size(); at += piece) {
    auto size = std::min(piece, whole.size() - at);
    bool more = at + size < whole.size();
    bytes data(whole.begin() + static_cast<std::ptrdiff_t>(at),
               whole.begin() + static_cast<std::ptrdiff_t>(at + size));
    ip_packet p = from_peer(v6, 17, {});
    p.traffic_class = traffic_class;
    if (v6) {
      bytes header(8);
      wire::emit_ipv6_fragment(header.data(), 17, static_cast<std::uint16_t>(at), more, id);
      p.protocol = 44, p.payload = header + data;
    } else {
      p.identification = static_cast<std::uint16_t>(id), p.more_fragments = more;
      p.fragment_offset = static_cast<std::uint32_t>(at), p.payload = data;
    }
    out.push_back(p.build());
  }
  return out;
}

/// One fragment with any fields.
inline bytes fragment_packet(bool v6, unsigned id, std::uint32_t offset, bool more, bytes data,
                             std::uint8_t protocol = 17, std::uint8_t traffic_class = 0) {
  ip_packet p = from_peer(v6, protocol, {});
  p.traffic_class = traffic_class;
  if (v6) {
    bytes header(8);
    wire::emit_ipv6_fragment(header.data(), protocol, static_cast<std::uint16_t>(offset), more, id);
    p.protocol = 44, p.payload = header + data;
  } else {
    p.identification = static_cast<std::uint16_t>(id), p.more_fragments = more;
    p.fragment_offset = offset, p.payload = std::move(data);
  }
  return p.build();
}

}  // namespace weir::test
