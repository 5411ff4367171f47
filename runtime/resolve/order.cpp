// RFC 6724, sections 2.1 (policy table), 3.1 (scopes) and 6 (destination address selection).
#include "runtime/resolve/order.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <tuple>

namespace weir::detail {
namespace {

struct policy {
  ip_prefix prefix;
  int precedence, label;
};

ip_prefix v6(std::array<std::uint8_t, 2> beginning, std::uint8_t length) {
  std::array<std::uint8_t, 16> bytes{};
  bytes[0] = beginning[0];
  bytes[1] = beginning[1];
  return {ip_address::v6(bytes), length};
}

constexpr int v4_precedence = 35, v4_label = 4;  // of ::ffff:0:0/96

/// Longest prefix first.
std::array<policy, 8> policies() {
  return {{{{ip_address::loopback_v6(), 128}, 50, 0},
           {v6({0, 0}, 96), 1, 3},
           {v6({0x20, 0x01}, 32), 5, 5},
           {v6({0x20, 0x02}, 16), 30, 2},
           {v6({0x3f, 0xfe}, 16), 1, 12},
           {v6({0xfe, 0xc0}, 10), 1, 11},
           {v6({0xfc, 0}, 7), 3, 13},
           {v6({0, 0}, 0), 40, 1}}};
}

policy policy_of(const ip_address& address) {
  if (address.is_v4()) return {{address, 32}, v4_precedence, v4_label};
  static const auto table = policies();
  return *std::ranges::find_if(table, [&](const policy& p) { return p.prefix.contains(address); });
}

int scope_of(const ip_address& address) {
  constexpr int link_local = 2, site_local = 5, global = 14;
  if (address.is_loopback() || address.is_link_local()) return link_local;
  if (address.is_v6() && v6({0xfe, 0xc0}, 10).contains(address)) return site_local;
  return global;
}

/// Bits that two IPv6 addresses have in common at their beginning, of the 64 that are a network's.
int common_prefix(const ip_address& a, const ip_address& b) {
  if (!a.is_v6() || !b.is_v6()) return 0;
  constexpr std::size_t network_bytes = 8;
  int bits = 0;
  for (std::size_t i = 0; i < network_bytes; ++i) {
    const auto differ = static_cast<std::uint8_t>(a.bytes()[i] ^ b.bytes()[i]);
    bits += std::countl_zero(differ);
    if (differ != 0) break;
  }
  return bits;
}

/// What is less comes first. Addresses of equal precedence are of one family, so that rule 9 never
/// compares across families.
auto rank(const destination& d) {
  const auto own = policy_of(d.address);
  const bool scopes_match = !d.source || scope_of(*d.source) == scope_of(d.address);
  const bool labels_match = !d.source || policy_of(*d.source).label == own.label;
  return std::tuple(!d.reachable, !scopes_match, !labels_match, -own.precedence,
                    scope_of(d.address), d.source ? -common_prefix(*d.source, d.address) : 0);
}

}  // namespace

void sort_destinations(std::vector<destination>& all) { sort_in_place(all, rank); }

}  // namespace weir::detail
