// DHCPv6 of an Ethernet link: queries out of their packets, answers into theirs (RFC 8415 7).
#include "stack/link/ethernet_link.hpp"
#include "stack/wire/bytes.hpp"
#include "stack/wire/udp.hpp"

namespace weir::stack {
namespace {

// ff02::1:2, where servers and relays of the link listen.
constexpr ip_address all_servers =
    ip_address::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2});

}  // namespace

bool ethernet_link::is_for_dhcpv6(const wire::ip_header& ip) const {
  return ip.status == wire::ip_status::ok && !ip.is_fragment && ip.protocol == wire::udp_protocol &&
         ip.payload.size() >= 4 && wire::get16(ip.payload.data() + 2) == wire::dhcpv6_server_port &&
         (ip.destination == all_servers || is_own(ip.destination));
}

void ethernet_link::on_dhcpv6(instant now, const wire::ethernet_fields& frame,
                              const wire::ip_header& ip, const receive_meta& meta) {
  wire::udp_datagram datagram;
  datagram.source = ip.source;
  datagram.destination = ip.destination;
  const auto status = wire::parse_udp(ip.payload, !meta.checksum_good, datagram);
  if (status == wire::parse_status::bad_checksum)
    return counters_.add(link_counter::drop_dhcp_checksum);
  if (status == wire::parse_status::ok && wire::is_relayed_dhcpv6(datagram.payload))
    return counters_.add(link_counter::drop_dhcp_relayed);
  const auto query =
      status == wire::parse_status::ok ? wire::parse_dhcpv6(datagram.payload) : std::nullopt;
  if (!query) return counters_.add(link_counter::drop_dhcp_malformed);
  const bool to_group = ip.destination == all_servers;
  // RFC 8415 17: a client speaks from its link-local address until it is told that it need not.
  if (is_own(ip.source) || (to_group ? !ip.source.is_link_local() : !is_on_link(ip.source)))
    return counters_.add(link_counter::drop_dhcp_forged);
  if (const auto answer = dhcpv6_->answer(now, *query, to_group))
    send_dhcpv6(*answer, ip.source, frame.source);
}

void ethernet_link::send_dhcpv6(const wire::dhcpv6_answer& answer, const ip_address& to,
                                const wire::mac_address& mac) {
  std::array<std::byte, wire::ipv6_header + wire::udp_header + wire::max_dhcpv6_answer> packet;
  auto* const udp = packet.data() + wire::ipv6_header;
  const auto length = static_cast<std::uint16_t>(wire::udp_header +
                                                 wire::emit_dhcpv6(udp + wire::udp_header, answer));
  wire::ipv6_fields ip;
  ip.source = link_local_;
  ip.destination = to;
  ip.next_header = wire::udp_protocol;
  ip.payload_length = length;
  wire::emit_ipv6(packet.data(), ip);
  wire::udp_datagram datagram;
  datagram.source = ip.source;
  datagram.destination = ip.destination;
  datagram.source_port = wire::dhcpv6_server_port;
  datagram.destination_port = wire::dhcpv6_client_port;
  wire::emit_udp(udp, datagram, length);
  send_whole(mac, wire::ethertype::ipv6, std::span(packet).first(wire::ipv6_header + length));
}

}  // namespace weir::stack
