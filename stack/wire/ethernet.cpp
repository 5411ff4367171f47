// Ethernet and ARP, parse and emit.
#include "stack/wire/ethernet.hpp"

#include <cstring>

#include "stack/wire/bytes.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack::wire {
namespace {

constexpr std::uint16_t hardware_ethernet = 1;
constexpr std::uint16_t op_request = 1, op_reply = 2;

}  // namespace

mac_address read_mac(const std::byte* at) {
  mac_address out;
  std::memcpy(out.bytes.data(), at, out.bytes.size());
  return out;
}

void write_mac(std::byte* at, const mac_address& mac) {
  std::memcpy(at, mac.bytes.data(), mac.bytes.size());
}

std::optional<ethernet_fields> parse_ethernet(std::span<const std::byte> frame) {
  if (frame.size() < ethernet_header) return std::nullopt;
  return ethernet_fields{read_mac(frame.data()), read_mac(frame.data() + 6),
                         get16(frame.data() + 12)};
}

void emit_ethernet(std::byte* into, const ethernet_fields& fields) {
  write_mac(into, fields.destination);
  write_mac(into + 6, fields.source);
  put16(into + 12, fields.type);
}

mac_address group_mac(const ip_address& group) {
  const auto b = group.bytes();
  if (group.is_v6()) return {{0x33, 0x33, b[12], b[13], b[14], b[15]}};
  if (!group.is_multicast()) return mac_address::broadcast();
  return {{0x01, 0x00, 0x5e, static_cast<std::uint8_t>(b[1] & 0x7f), b[2], b[3]}};
}

std::optional<arp_message> parse_arp(std::span<const std::byte> bytes) {
  if (bytes.size() < arp_size) return std::nullopt;
  const auto* at = bytes.data();
  if (get16(at) != hardware_ethernet || get16(at + 2) != ethertype::ipv4 || get8(at + 4) != 6 ||
      get8(at + 5) != 4)
    return std::nullopt;
  const auto operation = get16(at + 6);
  if (operation != op_request && operation != op_reply) return std::nullopt;
  arp_message out{operation == op_reply, read_mac(at + 8), read_mac(at + 18), read_v4(at + 14),
                  read_v4(at + 24)};
  if (out.sender_mac.is_group() || out.sender_mac.is_zero()) return std::nullopt;
  if (out.sender.is_multicast() || out.sender.is_limited_broadcast() || out.sender.is_loopback())
    return std::nullopt;
  return out;
}

void emit_arp(std::byte* into, const arp_message& message) {
  put16(into, hardware_ethernet);
  put16(into + 2, ethertype::ipv4);
  put8(into + 4, 6);
  put8(into + 5, 4);
  put16(into + 6, message.reply ? op_reply : op_request);
  write_mac(into + 8, message.sender_mac);
  std::memcpy(into + 14, message.sender.bytes().data(), 4);
  write_mac(into + 18, message.target_mac);
  std::memcpy(into + 24, message.target.bytes().data(), 4);
}

}  // namespace weir::stack::wire
