// See icmp_too_big.hpp. The reporter's address is the packet's destination: a link has none of its
// own.
#include "stack/sim/icmp_too_big.hpp"

#include <algorithm>

#include "stack/wire/icmp.hpp"
#include "stack/wire/ip.hpp"

namespace weir::sim {

namespace wire = stack::wire;

bool make_too_big(std::span<const std::byte> packet, std::uint16_t mtu,
                  std::vector<std::byte>& out) {
  auto header = wire::parse_ip(packet);
  if (header.status != wire::ip_status::ok) return false;
  auto v6 = header.source.is_v6();
  auto ip_size = v6 ? wire::ipv6_header : wire::min_ipv4_header;
  // RFC 1812 4.3.2.3: not over 576 bytes; RFC 4443 2.4 (c): not over 1280.
  auto quoted =
      packet.first(std::min(packet.size(), (v6 ? 1280u : 576u) - ip_size - wire::icmp_header));
  out.resize(ip_size + wire::icmp_header + quoted.size());
  auto length = static_cast<std::uint16_t>(wire::icmp_header + quoted.size());
  if (v6) {
    wire::ipv6_fields ip;
    ip.source = header.destination, ip.destination = header.source;
    ip.next_header = wire::icmp_v6;
    ip.payload_length = length;
    wire::emit_ipv6(out.data(), ip);
  } else {
    wire::ipv4_fields ip;
    ip.source = header.destination, ip.destination = header.source;
    ip.protocol = wire::icmp_v4;
    ip.total_length = static_cast<std::uint16_t>(ip_size + length);
    wire::emit_ipv4(out.data(), ip);
  }
  wire::icmp_message message;
  message.type = v6 ? static_cast<std::uint8_t>(wire::icmp6::packet_too_big)
                    : static_cast<std::uint8_t>(wire::icmp4::unreachable);
  message.code = v6 ? 0 : 4;
  message.rest = mtu;
  message.body = quoted;
  std::copy(quoted.begin(), quoted.end(),
            out.begin() + static_cast<std::ptrdiff_t>(ip_size + wire::icmp_header));
  wire::emit_icmp(out.data() + ip_size, message, header.destination, header.source);
  return true;
}

}  // namespace weir::sim
