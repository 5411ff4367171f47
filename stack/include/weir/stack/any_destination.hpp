// What a gateway listens for: destinations that are others' addresses.
#pragma once

#include <cstdint>

#include "weir/stack/address.hpp"

namespace weir {

struct port_range {
  std::uint16_t first = 1, last = 65535;

  constexpr bool contains(std::uint16_t port) const { return first <= port && port <= last; }
  constexpr bool overlaps(const port_range& other) const {
    return first <= other.last && other.first <= last;
  }
  /// Whether it is a part of the other, and not all of it.
  constexpr bool within(const port_range& other) const {
    return other.first <= first && last <= other.last && *this != other;
  }
  constexpr bool operator==(const port_range&) const = default;
};

/// Every destination in a network, at any of these ports: by default every IPv4 address. Of several
/// that hold a destination the longest prefix counts, then the fewest ports; a listener or a socket
/// on the very address, or on the wildcard, goes first.
struct any_destination {
  ip_prefix network = {};
  port_range ports = {};

  static constexpr any_destination v4() { return {}; }
  static constexpr any_destination v6() { return {{ip_address::v6({}), 0}, {}}; }

  bool contains(const endpoint& to) const {
    return ports.contains(to.port) && to.address.family() == network.address.family() &&
           network.contains(to.address);
  }
  /// Whether none of the two counts before the other: the same network, ports in common, and
  /// neither range within the other.
  bool conflicts(const any_destination& other) const {
    return network.length == other.network.length &&
           network.address.family() == other.network.address.family() &&
           network.contains(other.network.address) && ports.overlaps(other.ports) &&
           !ports.within(other.ports) && !other.ports.within(ports);
  }
  /// Whether it counts before the other where both hold a destination.
  bool before(const any_destination& other) const {
    if (network.length != other.network.length) return network.length > other.network.length;
    return ports.last - ports.first < other.ports.last - other.ports.first;
  }
  constexpr bool operator==(const any_destination&) const = default;
};

}  // namespace weir

namespace weir::stack {

/// How a peer is told that nothing becomes of what it asked for.
enum class refusal : std::uint8_t {
  reset,                ///< nobody listens there
  network_unreachable,  ///< the rest: by ICMP
  host_unreachable,
  port_unreachable,
  prohibited,
  silence,  ///< not at all, as a filter does
};

}  // namespace weir::stack
