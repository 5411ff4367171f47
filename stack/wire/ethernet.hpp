// Ethernet II frames (RFC 894, RFC 2464) and ARP messages in them (RFC 826, RFC 5227) as values:
// parsed from hostile bytes, and emitted. Total functions; who is asked and who answers is link/'s.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "weir/stack/address.hpp"

namespace weir::stack::wire {

inline constexpr std::size_t ethernet_header = 14;
inline constexpr std::size_t arp_size = 28;

namespace ethertype {
inline constexpr std::uint16_t ipv4 = 0x0800;
inline constexpr std::uint16_t arp = 0x0806;
inline constexpr std::uint16_t ipv6 = 0x86dd;
}  // namespace ethertype

/// The address of a network card.
struct mac_address {
  std::array<std::uint8_t, 6> bytes{};

  /// Broadcast is a group, too.
  constexpr bool is_group() const { return (bytes[0] & 1) != 0; }
  constexpr bool is_zero() const { return *this == mac_address{}; }
  static constexpr mac_address broadcast() { return {{255, 255, 255, 255, 255, 255}}; }
  constexpr bool operator==(const mac_address&) const = default;
};

struct ethernet_fields {
  mac_address destination, source;
  std::uint16_t type = 0;
};

/// Nothing when the frame is too short for its header.
std::optional<ethernet_fields> parse_ethernet(std::span<const std::byte> frame);
/// Writes 14 bytes.
void emit_ethernet(std::byte* into, const ethernet_fields& fields);

/// A packet to a group or to everybody goes to this card address (RFC 1112 6.4, RFC 2464 7).
mac_address group_mac(const ip_address& group);

struct arp_message {
  bool reply = false;
  mac_address sender_mac, target_mac;
  ip_address sender, target;
};

/// What follows the Ethernet header; padding behind the message is left alone. Nothing when it is
/// not ARP of IPv4 over Ethernet, asks or tells nothing, or names a group as its sender.
std::optional<arp_message> parse_arp(std::span<const std::byte> bytes);
/// Writes 28 bytes.
void emit_arp(std::byte* into, const arp_message& message);

/// The card address at the place; the caller has checked the bounds.
mac_address read_mac(const std::byte* at);
void write_mac(std::byte* at, const mac_address& mac);

}  // namespace weir::stack::wire
