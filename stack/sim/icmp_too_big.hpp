// The answer of a link with a smaller MTU: ICMP "fragmentation needed" (RFC 1191 4) or ICMPv6
// "packet too big" (RFC 4443 3.2), as a router in the middle would send it. Only the simulator
// makes these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace weir::sim {

/// Writes the whole answering packet into `out`; false when `packet` is nothing that could be
/// answered.
bool make_too_big(std::span<const std::byte> packet, std::uint16_t mtu,
                  std::vector<std::byte>& out);

}  // namespace weir::sim
