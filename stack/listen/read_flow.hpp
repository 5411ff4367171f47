// The flow of a packet at a glance, ahead of every parser: for whoever wants to know what a packet
// will probably belong to before it is taken. No judgement of the packet.
#pragma once

#include <cstddef>
#include <span>

#include "stack/base/flow_key.hpp"
#include "stack/wire/bytes.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack {

/// Of a TCP packet without IPv4 options or IPv6 extension headers; false for any other. A fragment
/// that is not the first has something else where the ports would be.
inline bool read_flow(std::span<const std::byte> packet, flow_key& out) {
  constexpr std::size_t ports = 4;
  constexpr std::byte tcp{wire::tcp_protocol};
  const auto* p = packet.data();
  const auto port = [p](std::size_t at) { return wire::get16(p + at); };
  if (packet.size() >= wire::min_ipv4_header + ports && p[0] == std::byte{0x45} && p[9] == tcp) {
    out.remote = {wire::read_v4(p + 12), port(wire::min_ipv4_header)};
    out.local = {wire::read_v4(p + 16), port(wire::min_ipv4_header + 2)};
    return true;
  }
  if (packet.size() >= wire::ipv6_header + ports && (p[0] & std::byte{0xf0}) == std::byte{0x60} &&
      p[6] == tcp) {
    out.remote = {wire::read_v6(p + 8), port(wire::ipv6_header)};
    out.local = {wire::read_v6(p + 24), port(wire::ipv6_header + 2)};
    return true;
  }
  return false;
}

}  // namespace weir::stack
