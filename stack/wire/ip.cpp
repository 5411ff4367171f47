// What both families share: see ip.hpp.
#include "stack/wire/ip.hpp"

#include "stack/wire/bytes.hpp"

namespace weir::stack::wire {

ip_address read_v6(const std::byte* at) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), at, bytes.size());
  return ip_address::v6(bytes);
}

ip_header parse_ip(std::span<const std::byte> packet, bool check) {
  auto version = packet.empty() ? 0 : get8(packet.data()) >> 4;
  if (version == 4) return parse_ipv4(packet, check);
  if (version == 6) return parse_ipv6(packet);
  ip_header out;
  out.status = ip_status::bad_version;
  return out;
}

namespace {

quoted_packet quoted_ipv4(std::span<const std::byte> bytes) {
  quoted_packet out;
  if (bytes.size() < min_ipv4_header) return out;
  const auto* at = bytes.data();
  auto header = (std::size_t{get8(at)} & 15) * 4;
  if (header < min_ipv4_header || header > bytes.size()) return out;
  out.source = read_v4(at + 12);
  out.destination = read_v4(at + 16);
  out.protocol = get8(at + 9);
  out.total_length = get16(at + 2);
  out.later_fragment = (get16(at + 6) & 0x1fff) != 0;
  out.transport = bytes.subspan(header);
  out.understood = true;
  return out;
}

// Steps over one extension header without looking into it; false when `kind` is none.
bool skip_extension(std::uint8_t kind, const std::byte* at, std::size_t& length) {
  switch (kind) {
    case hop_by_hop:
    case routing_header:
    case destination_options: length = (std::size_t{get8(at + 1)} + 1) * 8; return true;
    case fragment_header: length = fragment_header_size; return true;
    default: return false;
  }
}

quoted_packet quoted_ipv6(std::span<const std::byte> bytes) {
  quoted_packet out;
  if (bytes.size() < ipv6_header) return out;
  out.source = read_v6(bytes.data() + 8);
  out.destination = read_v6(bytes.data() + 24);
  out.total_length = std::uint32_t{get16(bytes.data() + 4)} + ipv6_header;
  auto kind = get8(bytes.data() + 6);
  std::size_t at = ipv6_header, length = 0;
  while (at + 8 <= bytes.size() && skip_extension(kind, bytes.data() + at, length)) {
    if (kind == fragment_header && (get16(bytes.data() + at + 2) & 0xfff8) != 0) {
      out.later_fragment = true;
      out.protocol = get8(bytes.data() + at);
      out.understood = true;
      return out;
    }
    kind = get8(bytes.data() + at);
    at += length;
    if (at > bytes.size()) return out;
  }
  // Ended inside an extension header: what follows it stays unknown.
  if (skip_extension(kind, bytes.data(), length)) return out;
  out.protocol = kind;
  out.transport = bytes.subspan(at);
  out.understood = true;
  return out;
}

}  // namespace

quoted_packet parse_quoted(std::span<const std::byte> bytes) {
  auto version = bytes.empty() ? 0 : get8(bytes.data()) >> 4;
  if (version == 4) return quoted_ipv4(bytes);
  if (version == 6) return quoted_ipv6(bytes);
  return {};
}

}  // namespace weir::stack::wire
