// The way in, and the joints between addresses, reassembly, ICMP, path MTUs and output: see
// ip_layer.hpp.
#include "stack/ip/ip_layer.hpp"

#include <algorithm>
#include <array>

#include "stack/ip/addresses.hpp"
#include "stack/ip/icmp.hpp"
#include "stack/ip/output.hpp"
#include "stack/ip/path_mtu.hpp"
#include "stack/ip/reassembly.hpp"
#include "stack/wire/bytes.hpp"
#include "stack/wire/icmp.hpp"
#include "stack/wire/ip.hpp"
#include "stack/wire/plain.hpp"

namespace weir::stack {
namespace {

// RFC 792, RFC 1122 3.2.2.1, RFC 4443 3.
constexpr icmp_error v4_protocol_unreachable{wire::icmp4::unreachable, 2, 0, false};
constexpr icmp_error v4_port_unreachable{wire::icmp4::unreachable, 3, 0, false};
constexpr icmp_error v6_port_unreachable{wire::icmp6::unreachable, 4, 0, false};
constexpr icmp_error v4_reassembly_timeout{wire::icmp4::time_exceeded, 1, 0, false};
constexpr icmp_error v6_reassembly_timeout{wire::icmp6::time_exceeded, 1, 0, false};

// RFC 792, RFC 1812 5.2.7.1; RFC 4443 3.1.
icmp_error unreachable(bool v6, refusal why) {
  const auto code = [&]() -> std::uint8_t {
    switch (why) {
      case refusal::network_unreachable: return 0;
      case refusal::host_unreachable: return v6 ? 3 : 1;
      case refusal::prohibited: return v6 ? 1 : 13;
      default: return v6 ? 4 : 3;
    }
  }();
  return {v6 ? wire::icmp6::unreachable : wire::icmp4::unreachable, code, 0, false};
}

// RFC 1191 4; RFC 4443 3.2.
icmp_error too_long(bool v6, std::uint16_t mtu) {
  if (v6) return {wire::icmp6::packet_too_big, 0, mtu, false};
  constexpr std::uint8_t fragmentation_needed = 4;
  return {wire::icmp4::unreachable, fragmentation_needed, mtu, false};
}

icmp_error parameter_problem(const wire::ip_header& header) {
  if (header.source.is_v4())
    return {wire::icmp4::parameter_problem, 0, header.problem_pointer << 24, false};
  return {wire::icmp6::parameter_problem, header.problem_code, header.problem_pointer,
          header.problem_even_if_multicast};
}

}  // namespace

class ip_layer::impl {
 public:
  impl(const host_options& options, packet_sink& sink, host_counters& counters)
      : counters_(counters),
        addresses_(options.addresses),
        path_mtu_(options.mtu),
        output_(options, addresses_, sink, counters),
        icmp_(options, addresses_, path_mtu_, output_, counters),
        reassembler_(options.limits.reassembly_bytes, counters) {}

  delivery input(instant now, std::span<const std::byte> packet, const receive_meta& meta,
                 bool looped);
  bool input_plain(std::span<const std::byte> packet, const receive_meta& meta,
                   wire::tcp_segment& out);
  delivery input_looped(instant now);
  void advance(instant now);
  instant next_deadline() const;

  host_counters& counters_;
  address_set addresses_;
  path_mtu_cache path_mtu_;
  ip_output output_;
  icmp_handler icmp_;
  reassembler reassembler_;
  loop_queue::looped_packet
      looped_;  // the one that input_looped() took last: deliveries point into it
  std::span<const std::byte> delivered_;

 private:
  /// Source and destination of the last plain segment: accept() had no objection. Zero: none yet.
  std::uint64_t last_pair_ = 0;

