// Messages of IPv6 neighbour discovery (RFC 4861 4, options of RFC 8106 5.1) as values:
// solicitations and advertisements parsed from hostile packets, and whole packets of them emitted.
// Total functions; what a message leads to is link/'s.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "stack/wire/ethernet.hpp"
#include "stack/wire/ip.hpp"
#include "weir/stack/address.hpp"

namespace weir::stack::wire {

namespace discovery {  // ICMPv6 types; redirect is icmp.hpp's
inline constexpr std::uint8_t router_solicitation = 133;
inline constexpr std::uint8_t router_advertisement = 134;
inline constexpr std::uint8_t solicitation = 135;
inline constexpr std::uint8_t advertisement = 136;
}  // namespace discovery

/// Every hop limit of neighbour discovery: what a router passed on has less (RFC 4861 3.1).
inline constexpr std::uint8_t discovery_hop_limit = 255;

struct discovery_message {
  std::uint8_t type = 0;
  bool router = false, solicited = false, override_known = false;  ///< of an advertisement
  ip_address target;                       ///< of a solicitation or advertisement of a neighbour
  std::optional<mac_address> source_link;  ///< the option: the sender's own
  std::optional<mac_address> target_link;  ///< the option: the target's
};

enum class discovery_status : std::uint8_t { ok, hop_limit, checksum, malformed };

/// Reads what `ip`, a packet of protocol 58 and one of the types above or redirect, carries, and
/// judges it by RFC 4861 6.1.1, 6.1.2, 7.1.1, 7.1.2 and 8.1. Of router advertisements and redirects
/// nothing but the type is read.
discovery_status parse_discovery(const ip_header& ip, discovery_message& out);

/// The longest message that is emitted here, with its IPv6 header.
inline constexpr std::size_t most_name_servers = 8;
inline constexpr std::size_t max_discovery_packet =
    40 + 16 + 8 + 8 + 32 + 8 + 16 * most_name_servers;

/// ff02::1:ffXX:XXXX, where a node that has `target` listens (RFC 4291 2.7.1).
ip_address solicited_node(const ip_address& target);
/// ff02::1.
ip_address all_nodes();
/// fe80:: with the card's address as RFC 4291 appendix A has it.
ip_address link_local(const mac_address& mac);

/// A whole IPv6 packet, to the group of the target or to the target itself (`to`). Gives its
/// length.
std::size_t emit_solicitation(std::byte* into, const ip_address& from, const ip_address& to,
                              const ip_address& target, const mac_address& own);
/// The answer.
struct advertisement_fields {
  ip_address from, to, target;
  mac_address own;
  bool router = false, solicited = false;
};
std::size_t emit_advertisement(std::byte* into, const advertisement_fields& fields);

/// What a router tells of its network.
struct router_facts {
  ip_prefix prefix;  ///< guests make addresses of it for themselves
  std::uint32_t router_lifetime_s = 1800;
  std::uint32_t valid_s = 86400, preferred_s = 14400;
  std::uint16_t mtu = 1500;
  bool managed = false;                  ///< there is a DHCPv6 server: M and O
  std::vector<ip_address> name_servers;  ///< most_name_servers of them count
};
std::size_t emit_router_advertisement(std::byte* into, const ip_address& from, const ip_address& to,
                                      const mac_address& own, const router_facts& facts);

}  // namespace weir::stack::wire
