// Neighbour discovery of an Ethernet link: RFC 4861 7 as a host, 6.2 as a router.
#include "stack/link/ethernet_link.hpp"

namespace weir::stack {

void ethernet_link::on_discovery(instant now, const wire::ethernet_fields& frame,
                                 packet_bytes packet) {
  const auto ip = wire::parse_ipv6(packet);
  if (ip.status != wire::ip_status::ok || ip.protocol != wire::icmp_v6 || ip.source.is_multicast())
    return counters_.add(link_counter::drop_discovery_malformed);
  wire::discovery_message message;
  switch (wire::parse_discovery(ip, message)) {
    case wire::discovery_status::hop_limit:
      return counters_.add(link_counter::drop_discovery_hop_limit);
    case wire::discovery_status::checksum:
      return counters_.add(link_counter::drop_discovery_checksum);
    case wire::discovery_status::malformed:
      return counters_.add(link_counter::drop_discovery_malformed);
    case wire::discovery_status::ok: break;
  }
  switch (message.type) {
    case wire::discovery::solicitation: return on_solicitation(now, frame, ip.source, message);
    case wire::discovery::advertisement: return on_advertisement(now, message);
    case wire::discovery::router_solicitation:
      return on_router_solicitation(now, frame, ip.source, message);
    default: return counters_.add(link_counter::drop_router_message);  // we are told, not led
  }
}

// RFC 4861 7.2.3, 7.2.4.
void ethernet_link::on_solicitation(instant now, const wire::ethernet_fields& frame,
                                    const ip_address& source,
                                    const wire::discovery_message& message) {
  if (!is_own(message.target)) return;  // another's group has the same last bits
  const bool probes = source.is_unspecified();
  if (!probes && is_own(source)) return counters_.add(link_counter::address_conflicts);
  if (!probes && !is_on_link(source)) return counters_.add(link_counter::drop_discovery_off_link);
  if (!probes && message.source_link) neighbours_.heard(now, source, *message.source_link);
  counters_.add(link_counter::discovery_answered);
  wire::advertisement_fields answer;
  answer.from = message.target;
  answer.to = probes ? wire::all_nodes() : source;
  answer.target = message.target;
  answer.own = options_.mac;
  answer.router = options_.advertised.has_value();
  answer.solicited = !probes;
  std::array<std::byte, wire::max_discovery_packet> packet;
  const auto size = wire::emit_advertisement(packet.data(), answer);
  send_whole(probes ? wire::group_mac(answer.to) : message.source_link.value_or(frame.source),
             wire::ethertype::ipv6, std::span(packet).first(size));
}

// RFC 4861 7.2.5.
void ethernet_link::on_advertisement(instant now, const wire::discovery_message& message) {
  if (is_own(message.target)) return counters_.add(link_counter::address_conflicts);
  if (!is_on_link(message.target)) return counters_.add(link_counter::drop_discovery_off_link);
  // Without the option it says that the neighbour is there, which only who knows its card can use.
  const auto* known = neighbours_.card_of(message.target);
  if (!message.target_link && known == nullptr)
    return counters_.add(link_counter::drop_discovery_unasked);
  const auto mac = message.target_link ? *message.target_link : *known;
  if (!neighbours_.answered(now, message.target, {mac, message.solicited, message.override_known}))
    counters_.add(link_counter::drop_discovery_unasked);
}

// RFC 4861 6.2.6. Who has no address yet is answered as a group, at its own card (RFC 6085).
void ethernet_link::on_router_solicitation(instant now, const wire::ethernet_fields& frame,
                                           const ip_address& source,
                                           const wire::discovery_message& message) {
  if (!options_.advertised) return counters_.add(link_counter::drop_router_message);
  if (source.is_unspecified()) return advertise(wire::all_nodes(), frame.source);
  if (!is_on_link(source) || is_own(source))
    return counters_.add(link_counter::drop_discovery_off_link);
  if (message.source_link) neighbours_.heard(now, source, *message.source_link);
  advertise(source, message.source_link.value_or(frame.source));
}

void ethernet_link::advertise(const ip_address& to, const wire::mac_address& mac) {
  counters_.add(link_counter::routers_advertised);
  std::array<std::byte, wire::max_discovery_packet> packet;
  const auto size = wire::emit_router_advertisement(packet.data(), link_local_, to, options_.mac,
                                                    *options_.advertised);
  send_whole(mac, wire::ethertype::ipv6, std::span(packet).first(size));
}

}  // namespace weir::stack
