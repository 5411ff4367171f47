// Frames in and out, next hops and time. Protocols of the link are in arp.cpp, discovery.cpp,
// dhcp.cpp and dhcpv6.cpp.
#include "stack/link/ethernet_link.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "stack/wire/bytes.hpp"

namespace weir::stack {
namespace {

// Where the fields lie that a frame is told apart by.
constexpr std::size_t v4_protocol_at = 9, v4_destination_at = 16;
constexpr std::size_t v6_next_header_at = 6, v6_destination_at = 24;

bool is_discovery(std::uint8_t type) {
  return type >= wire::discovery::router_solicitation && type <= 137;  // redirect is 137
}

}  // namespace

wire::mac_address mac_for(const ip_address& address) {
  const auto b = address.bytes();
  const auto n = b.size();
  return {{0x02, 0x77, b[n - 4], b[n - 3], b[n - 2], b[n - 1]}};
}

ethernet_link::ethernet_link(link_options options, frame_sink& sink)
    : options_(std::move(options)),
      sink_(sink),
      neighbours_(options_.limits, *this, counters_),
      link_local_(wire::link_local(options_.mac)) {
  if (options_.dhcp) dhcp_.emplace(*options_.dhcp, counters_);
  if (options_.dhcpv6) dhcpv6_.emplace(*options_.dhcpv6, options_.mac, counters_);
  if (options_.advertised) options_.advertised->managed = options_.dhcpv6.has_value();
  for (const auto& each : options_.addresses) has_v6_ |= each.address.is_v6();
  has_v6_ |= options_.advertised.has_value() || options_.dhcpv6.has_value();
}

ethernet_link::packet_bytes ethernet_link::drop(link_counter why) {
  counters_.add(why);
  return {};
}

bool ethernet_link::is_own(const ip_address& address) const {
  if (has_v6_ && address == link_local_) return true;
  return std::any_of(options_.addresses.begin(), options_.addresses.end(),
                     [&](const ip_prefix& each) { return each.address == address; });
}

bool ethernet_link::is_on_link(const ip_address& address) const {
  if (address.is_v6() && address.is_link_local()) return true;
  return std::any_of(options_.addresses.begin(), options_.addresses.end(),
                     [&](const ip_prefix& each) {
                       return each.address.family() == address.family() && each.contains(address);
                     });
}

ip_address ethernet_link::own_towards(const ip_address& target) const {
  if (target.is_v6() && target.is_link_local()) return link_local_;
  for (const auto& each : options_.addresses)
    if (each.address.family() == target.family() && each.contains(target)) return each.address;
  for (const auto& each : options_.addresses)
    if (each.address.family() == target.family()) return each.address;
  return target.is_v6() ? link_local_ : ip_address();
}

// --- In.

ethernet_link::packet_bytes ethernet_link::input(instant now, packet_bytes frame,
                                                 const receive_meta& meta) {
  counters_.add(link_counter::frames_received);
  const auto fields = wire::parse_ethernet(frame);
  if (!fields) return drop(link_counter::drop_short_frame);
  if (fields->source.is_group() || fields->source.is_zero() || fields->source == options_.mac)
    return drop(link_counter::drop_bad_source);
  if (fields->destination != options_.mac && !fields->destination.is_group())
    return drop(link_counter::drop_not_ours);
  const auto packet = frame.subspan(wire::ethernet_header);
  switch (fields->type) {
    case wire::ethertype::ipv4: return input_v4(now, *fields, packet, meta);
    case wire::ethertype::ipv6: return input_v6(now, *fields, packet, meta);
    case wire::ethertype::arp: on_arp(now, *fields, packet); return {};
    default: return drop(link_counter::drop_unknown_type);
  }
}

// What is too short to be told apart is the host's to judge, and to count.
ethernet_link::packet_bytes ethernet_link::input_v4(instant now, const wire::ethernet_fields& frame,
                                                    packet_bytes packet, const receive_meta& meta) {
  if (packet.size() < wire::min_ipv4_header) return packet;
  if (dhcp_ && wire::get8(packet.data() + v4_protocol_at) == wire::udp_protocol) {
    const auto ip = wire::parse_ipv4(packet);
    const bool to_server = ip.status == wire::ip_status::ok && !ip.is_fragment &&
                           ip.payload.size() >= 4 &&
                           wire::get16(ip.payload.data() + 2) == wire::dhcp_server_port &&
                           (ip.destination.is_limited_broadcast() || is_own(ip.destination) ||
                            ip.destination == options_.dhcp->server.broadcast());
    if (to_server) {
      on_dhcp(now, frame, ip, meta);
      return {};
    }
  }
  // RFC 1122 3.3.6: what went to everybody's card is for a group.
  const auto to = wire::read_v4(packet.data() + v4_destination_at);
  if (frame.destination.is_group() && !to.is_multicast() && !to.is_limited_broadcast() &&
      std::none_of(options_.addresses.begin(), options_.addresses.end(),
                   [&](const ip_prefix& each) { return each.broadcast() == to; }))
    return drop(link_counter::drop_group_frame);
  return packet;
}

ethernet_link::packet_bytes ethernet_link::input_v6(instant now, const wire::ethernet_fields& frame,
                                                    packet_bytes packet, const receive_meta& meta) {
  if (packet.size() < wire::ipv6_header) return packet;
  if (wire::get8(packet.data() + v6_next_header_at) == wire::icmp_v6 &&
      packet.size() > wire::ipv6_header &&
      is_discovery(wire::get8(packet.data() + wire::ipv6_header))) {
    on_discovery(now, frame, packet);
    return {};
  }
  if (dhcpv6_ && wire::get8(packet.data() + v6_next_header_at) == wire::udp_protocol) {
    const auto ip = wire::parse_ipv6(packet);
    if (is_for_dhcpv6(ip)) {
      on_dhcpv6(now, frame, ip, meta);
      return {};
    }
  }
  if (frame.destination.is_group() && wire::get8(packet.data() + v6_destination_at) != 0xff)
    return drop(link_counter::drop_group_frame);
  return packet;
}

// --- Out.

bool ethernet_link::output(instant now, std::span<const packet_bytes> packet,
                           const transmit_meta& meta) {
  const auto head = packet.empty() ? packet_bytes() : packet.front();
  const bool v6 = !head.empty() && wire::get8(head.data()) >> 4 == 6;
  if (head.size() < (v6 ? wire::ipv6_header : wire::min_ipv4_header)) {
    counters_.add(link_counter::drop_no_route);
    return false;
  }
  const auto to = v6 ? wire::read_v6(head.data() + v6_destination_at)
                     : wire::read_v4(head.data() + v4_destination_at);
  const auto type = v6 ? wire::ethertype::ipv6 : wire::ethertype::ipv4;
  // Asked first: what is found there is on the link, or was asked for as a router.
  if (const auto* mac = neighbours_.find(now, to)) return send(*mac, type, packet, meta);
  if (to.is_multicast() || to.is_limited_broadcast())
    return send(wire::group_mac(to), type, packet, meta);
  auto next_hop = to;
  if (!is_on_link(to)) {
    const auto& router = v6 ? options_.router_v6 : options_.router_v4;
    if (!router) {
      counters_.add(link_counter::drop_no_route);
      return false;
    }
    next_hop = *router;
    if (const auto* mac = neighbours_.find(now, next_hop)) return send(*mac, type, packet, meta);
  }
  return neighbours_.keep_waiting(now, next_hop, packet, meta);
}

bool ethernet_link::send(const wire::mac_address& to, std::uint16_t type,
                         std::span<const packet_bytes> packet, transmit_meta meta) {
  std::array<std::byte, wire::ethernet_header> header;
  wire::emit_ethernet(header.data(), {to, options_.mac, type});
  constexpr auto shift = static_cast<std::uint16_t>(wire::ethernet_header);
  if (meta.needs_checksum)
    meta.checksum_start = static_cast<std::uint16_t>(meta.checksum_start + shift);
  if (meta.header_length != 0)
    meta.header_length = static_cast<std::uint16_t>(meta.header_length + shift);
  const bool sent = sink_.send_frame(header, packet, meta);
  counters_.add(sent ? link_counter::frames_sent : link_counter::frames_refused);
  return sent;
}

bool ethernet_link::send_whole(const wire::mac_address& to, std::uint16_t type,
                               packet_bytes packet) {
  return send(to, type, std::span(&packet, 1), {});
}

void ethernet_link::send_waiting(const wire::mac_address& to, packet_bytes packet,
                                 const transmit_meta& meta) {
  const bool v6 = wire::get8(packet.data()) >> 4 == 6;
  send(to, v6 ? wire::ethertype::ipv6 : wire::ethertype::ipv4, std::span(&packet, 1), meta);
}

// --- Time.

void ethernet_link::announce(instant now) {
  for (const auto& each : options_.addresses)
    if (each.address.is_v4())
      send_arp({false, options_.mac, {}, each.address, each.address},
               wire::mac_address::broadcast());
  if (options_.advertised) next_advertisement_ = now;
  advance(now);
}

void ethernet_link::advance(instant now) {
  neighbours_.advance(now);
  if (now < next_advertisement_) return;
  next_advertisement_ = now + between_advertisements;
  advertise(wire::all_nodes(), wire::group_mac(wire::all_nodes()));
}

instant ethernet_link::next_deadline() const {
  return std::min(neighbours_.next_deadline(), next_advertisement_);
}

void ethernet_link::ask(const ip_address& target, const wire::mac_address* known) {
  const auto from = own_towards(target);
  if (target.is_v4()) {
    counters_.add(link_counter::arp_asked);
    return send_arp({false, options_.mac, {}, from, target},
                    known != nullptr ? *known : wire::mac_address::broadcast());
  }
  counters_.add(link_counter::discovery_asked);
  const auto to = known != nullptr ? target : wire::solicited_node(target);
  std::array<std::byte, wire::max_discovery_packet> packet;
  const auto size = wire::emit_solicitation(packet.data(), from, to, target, options_.mac);
  send_whole(known != nullptr ? *known : wire::group_mac(to), wire::ethertype::ipv6,
             std::span(packet).first(size));
}

}  // namespace weir::stack
