// Neighbour discovery, parse and emit.
#include "stack/wire/discovery.hpp"

#include <algorithm>
#include <cstring>

#include "stack/wire/bytes.hpp"
#include "stack/wire/icmp.hpp"

namespace weir::stack::wire {
namespace {

namespace option {
constexpr std::uint8_t source_link = 1, target_link = 2, prefix = 3, mtu = 5, name_servers = 25;
}
constexpr std::size_t option_unit = 8;
constexpr std::size_t neighbour_body = 16;  // the target, after the eight bytes

bool is_solicited_node(const ip_address& address) {
  constexpr std::uint8_t prefix[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  return address.is_v6() && std::memcmp(address.bytes().data(), prefix, sizeof prefix) == 0;
}

// RFC 4861 4.6: an option of no length makes the whole message invalid, unknown ones are skipped.
bool read_options(std::span<const std::byte> bytes, discovery_message& out) {
  while (!bytes.empty()) {
    if (bytes.size() < option_unit) return false;
    const std::size_t length = get8(bytes.data() + 1) * option_unit;
    if (length == 0 || length > bytes.size()) return false;
    const auto kind = get8(bytes.data());
    if (kind == option::source_link || kind == option::target_link) {
      const auto mac = read_mac(bytes.data() + 2);
      if (length != option_unit || mac.is_group() || mac.is_zero()) return false;
      (kind == option::source_link ? out.source_link : out.target_link) = mac;
    }
    bytes = bytes.subspan(length);
  }
  return true;
}

bool fits(const ip_header& ip, const discovery_message& m) {
  switch (m.type) {
    case discovery::solicitation:
      if (m.target.is_multicast()) return false;
      if (!ip.source.is_unspecified()) return true;
      return is_solicited_node(ip.destination) && !m.source_link;
    case discovery::advertisement:
      return !m.target.is_multicast() && !(ip.destination.is_multicast() && m.solicited);
    default: return !(ip.source.is_unspecified() && m.source_link);
  }
}

// Writes the IPv6 header and the checksum of an ICMPv6 message of `length` bytes that stands behind
// its place already. Gives the packet's length.
std::size_t finish(std::byte* into, const ip_address& from, const ip_address& to,
                   icmp_message message, std::size_t length) {
  ipv6_fields fields;
  fields.source = from;
  fields.destination = to;
  fields.next_header = icmp_v6;
  fields.hop_limit = discovery_hop_limit;
  fields.payload_length = static_cast<std::uint16_t>(length);
  emit_ipv6(into, fields);
  message.body = {into + ipv6_header + icmp_header, length - icmp_header};
  emit_icmp(into + ipv6_header, message, from, to);
  return ipv6_header + length;
}

std::byte* put_link(std::byte* at, std::uint8_t kind, const mac_address& mac) {
  put8(at, kind);
  put8(at + 1, 1);
  write_mac(at + 2, mac);
  return at + option_unit;
}

std::byte* put_address(std::byte* at, const ip_address& address) {
  std::memcpy(at, address.bytes().data(), 16);
  return at + 16;
}

std::byte* put_prefix(std::byte* at, const router_facts& facts) {
  constexpr std::uint8_t on_link_and_autonomous = 0xc0;
  put8(at, option::prefix);
  put8(at + 1, 4);
  put8(at + 2, facts.prefix.length);
  put8(at + 3, on_link_and_autonomous);
  put32(at + 4, facts.valid_s);
  put32(at + 8, facts.preferred_s);
  put32(at + 12, 0);
  put_address(at + 16, facts.prefix.address);
  // Bits behind the prefix are zero (4.6.2).
  for (std::size_t bit = facts.prefix.length; bit < 128; ++bit)
    at[16 + bit / 8] &= ~(std::byte{0x80} >> (bit % 8));
  return at + 32;
}

std::byte* put_name_servers(std::byte* at, const router_facts& facts) {
  const auto count = std::min(facts.name_servers.size(), most_name_servers);
  if (count == 0) return at;
  put8(at, option::name_servers);
  put8(at + 1, static_cast<std::uint8_t>(1 + 2 * count));
  put16(at + 2, 0);
  put32(at + 4, facts.router_lifetime_s);
  at += option_unit;
  for (std::size_t i = 0; i < count; ++i) at = put_address(at, facts.name_servers[i]);
  return at;
}

}  // namespace

discovery_status parse_discovery(const ip_header& ip, discovery_message& out) {
  if (ip.ttl != discovery_hop_limit) return discovery_status::hop_limit;
  icmp_message icmp;
  const auto status = parse_icmp(ip.payload, ip.source, ip.destination, icmp);
  if (status == parse_status::bad_checksum) return discovery_status::checksum;
  if (status != parse_status::ok || icmp.code != 0 || ip.is_fragment)
    return discovery_status::malformed;
  out = {};
  out.type = icmp.type;
  if (out.type == discovery::router_advertisement || out.type == icmp6::redirect)
    return ip.source.is_link_local() ? discovery_status::ok : discovery_status::malformed;
  auto options = icmp.body;
  if (out.type != discovery::router_solicitation) {
    if (options.size() < neighbour_body) return discovery_status::malformed;
    out.target = read_v6(options.data());
    options = options.subspan(neighbour_body);
    out.router = (icmp.rest & 0x80000000u) != 0;
    out.solicited = (icmp.rest & 0x40000000u) != 0;
    out.override_known = (icmp.rest & 0x20000000u) != 0;
  }
  const bool right = read_options(options, out) && fits(ip, out);
  return right ? discovery_status::ok : discovery_status::malformed;
}

ip_address solicited_node(const ip_address& target) {
  const auto b = target.bytes();
  return ip_address::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, b[13], b[14], b[15]});
}

