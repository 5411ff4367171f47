// What an Ethernet link counts: every frame that led nowhere under the name of its reason. Counters
// only grow.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::stack {

// One list, so that a counter cannot lack its name: X(identifier).
// clang-format off
#define WEIR_LINK_COUNTERS(X)                                                                     \
  X(frames_received) X(frames_sent) X(frames_refused)                                             \
  X(arp_answered) X(arp_asked) X(discovery_answered) X(discovery_asked) X(routers_advertised)     \
  X(address_conflicts) X(neighbours_lost) X(neighbours_evicted)                                   \
  X(drop_short_frame) X(drop_bad_source) X(drop_not_ours) X(drop_unknown_type)                    \
  X(drop_group_frame)                                                                             \
  X(drop_arp_malformed) X(drop_arp_forged) X(drop_arp_unasked) X(drop_arp_off_link)               \
  X(drop_discovery_malformed) X(drop_discovery_checksum) X(drop_discovery_hop_limit)              \
  X(drop_discovery_unasked) X(drop_discovery_off_link) X(drop_router_message)                     \
  X(drop_no_route) X(drop_unresolved) X(drop_waiting_full) X(drop_neighbours_full)                \
  X(dhcp_offers) X(dhcp_acks) X(dhcp_naks) X(dhcpv6_advertises) X(dhcpv6_replies)                 \
  X(dhcp_releases) X(dhcp_declines)                                                               \
  X(drop_dhcp_malformed) X(drop_dhcp_checksum) X(drop_dhcp_forged) X(drop_dhcp_relayed)           \
  X(drop_dhcp_not_for_us) X(drop_dhcp_unknown_client) X(drop_dhcp_pool_empty)
// clang-format on

enum class link_counter : std::uint8_t {
#define WEIR_X(name) name,
  WEIR_LINK_COUNTERS(WEIR_X)
#undef WEIR_X
      count_
};

constexpr std::string_view name(link_counter c) {
  constexpr std::string_view names[] = {
#define WEIR_X(name) #name,
      WEIR_LINK_COUNTERS(WEIR_X)
#undef WEIR_X
  };
  return names[static_cast<std::size_t>(c)];
}

class link_counters {
 public:
  static constexpr std::size_t size = static_cast<std::size_t>(link_counter::count_);

  void add(link_counter c, std::uint64_t n = 1) { values_[static_cast<std::size_t>(c)] += n; }
  std::uint64_t operator[](link_counter c) const { return values_[static_cast<std::size_t>(c)]; }

 private:
  std::array<std::uint64_t, size> values_{};
};

}  // namespace weir::stack
