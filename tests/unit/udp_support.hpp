// A host with UDP sockets on a bench: packets go in by hand, what it sends is kept.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "unit/ip_support.hpp"
#include "weir/stack/host.hpp"

namespace weir::test {

using stack::counter;
using stack::socket_id;

inline bytes text(std::string_view s) {
  auto view = std::as_bytes(std::span(s));
  return {view.begin(), view.end()};
}

/// A sent datagram, with its checksum verified.
struct sent_udp {
  endpoint from, to;
  bytes payload;
  std::uint16_t checksum = 0;
  bool fragment = false;
};

struct udp_bench {
  explicit udp_bench(stack::host_options o = ip_options()) : host(std::move(o), sink) {}

  /// A packet arrives.
  void in(const bytes& packet, stack::receive_meta meta = {}) { host.input(now, packet, meta); }
  /// A datagram of the peer's arrives.
  void datagram(bool v6, std::uint16_t to_port, std::span<const std::byte> payload,
                std::uint16_t from_port = 40000) {
    in(from_peer(v6, 17, udp_bytes(peer(v6), own(v6), from_port, to_port, payload)).build());
  }
  socket_id bind(const endpoint& at, const stack::udp_options& how = {}) {
    auto id = host.udp_bind(at, how);
    REQUIRE(id);
    return *id;
  }
  socket_id connect(const endpoint& to, const endpoint& at = {}) {
    auto id = host.udp_connect(to, at);
    REQUIRE(id);
    return *id;
  }
  std::error_code send(socket_id id, std::span<const std::byte> payload,
                       const endpoint* to = nullptr) {
    std::span<const std::byte> part[] = {payload};
    auto n = host.udp_send(now, id, to, part);
    if (!n) return n.error();
    CHECK(*n == payload.size());
    return {};
  }
  /// The oldest datagram; "-" when there is none.
  std::string receive(socket_id id, endpoint* from = nullptr) {
    std::array<std::byte, 2048> buffer;
    auto got = host.udp_receive(id, buffer);
    if (!got) return got.error() == std::errc::operation_would_block ? "-" : got.error().message();
    if (from != nullptr) *from = got->from;
    return {reinterpret_cast<const char*>(buffer.data()), got->copied};
  }
  std::error_code receive_error(socket_id id) {
    std::array<std::byte, 2048> buffer;
    auto got = host.udp_receive(id, buffer);
    return got ? std::error_code() : got.error();
  }
  std::uint64_t count(counter c) const { return host.counters()[c]; }
  std::size_t sent() const { return sink.sent.size(); }
  void skip() { sink.sent.clear(); }

  recording_sink sink;
  stack::host host;
  instant now = at_ms(1000);
};

inline sent_udp as_udp(const sent_packet& p) {
  auto h = wire::parse_ip(p.data);
  REQUIRE(h.status == wire::ip_status::ok);
  REQUIRE(h.protocol == 17);
  wire::udp_datagram d;
  d.source = h.source, d.destination = h.destination;
  REQUIRE(wire::parse_udp(h.payload, true, d) == wire::parse_status::ok);
  return {{h.source, d.source_port},
          {h.destination, d.destination_port},
          {d.payload.begin(), d.payload.end()},
          wire::get16(h.payload.data() + 6),
          false};
}

inline endpoint own_at(bool v6, std::uint16_t port) { return {own(v6), port}; }
inline endpoint peer_at(bool v6, std::uint16_t port) { return {peer(v6), port}; }
inline endpoint any_at(bool v6, std::uint16_t port) {
  return {v6 ? ip_address::v6({}) : ip_address(), port};
}

}  // namespace weir::test
