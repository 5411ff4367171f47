// ICMP in and out: see icmp.hpp.
#include "stack/ip/icmp.hpp"

#include <algorithm>
#include <array>

#include "stack/wire/bytes.hpp"

namespace weir::stack {
namespace {

using wire::icmp_message;
namespace icmp4 = wire::icmp4;
namespace icmp6 = wire::icmp6;

// RFC 1122 3.2.2.1 and RFC 1812 4.3.2.3: header and at least 8 bytes, at most 576 in all. RFC
// 4443 2.4 c: as much as fits into the least MTU.
constexpr std::size_t largest_error_v4 = 576;
constexpr std::size_t largest_error_v6 = 1280;
// Ports and sequence number: what every transport puts into its first eight bytes (RFC 792).
constexpr std::size_t least_quoted = 8;

std::optional<icmp_kind> kind_v4(std::uint8_t type, std::uint8_t code) {
  if (type == icmp4::time_exceeded) return icmp_kind::time_exceeded;
  if (type == icmp4::parameter_problem) return icmp_kind::parameter_problem;
  if (type != icmp4::unreachable) return std::nullopt;
  switch (code) {
    case 0:
    case 6:
    case 11: return icmp_kind::network_unreachable;
    case 1:
    case 7:
    case 8:
    case 12: return icmp_kind::host_unreachable;
    case 2: return icmp_kind::protocol_unreachable;
    case 3: return icmp_kind::port_unreachable;
    case 4: return icmp_kind::packet_too_big;
    case 5: return icmp_kind::source_route_failed;
    case 9:
    case 10:
    case 13:
    case 14:
    case 15: return icmp_kind::prohibited;
    default: return std::nullopt;
  }
}

// RFC 4443 2.4 a: an error of unknown type is still the transport's business.
icmp_kind kind_v6(std::uint8_t type, std::uint8_t code) {
  switch (type) {
    case icmp6::unreachable:
      if (code == 0) return icmp_kind::network_unreachable;
      if (code == 3) return icmp_kind::host_unreachable;
      if (code == 4) return icmp_kind::port_unreachable;
      return icmp_kind::prohibited;
    case icmp6::packet_too_big: return icmp_kind::packet_too_big;
    case icmp6::time_exceeded: return icmp_kind::time_exceeded;
    case icmp6::parameter_problem:
      return code == 1 ? icmp_kind::protocol_unreachable : icmp_kind::parameter_problem;
    default: return icmp_kind::unknown_error;
  }
}

}  // namespace

icmp_handler::icmp_handler(const host_options& options, const address_set& addresses,
                           const path_mtu_cache& path_mtu, ip_output& output,
                           host_counters& counters)
    : addresses_(addresses),
      path_mtu_(path_mtu),
      output_(output),
      counters_(counters),
      bucket_(options.limits.icmp_errors_per_second) {}

delivery icmp_handler::input(instant now, const wire::ip_header& header) {
  bool v6 = header.source.is_v6();
  icmp_message message;
  if (wire::parse_icmp(header.payload, header.source, header.destination, message) !=
      wire::parse_status::ok) {
    counters_.add(counter::drop_icmp_malformed);
    return {};
  }
  if (message.type == (v6 ? icmp6::echo_request : icmp4::echo_request) && message.code == 0) {
    if (!addresses_.is_local(header.destination) && !header.destination.is_multicast())
      return echo_request{header.source, header.destination,
                          static_cast<std::uint16_t>(message.rest >> 16),
                          header.payload.subspan(6)};
    answer_echo(now, header, message);
    return {};
  }
  bool error = v6 ? message.type < icmp6::first_informational
                  : kind_v4(message.type, message.code).has_value();
  if (error && !header.destination.is_multicast()) return report(header, message);
  // RFC 1122 3.2.2 and RFC 4443 2.4 b: unknown types, silently. Source Quench (RFC 6633 3) and
  // redirects, which a host with a single link has no use for, end here too.
  counters_.add(counter::drop_icmp_unknown);
  return {};
}

// RFC 1122 3.2.2.6, RFC 4443 4.2: the same data, from the address that was asked.
void icmp_handler::answer_echo(instant now, const wire::ip_header& header,
                               const icmp_message& message) {
  bool v6 = header.source.is_v6();
  ip_route route;
  route.source = header.destination;
  if (!addresses_.is_local(route.source)) {
    auto own = addresses_.source_for(header.source);
    if (!own) return;
    route.source = *own;
  }
  route.destination = header.source;
  route.protocol = v6 ? wire::icmp_v6 : wire::icmp_v4;
  route.traffic_class = header.traffic_class & 0xfc;  // RFC 1122 3.2.2.6: the request's TOS
  auto reply = message;
  reply.type = v6 ? icmp6::echo_reply : icmp4::echo_reply;
  std::array<std::byte, wire::icmp_header> bytes;
  wire::emit_icmp(bytes.data(), reply, route.source, route.destination);
  byte_span body[] = {message.body};
  if (output_.send_datagram(route, bytes, body, path_mtu_.get(now, route.destination)))
    counters_.add(counter::icmp_echo_answered);
}

bool icmp_handler::send_echo_reply(instant now, const echo_request& reply) {
  constexpr std::size_t sequence = 2;
  const bool v6 = reply.source.is_v6();
  if (reply.data.size() < sequence) return false;
  ip_route route;
  route.source = reply.source;
  route.destination = reply.destination;
  route.protocol = v6 ? wire::icmp_v6 : wire::icmp_v4;
  icmp_message message;
  message.type = v6 ? icmp6::echo_reply : icmp4::echo_reply;
  message.rest = std::uint32_t{reply.identifier} << 16 | wire::get16(reply.data.data());
  message.body = reply.data.subspan(sequence);
  std::array<std::byte, wire::icmp_header> bytes;
  wire::emit_icmp(bytes.data(), message, route.source, route.destination);
  byte_span body[] = {message.body};
  return output_.send_datagram(route, bytes, body, path_mtu_.get(now, route.destination));
}

delivery icmp_handler::report(const wire::ip_header& header, const icmp_message& message) {
  counters_.add(counter::icmp_errors_received);
  bool v6 = header.source.is_v6();
  auto quoted = wire::parse_quoted(message.body);
  bool transport = quoted.protocol == wire::tcp_protocol || quoted.protocol == wire::udp_protocol;
  bool usable = quoted.understood && transport && !quoted.later_fragment &&
                quoted.transport.size() >= least_quoted && quoted.source.is_v6() == v6 &&
                addresses_.is_ours(quoted.source) && addresses_.is_unicast(quoted.destination);
  if (!usable) {
    counters_.add(counter::drop_icmp_malformed);
    return {};
  }
  icmp_report out;
  out.kind = v6 ? kind_v6(message.type, message.code) : *kind_v4(message.type, message.code);
  out.type = message.type;
  out.code = message.code;
  out.protocol = quoted.protocol;
  out.reporter = header.source;
  out.local = {quoted.source, wire::get16(quoted.transport.data())};
  out.remote = {quoted.destination, wire::get16(quoted.transport.data() + 2)};
  if (quoted.protocol == wire::tcp_protocol)
    out.sequence = wire::get32(quoted.transport.data() + 4);
  if (out.kind == icmp_kind::packet_too_big) {
    out.mtu = v6 ? message.rest : message.rest & 0xffff;  // RFC 1191 4: the lower half
    out.quoted_length = quoted.total_length;
    if (v6 && out.mtu < path_mtu_cache::minimum_v6) {  // RFC 8201 4
      counters_.add(counter::drop_icmp_malformed);
      return {};
    }
  }
  return out;
}

// RFC 1122 3.2.2, RFC 4443 2.4 e.
bool icmp_handler::may_answer(const wire::quoted_packet& about, const icmp_error& error) const {
  bool v6 = about.source.is_v6();
  bool v4_later = !v6 && about.later_fragment;
  bool is_icmp = about.protocol == (v6 ? wire::icmp_v6 : wire::icmp_v4);
  if (about.understood && is_icmp && !about.later_fragment &&
      (about.transport.empty() || wire::is_icmp_error(v6, wire::get8(about.transport.data()))))
    return false;
  if (v4_later || !addresses_.is_unicast(about.source)) return false;
  return addresses_.is_unicast(about.destination) ||
         (error.even_if_multicast && about.destination.is_multicast());
}

void icmp_handler::send_error(instant now, std::span<const std::byte> packet,
                              const icmp_error& error) {
  auto about = wire::parse_quoted(packet);
  if (!may_answer(about, error)) return;
  bool v6 = about.source.is_v6();
  ip_route route;
  route.source = about.destination;
  if (!addresses_.is_ours(route.source)) {
    auto own = addresses_.source_for(about.source);
    if (!own) return;
    route.source = *own;
  }
  if (!bucket_.take(now)) {
    counters_.add(counter::icmp_errors_limited);
    return;
  }
  route.destination = about.source;
  route.protocol = v6 ? wire::icmp_v6 : wire::icmp_v4;
  auto headers = wire::icmp_header + (v6 ? wire::ipv6_header : wire::min_ipv4_header);
  auto room = (v6 ? largest_error_v6 : largest_error_v4) - headers;
  auto quote = packet.first(std::min({packet.size(), room, std::size_t{about.total_length}}));
  std::array<std::byte, wire::icmp_header> bytes;
  wire::emit_icmp(bytes.data(), {error.type, error.code, error.rest, quote}, route.source,
                  route.destination);
  byte_span body[] = {quote};
  if (output_.send_datagram(route, bytes, body, path_mtu_.get(now, route.destination)))
    counters_.add(counter::icmp_errors_sent);
}

}  // namespace weir::stack
