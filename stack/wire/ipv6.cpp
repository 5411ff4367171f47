// IPv6 headers and the walk over extension headers with RFC 8200's verdicts (4, 4.1-4.6). See
// ip.hpp.
#include "stack/wire/bytes.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack::wire {
namespace {

enum problem : std::uint8_t {  // RFC 4443 3.4, RFC 7112 4
  erroneous_field = 0,
  unrecognized_next_header = 1,
  unrecognized_option = 2,
  incomplete_first_fragment = 3
};

constexpr std::uint8_t option_pad1 = 0;
constexpr std::uint8_t option_pad_n = 1;
constexpr std::size_t largest_payload = 65535;

bool fail(ip_header& out, std::uint8_t code, std::size_t pointer, bool even_if_multicast = false) {
  out.status = ip_status::parameter_problem;
  out.problem_code = code;
  out.problem_pointer = static_cast<std::uint32_t>(pointer);
  out.problem_even_if_multicast = even_if_multicast;
  return false;
}

bool fail(ip_header& out, ip_status status) {
  out.status = status;
  return false;
}

// RFC 8200 4.2: what to do with an option nobody knows stands in its two highest bits. No option
// but padding is known here, and those that may be skipped are.
bool unknown_option(ip_header& out, std::uint8_t type, std::size_t at) {
  switch (type >> 6) {
    case 0: return true;
    case 1: return fail(out, ip_status::discard);
    case 2: return fail(out, unrecognized_option, at, true);
    default: return fail(out, unrecognized_option, at);
  }
}

// The options of a hop-by-hop or destination options header that spans [begin, end) of the packet.
bool walk_options(std::span<const std::byte> packet, std::size_t begin, std::size_t end,
                  ip_header& out) {
  auto at = begin + 2;
  while (at < end) {
    auto type = get8(packet.data() + at);
    if (type == option_pad1) {
      ++at;
      continue;
    }
    if (end - at < 2) return fail(out, ip_status::malformed);
    std::size_t length = std::size_t{get8(packet.data() + at + 1)} + 2;
    if (length > end - at) return fail(out, ip_status::malformed);
    if (type != option_pad_n && !unknown_option(out, type, at)) return false;
    at += length;
  }
  return true;
}

// RFC 8200 4.4: no routing type is known, RH0 least of all (RFC 5095): skipped when it has done its
// work.
bool check_routing(std::span<const std::byte> packet, std::size_t begin, ip_header& out) {
  auto segments_left = get8(packet.data() + begin + 3);
  return segments_left == 0 || fail(out, erroneous_field, begin + 2);
}

// Whether a first fragment holds every header up to the transport's (RFC 8200 4.5, RFC 7112).
bool chain_is_complete(std::span<const std::byte> packet, std::size_t at, std::uint8_t kind) {
  for (;;) {
    auto room = packet.size() - at;
    switch (kind) {
      case hop_by_hop:
      case routing_header:
      case destination_options: {
        if (room < 8) return false;
        auto length = (std::size_t{get8(packet.data() + at + 1)} + 1) * 8;
        if (length > room) return false;
        kind = get8(packet.data() + at);
        at += length;
        break;
      }
      case fragment_header: return room >= fragment_header_size;
      case tcp_protocol: return room >= 20;
      case udp_protocol: return room >= 8;
      case icmp_v6: return room >= 8;
      default: return true;
    }
  }
}

struct walk {
  std::span<const std::byte> packet;  // cut to the header's length
  std::size_t at = ipv6_header;
  std::uint8_t kind = 0;
  std::size_t kind_at = 6;  // the field that named `kind`
};

// The fragment header at walk.at. False: done, `out` is complete. True: an atomic fragment (RFC
// 6946), which is processed by itself: the walk goes on behind it.
bool read_fragment(walk& w, ip_header& out) {
  if (w.packet.size() - w.at < fragment_header_size) return fail(out, ip_status::malformed);
  const auto* header = w.packet.data() + w.at;
  auto field = get16(header + 2);
  out.fragment_offset = field & 0xfff8u;
  out.more_fragments = (field & 1) != 0;
  out.identification = get32(header + 4);
  if (out.fragment_offset == 0 && !out.more_fragments) return true;
  out.is_fragment = true;
  out.unfragmentable_length = w.at;
  out.next_header_at = w.kind_at;
  out.protocol = get8(header);
  out.header_length = w.at + fragment_header_size;
  out.payload = w.packet.subspan(out.header_length);
  out.status = ip_status::ok;
  if (out.more_fragments && out.payload.size() % 8 != 0)
    return fail(out, erroneous_field, 4);  // the payload length field
  auto whole = w.at - ipv6_header + out.fragment_offset + out.payload.size();
  if (whole > largest_payload) return fail(out, erroneous_field, w.at + 2);
  if (out.fragment_offset == 0 && !chain_is_complete(w.packet, out.header_length, out.protocol))
    return fail(out, incomplete_first_fragment, 0);
  return false;
}

// One header that is a list of options or a route; false when the packet's fate is decided.
bool read_extension(walk& w, ip_header& out) {
  auto room = w.packet.size() - w.at;
  if (room < 8) return fail(out, ip_status::malformed);
  auto length = (std::size_t{get8(w.packet.data() + w.at + 1)} + 1) * 8;
  if (length > room) return fail(out, ip_status::malformed);
  bool fine = w.kind == routing_header ? check_routing(w.packet, w.at, out)
                                       : walk_options(w.packet, w.at, w.at + length, out);
  if (!fine) return false;
  w.kind_at = w.at;
  w.kind = get8(w.packet.data() + w.at);
  w.at += length;
  return true;
}

void walk_headers(walk w, ip_header& out) {
  for (;;) {
    switch (w.kind) {
      case hop_by_hop:
        if (w.at != ipv6_header) {  // RFC 8200 4.1: only directly behind the IPv6 header
          fail(out, unrecognized_next_header, w.kind_at);
          return;
        }
        [[fallthrough]];
      case routing_header:
      case destination_options:
        if (!read_extension(w, out)) return;
        break;
      case fragment_header:
        if (!read_fragment(w, out)) return;
        w.kind_at = w.at;
        w.kind = get8(w.packet.data() + w.at);
        w.at += fragment_header_size;
        break;
      default:
        out.protocol = w.kind;
        out.next_header_at = w.kind_at;
        out.header_length = w.at;
        out.payload = w.packet.subspan(w.at);
        out.status = ip_status::ok;
        return;
    }
  }
}

}  // namespace

