// The host's own addresses, and what RFC 1122 3.2.1.3 and RFC 4291 2 allow in the source and
// destination fields. It holds values only and sends nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "weir/stack/address.hpp"

namespace weir::stack {

class address_set {
 public:
  explicit address_set(const std::vector<ip_prefix>& own);

  bool is_local(const ip_address& address) const {
    return address.is_v4() ? contains(sorted_v4_, address.to_v4_number()) : is_local_v6(address);
  }
  /// From now on packets to these addresses are ours too, though no address here is: a gateway's.
  /// False: there is no room for more.
  bool take_also(const ip_prefix& network);
  /// Local, or taken also.
  bool is_ours(const ip_address& address) const {
    return is_local(address) || (!also_.empty() && is_taken_also(address));
  }
  /// 255.255.255.255 or the directed broadcast address of one of our subnets.
  bool is_broadcast(const ip_address& address) const;
  /// An IPv6 group that every node is in: all nodes, or the solicited-node group of one of our
  /// addresses.
  bool is_joined_group(const ip_address& address) const;
  /// Whether one node can be meant: not multicast, broadcast, unspecified or "this network".
  bool is_unicast(const ip_address& address) const;
  /// Whether a packet from outside may carry it as its source: unicast, no loopback address, and
  /// not our own.
  bool is_valid_wire_source(const ip_address& address) const;
  std::optional<ip_address> source_for(const ip_address& destination) const;

  // The same for IPv4 addresses as numbers in host order: every packet asks, both ways.
  bool is_local_v4(std::uint32_t address) const { return contains(sorted_v4_, address); }
  bool is_ours_v4(std::uint32_t address) const {
    return is_local_v4(address) || (!also_.empty() && is_taken_also(ip_address::v4(address)));
  }
  bool is_unicast_v4(std::uint32_t address) const {
    return address >> 28 != 0xe && address >> 24 != 0 && !contains(broadcasts_, address);
  }
  bool is_valid_wire_source_v4(std::uint32_t address) const {
    return is_unicast_v4(address) && address >> 24 != 127 && !is_local_v4(address);
  }

 private:
  // Below this a scan beats a search.
  static constexpr std::size_t scan_limit = 8;

  static bool contains(const std::vector<std::uint32_t>& sorted, std::uint32_t value) {
    if (sorted.size() > scan_limit) return std::binary_search(sorted.begin(), sorted.end(), value);
    for (const auto v : sorted)
      if (v == value) return true;
    return false;
  }
  static constexpr std::size_t most_also = 64;
  bool is_local_v6(const ip_address& address) const;
  bool is_taken_also(const ip_address& address) const;

  std::vector<ip_prefix> prefixes_;  // in the order in which they were given
  std::vector<ip_address> sorted_v6_;
  std::vector<ip_prefix> also_;            // networks that take_also() was given
  std::vector<std::uint32_t> sorted_v4_;   // as numbers
  std::vector<std::uint32_t> broadcasts_;  // limited and directed
};

}  // namespace weir::stack