  bool accept(const wire::ip_header& header, bool looped);
  bool check_status(instant now, std::span<const std::byte> packet, const wire::ip_header& header,
                    bool looped);
  delivery deliver(instant now, std::span<const std::byte> packet, const wire::ip_header& header,
                   const receive_meta& meta);
  delivery deliver_tcp(const wire::ip_header& header, const receive_meta& meta);
  delivery deliver_udp(std::span<const std::byte> packet, const wire::ip_header& header,
                       const receive_meta& meta);
};

// RFC 1122 3.2.1.3: whose word is taken, and what is for us. Looped packets may carry our own
// addresses only.
bool ip_layer::impl::accept(const wire::ip_header& header, bool looped) {
  if (!looped && !addresses_.is_valid_wire_source(header.source)) {
    counters_.add(counter::drop_ip_bad_source);
    return false;
  }
  bool loopback_from_wire = !looped && header.destination.is_loopback();
  bool ours = addresses_.is_ours(header.destination) && !loopback_from_wire;
  if (!ours && !addresses_.is_joined_group(header.destination)) {
    counters_.add(counter::drop_ip_not_ours);
    return false;
  }
  return true;
}

// Whether the header may be believed and the packet is for us; answers what asks for a Parameter
// Problem.
bool ip_layer::impl::check_status(instant now, std::span<const std::byte> packet,
                                  const wire::ip_header& header, bool looped) {
  switch (header.status) {
    case wire::ip_status::ok:
      if (!accept(header, looped)) return false;
      if (!header.route_unfinished) return true;
      counters_.add(counter::drop_ip_options);  // a host does not forward (RFC 1122 3.2.1.8 c)
      return false;
    case wire::ip_status::bad_version: counters_.add(counter::drop_ip_version); return false;
    case wire::ip_status::bad_checksum: counters_.add(counter::drop_ip_checksum); return false;
    case wire::ip_status::malformed: counters_.add(counter::drop_ip_malformed); return false;
    case wire::ip_status::discard: counters_.add(counter::drop_ip_options); return false;
    case wire::ip_status::parameter_problem: break;
  }
  if (accept(header, looped)) {
    counters_.add(counter::drop_ip_options);
    icmp_.send_error(now, packet, parameter_problem(header));
  }
  return false;
}

delivery ip_layer::impl::input(instant now, std::span<const std::byte> packet,
                               const receive_meta& meta, bool looped) {
  counters_.add(counter::packets_received);
  counters_.add(counter::bytes_received, packet.size());
  auto header = wire::parse_ip(packet);
  if (!check_status(now, packet, header, looped)) return {};
  if (!header.is_fragment) return deliver(now, packet, header, meta);
  auto datagram = reassembler_.add(now, packet, header);
  if (datagram.empty()) return {};
  header = wire::parse_ip(datagram, false);
  if (!check_status(now, datagram, header, looped)) return {};
  if (header.is_fragment) {  // a fragment header within fragments
    counters_.add(counter::drop_fragment_malformed);
    return {};
  }
  // What a device says about one fragment is not true of the whole.
  return deliver(now, datagram, header, {});
}

bool ip_layer::impl::input_plain(std::span<const std::byte> packet, const receive_meta& meta,
                                 wire::tcp_segment& out) {
  if (!wire::parse_plain(packet, !meta.checksum_good, out)) return false;
  // What accept() asks of an IPv4 packet from the wire.
  const auto from = out.source.to_v4_number(), to = out.destination.to_v4_number();
  if (const auto pair = std::uint64_t{from} << 32 | to; pair != last_pair_ || pair == 0) {
    if (!addresses_.is_ours_v4(to) || to >> 24 == 127 || !addresses_.is_valid_wire_source_v4(from))
      return false;
    last_pair_ = pair;
  }
  counters_.add(counter::packets_received);
  counters_.add(counter::bytes_received, packet.size());
  out.gso_size = meta.gso_size;
  return true;
}

delivery ip_layer::impl::deliver(instant now, std::span<const std::byte> packet,
                                 const wire::ip_header& header, const receive_meta& meta) {
  bool v6 = header.source.is_v6();
  delivered_ = packet.first(header.total_length);
  if (header.protocol == (v6 ? wire::icmp_v6 : wire::icmp_v4)) return icmp_.input(now, header);
  if (header.destination.is_multicast()) {  // MUST-57; all nodes' groups carry ICMPv6 only
    counters_.add(counter::drop_ip_not_ours);
    return {};
  }
  if (header.protocol == wire::tcp_protocol) return deliver_tcp(header, meta);
  if (header.protocol == wire::udp_protocol) return deliver_udp(packet, header, meta);
  counters_.add(counter::drop_ip_protocol);
  if (!v6) {
    icmp_.send_error(now, packet, v4_protocol_unreachable);
  } else if (header.protocol != wire::no_next_header) {
    icmp_error error{wire::icmp6::parameter_problem, 1,
                     static_cast<std::uint32_t>(header.next_header_at), false};
    icmp_.send_error(now, packet, error);
  }
  return {};
}

delivery ip_layer::impl::deliver_tcp(const wire::ip_header& header, const receive_meta& meta) {
  delivery out(std::in_place_type<wire::tcp_segment>);
  auto& segment = *std::get_if<wire::tcp_segment>(&out);
  segment.source = header.source;
  segment.destination = header.destination;
  auto status = wire::parse_tcp(header.payload, !meta.checksum_good, segment);
  if (status != wire::parse_status::ok) {
    counters_.add(status == wire::parse_status::malformed ? counter::drop_tcp_malformed
                                                          : counter::drop_tcp_checksum);
    return {};
  }
  segment.ecn = header.traffic_class & 3;
  segment.traffic_class = header.traffic_class & 0xfc;
  segment.gso_size = meta.gso_size;
  return out;
}

delivery ip_layer::impl::deliver_udp(std::span<const std::byte> packet,
                                     const wire::ip_header& header, const receive_meta& meta) {
  delivery out(std::in_place_type<wire::udp_datagram>);
  auto& datagram = *std::get_if<wire::udp_datagram>(&out);
  datagram.source = header.source;
  datagram.destination = header.destination;
  auto status = wire::parse_udp(header.payload, !meta.checksum_good, datagram);
  if (status != wire::parse_status::ok) {
    counters_.add(status == wire::parse_status::malformed ? counter::drop_udp_malformed
                                                          : counter::drop_udp_checksum);
    return {};
  }
  datagram.ecn = header.traffic_class & 3;
  datagram.traffic_class = header.traffic_class & 0xfc;
  datagram.gso_size = meta.gso_size;
  datagram.packet = packet.first(header.total_length);
  return out;
}

delivery ip_layer::impl::input_looped(instant now) {
  if (output_.looped().empty()) return {};
  looped_ = output_.looped().pop();
  return input(now, looped_.bytes, looped_.meta, true);
}

void ip_layer::impl::advance(instant now) {
  reassembler_.advance(now, [&](std::span<const std::byte> first) {
    bool v6 = wire::get8(first.data()) >> 4 == 6;
    icmp_.send_error(now, first, v6 ? v6_reassembly_timeout : v4_reassembly_timeout);
  });
  path_mtu_.advance(now);
}

instant ip_layer::impl::next_deadline() const {
  return std::min(reassembler_.next_deadline(), path_mtu_.next_deadline());
}

ip_layer::ip_layer(const host_options& options, packet_sink& sink, host_counters& counters)
    : impl_(std::make_unique<impl>(options, sink, counters)) {}
ip_layer::~ip_layer() = default;

delivery ip_layer::input(instant now, std::span<const std::byte> packet, const receive_meta& meta) {
  return impl_->input(now, packet, meta, false);
}
bool ip_layer::input_plain(std::span<const std::byte> packet, const receive_meta& meta,
                           wire::tcp_segment& out) {
  return impl_->input_plain(packet, meta, out);
}
std::span<const std::byte> ip_layer::delivered() const { return impl_->delivered_; }
bool ip_layer::has_looped() const { return !impl_->output_.looped().empty(); }
delivery ip_layer::input_looped(instant now) { return impl_->input_looped(now); }
void ip_layer::advance(instant now) { impl_->advance(now); }
instant ip_layer::next_deadline() const {
  return has_looped() ? instant{} : impl_->next_deadline();
}

bool ip_layer::send_tcp(instant, const wire::tcp_segment& segment,
                        std::span<const std::span<const std::byte>> payload, std::uint8_t ttl) {
  return impl_->output_.send_tcp(segment, payload, ttl);
}

bool ip_layer::send_udp(instant now, const wire::udp_datagram& datagram,
                        std::span<const std::span<const std::byte>> payload, std::uint8_t ttl) {
  auto length = wire::udp_header + total_size(payload);
  if (length > 65535) return false;
  std::array<std::byte, wire::udp_header> header;
  wire::emit_udp_header(header.data(), datagram.source_port, datagram.destination_port,
                        static_cast<std::uint16_t>(length));
  ip_route route;
  route.source = datagram.source;
  route.destination = datagram.destination;
  route.protocol = wire::udp_protocol;
  route.ttl = ttl;
  route.traffic_class =
      static_cast<std::uint8_t>((datagram.traffic_class & 0xfcu) | (datagram.ecn & 3u));
  constexpr std::uint16_t checksum_at = 6;
  return impl_->output_.send_datagram(route, header, payload,
                                      impl_->path_mtu_.get(now, datagram.destination), checksum_at);
}

bool ip_layer::send_echo_reply(instant now, const echo_request& reply) {
  return impl_->icmp_.send_echo_reply(now, reply);
}

void ip_layer::send_unreachable(instant now, const refused_packet& what) {
  const auto& destination = what.to.address;
  const bool v6 = destination.is_v6();
  std::array<std::byte, wire::ipv6_header + wire::min_tcp_header> packet{};
  ip_route route;
  route.source = what.from.address;
  route.destination = destination;
  route.protocol = what.protocol;
  const bool tcp = what.protocol == wire::tcp_protocol;
  const auto length = tcp ? wire::min_tcp_header : wire::udp_header;
  const auto at = emit_ip_header(packet.data(), route, length);
  wire::put16(packet.data() + at, what.from.port);
  wire::put16(packet.data() + at + 2, what.to.port);
  if (tcp) {
    wire::put32(packet.data() + at + 4, what.sequence);
    wire::put8(packet.data() + at + 12, wire::min_tcp_header / 4 << 4);
    wire::put8(packet.data() + at + 13, wire::syn);
  } else {
    wire::put16(packet.data() + at + 4, wire::udp_header);
  }
  const auto error =
      what.too_long_for != 0 ? too_long(v6, what.too_long_for) : unreachable(v6, what.why);
  impl_->icmp_.send_error(now, std::span(packet).first(at + length), error);
}
void ip_layer::send_port_unreachable(instant now, const wire::udp_datagram& datagram) {
  impl_->icmp_.send_error(now, datagram.packet,
                          datagram.source.is_v6() ? v6_port_unreachable : v4_port_unreachable);
}

bool ip_layer::take_also(const ip_prefix& network) { return impl_->addresses_.take_also(network); }
bool ip_layer::is_local(const ip_address& address) const {
  return impl_->addresses_.is_local(address);
}
bool ip_layer::is_unicast(const ip_address& address) const {
  return impl_->addresses_.is_unicast(address);
}
std::optional<ip_address> ip_layer::source_for(const ip_address& destination) const {
  return impl_->addresses_.source_for(destination);
}
std::uint16_t ip_layer::path_mtu(instant now, const ip_address& destination) const {
  return impl_->path_mtu_.get(now, destination);
}
std::uint16_t ip_layer::path_limit(instant now, const ip_address& destination) const {
  return impl_->path_mtu_.limit(now, destination);
}
std::optional<std::uint16_t> ip_layer::lower_path_mtu(instant now, const icmp_report& report) {
  if (report.kind != icmp_kind::packet_too_big) return std::nullopt;
  return impl_->path_mtu_.lower(now, report.remote.address, report.mtu, report.quoted_length);
}
void ip_layer::set_path_mtu(instant now, const ip_address& destination, std::uint16_t mtu) {
  impl_->path_mtu_.set(now, destination, mtu);
}

}  // namespace weir::stack