ip_header parse_ipv6(std::span<const std::byte> packet) {
  ip_header out;
  if (packet.size() < ipv6_header) return out;
  const auto* at = packet.data();
  auto first = get32(at);
  out.total_length = std::size_t{get16(at + 4)} + ipv6_header;
  if (out.total_length > packet.size()) return out;
  out.traffic_class = static_cast<std::uint8_t>(first >> 20);
  out.ttl = get8(at + 7);
  out.source = read_v6(at + 8);
  out.destination = read_v6(at + 24);
  out.dont_fragment = true;
  walk_headers({packet.first(out.total_length), ipv6_header, get8(at + 6), 6}, out);
  return out;
}

void emit_ipv6(std::byte* into, const ipv6_fields& fields) {
  put32(into,
        0x60000000u | std::uint32_t{fields.traffic_class} << 20 | (fields.flow_label & 0xfffffu));
  put16(into + 4, fields.payload_length);
  put8(into + 6, fields.next_header);
  put8(into + 7, fields.hop_limit);
  std::memcpy(into + 8, fields.source.bytes().data(), 16);
  std::memcpy(into + 24, fields.destination.bytes().data(), 16);
}

void emit_ipv6_fragment(std::byte* into, std::uint8_t next_header, std::uint16_t offset, bool more,
                        std::uint32_t identification) {
  put8(into, next_header);
  put8(into + 1, 0);
  put16(into + 2, static_cast<std::uint16_t>((offset & 0xfff8u) | (more ? 1u : 0u)));
  put32(into + 4, identification);
}

}  // namespace weir::stack::wire
