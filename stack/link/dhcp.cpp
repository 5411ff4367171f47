// DHCP of an Ethernet link: queries out of their packets, answers into theirs (RFC 2131 4.1).
#include "stack/link/ethernet_link.hpp"
#include "stack/wire/udp.hpp"

namespace weir::stack {

void ethernet_link::on_dhcp(instant now, const wire::ethernet_fields& frame,
                            const wire::ip_header& ip, const receive_meta& meta) {
  wire::udp_datagram datagram;
  datagram.source = ip.source;
  datagram.destination = ip.destination;
  const auto status = wire::parse_udp(ip.payload, !meta.checksum_good, datagram);
  if (status == wire::parse_status::bad_checksum)
    return counters_.add(link_counter::drop_dhcp_checksum);
  const auto query =
      status == wire::parse_status::ok ? wire::parse_dhcp(datagram.payload) : std::nullopt;
  if (!query) return counters_.add(link_counter::drop_dhcp_malformed);
  if (!query->relayed.is_unspecified()) return counters_.add(link_counter::drop_dhcp_relayed);
  if (query->mac != frame.source) return counters_.add(link_counter::drop_dhcp_forged);
  if (const auto answer = dhcp_->answer(now, *query)) send_dhcp(*answer);
}

void ethernet_link::send_dhcp(const wire::dhcp_answer& answer) {
  constexpr auto headers = wire::min_ipv4_header + wire::udp_header;
  std::array<std::byte, headers + wire::max_dhcp_answer> packet;
  auto* const udp = packet.data() + wire::min_ipv4_header;
  const auto length = static_cast<std::uint16_t>(wire::udp_header +
                                                 wire::emit_dhcp(udp + wire::udp_header, answer));
  // A refusal goes to all (4.3.2): the client's address may be nobody's. Else the client's card is
  // known, though no question about its address would be answered yet.
  const bool to_all = answer.type == wire::dhcp_type::nak ||
                      (answer.wants_broadcast && answer.own.is_unspecified());
  wire::ipv4_fields ip;
  ip.source = answer.server;
  ip.destination = to_all                        ? ip_address::v4(0xffffffffu)
                   : answer.own.is_unspecified() ? answer.yours
                                                 : answer.own;
  ip.protocol = wire::udp_protocol;
  ip.total_length = static_cast<std::uint16_t>(wire::min_ipv4_header + length);
  wire::emit_ipv4(packet.data(), ip);
  wire::udp_datagram datagram;
  datagram.source = ip.source;
  datagram.destination = ip.destination;
  datagram.source_port = wire::dhcp_server_port;
  datagram.destination_port = wire::dhcp_client_port;
  wire::emit_udp(udp, datagram, length);
  send_whole(to_all ? wire::mac_address::broadcast() : answer.mac, wire::ethertype::ipv4,
             std::span(packet).first(ip.total_length));
}

}  // namespace weir::stack