ip_address all_nodes() {
  return ip_address::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

ip_address link_local(const mac_address& mac) {
  const auto& b = mac.bytes;
  return ip_address::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(b[0] ^ 2), b[1],
                         b[2], 0xff, 0xfe, b[3], b[4], b[5]});
}

std::size_t emit_solicitation(std::byte* into, const ip_address& from, const ip_address& to,
                              const ip_address& target, const mac_address& own) {
  auto* at = put_address(into + ipv6_header + icmp_header, target);
  at = put_link(at, option::source_link, own);
  return finish(into, from, to, {discovery::solicitation, 0, 0, {}},
                static_cast<std::size_t>(at - into) - ipv6_header);
}

std::size_t emit_advertisement(std::byte* into, const advertisement_fields& fields) {
  auto* at = put_address(into + ipv6_header + icmp_header, fields.target);
  at = put_link(at, option::target_link, fields.own);
  const std::uint32_t flags =
      (fields.router ? 0x80000000u : 0) | (fields.solicited ? 0x40000000u : 0) | 0x20000000u;
  return finish(into, fields.from, fields.to, {discovery::advertisement, 0, flags, {}},
                static_cast<std::size_t>(at - into) - ipv6_header);
}

std::size_t emit_router_advertisement(std::byte* into, const ip_address& from, const ip_address& to,
                                      const mac_address& own, const router_facts& facts) {
  auto* at = into + ipv6_header + icmp_header;
  put32(at, 0);      // how long a neighbour counts as reachable: the guest's own choice
  put32(at + 4, 0);  // and how often it asks again
  at = put_link(at + 8, option::source_link, own);
  put8(at, option::mtu);
  put8(at + 1, 1);
  put16(at + 2, 0);
  put32(at + 4, facts.mtu);
  at = put_prefix(at + option_unit, facts);
  at = put_name_servers(at, facts);
  constexpr std::uint32_t hop_limit = 64, managed_and_other = 0xc0;
  const auto rest = hop_limit << 24 | (facts.managed ? managed_and_other << 16 : 0) |
                    std::min(facts.router_lifetime_s, 9000u);
  return finish(into, from, to, {discovery::router_advertisement, 0, rest, {}},
                static_cast<std::size_t>(at - into) - ipv6_header);
}

}  // namespace weir::stack::wire
