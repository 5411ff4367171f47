// Address rules: see addresses.hpp.
#include "stack/ip/addresses.hpp"

#include <algorithm>

namespace weir::stack {
namespace {

// ::ffff:0:0/96 never stands in a header on the wire (RFC 6890 2.2.3).
bool is_v4_mapped(const ip_address& address) {
  if (address.is_v4()) return false;
  auto bytes = address.bytes();
  return std::all_of(bytes.begin(), bytes.begin() + 10, [](auto b) { return b == 0; }) &&
         bytes[10] == 0xff && bytes[11] == 0xff;
}

}  // namespace

address_set::address_set(const std::vector<ip_prefix>& own)
    : prefixes_(own), broadcasts_{0xffffffffu} {
  for (const auto& prefix : own) {
    if (prefix.address.is_v6()) {
      sorted_v6_.push_back(prefix.address);
      continue;
    }
    sorted_v4_.push_back(prefix.address.to_v4_number());
    if (auto broadcast = prefix.broadcast()) broadcasts_.push_back(broadcast->to_v4_number());
  }
  std::sort(sorted_v4_.begin(), sorted_v4_.end());
  std::sort(sorted_v6_.begin(), sorted_v6_.end());
  std::sort(broadcasts_.begin(), broadcasts_.end());
}

bool address_set::is_local_v6(const ip_address& address) const {
  if (sorted_v6_.size() > scan_limit)
    return std::binary_search(sorted_v6_.begin(), sorted_v6_.end(), address);
  return std::find(sorted_v6_.begin(), sorted_v6_.end(), address) != sorted_v6_.end();
}

bool address_set::take_also(const ip_prefix& network) {
  for (const auto& other : also_) {
    const bool within = other.address.family() == network.address.family() &&
                        other.length <= network.length && other.contains(network.address);
    if (within) return true;
  }
  if (also_.size() == most_also) return false;
  also_.push_back(network);
  return true;
}

// One host elsewhere: what no packet on a wire may be sent to is not taken either.
bool address_set::is_taken_also(const ip_address& address) const {
  if (!is_unicast(address) || address.is_loopback() || is_v4_mapped(address)) return false;
  return std::any_of(also_.begin(), also_.end(), [&](const auto& network) {
    return network.address.family() == address.family() && network.contains(address);
  });
}

bool address_set::is_broadcast(const ip_address& address) const {
  return address.is_v4() && contains(broadcasts_, address.to_v4_number());
}

bool address_set::is_joined_group(const ip_address& address) const {
  if (!address.is_v6() || !address.is_multicast()) return false;
  auto group = address.bytes();
  // RFC 4291 2.8: ff01::1 and ff02::1, and ff02::1:ffXX:XXXX with the last three bytes of each
  // address.
  bool zeros = std::all_of(group.begin() + 2, group.begin() + 11, [](auto b) { return b == 0; });
  if (!zeros || group[1] > 2 || group[1] == 0) return false;
  if (group[11] == 0 && group[12] == 0 && group[13] == 0 && group[14] == 0 && group[15] == 1)
    return true;
  if (group[1] != 2 || group[11] != 1 || group[12] != 0xff) return false;
  return std::any_of(sorted_v6_.begin(), sorted_v6_.end(), [&](const auto& own) {
    return std::equal(group.begin() + 13, group.end(), own.bytes().begin() + 13);
  });
}

bool address_set::is_unicast(const ip_address& address) const {
  if (address.is_v4()) return is_unicast_v4(address.to_v4_number());
  return !address.is_multicast() && !address.is_unspecified();
}

bool address_set::is_valid_wire_source(const ip_address& address) const {
  if (address.is_v4()) return is_valid_wire_source_v4(address.to_v4_number());
  return is_unicast(address) && !address.is_loopback() && !is_v4_mapped(address) &&
         !is_local(address);
}

std::optional<ip_address> address_set::source_for(const ip_address& destination) const {
  const ip_prefix* best = nullptr;
  // RFC 6724 5 as far as one interface goes: the address itself, the same subnet, then the same
  // scope.
  auto rank = [&](const ip_prefix& prefix) {
    if (prefix.address == destination) return 4;
    bool same_scope = prefix.address.is_link_local() == destination.is_link_local() &&
                      prefix.address.is_loopback() == destination.is_loopback();
    if (prefix.contains(destination) && same_scope) return 3;
    return same_scope ? 2 : 1;
  };
  for (const auto& prefix : prefixes_) {
    if (prefix.address.family() != destination.family()) continue;
    if (best == nullptr || rank(prefix) > rank(*best)) best = &prefix;
  }
  if (best == nullptr) return std::nullopt;
  return best->address;
}

}  // namespace weir::stack
