// See plain.hpp.
#include "stack/wire/plain.hpp"

#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack::wire {
namespace {

constexpr std::uint16_t fragment_bits = 0x3fff;  // more fragments, and the offset
constexpr std::uint32_t nop_nop_timestamps = 0x0101080a;
constexpr std::size_t timestamps_length = 12;

}  // namespace

bool parse_plain(std::span<const std::byte> packet, bool verify, tcp_segment& out) {
  if (packet.size() < min_ipv4_header + min_tcp_header) return false;
  const auto* ip = packet.data();
  const std::size_t total = get16(ip + 2);
  if (get8(ip) != 0x45 || get8(ip + 9) != tcp_protocol || (get16(ip + 6) & fragment_bits) != 0 ||
      total > packet.size() || checksum_of_20(ip) != 0)
    return false;
  const auto* tcp = ip + min_ipv4_header;
  std::size_t header = std::size_t{get8(tcp + 12)} >> 4 << 2;
  if (total < min_ipv4_header + header) return false;
  if (header == min_tcp_header + timestamps_length) {
    if (get32(tcp + min_tcp_header) != nop_nop_timestamps) return false;
    out.options.timestamps = tcp_timestamps{get32(tcp + 24), get32(tcp + 28)};
  } else if (header != min_tcp_header) {
    return false;
  }
  out.source = read_v4(ip + 12);
  out.destination = read_v4(ip + 16);
  if (verify) {  // RFC 9293 MUST-3
    const auto length = total - min_ipv4_header;
    internet_sum sum;
    sum.add_pseudo(out.source, out.destination, tcp_protocol, static_cast<std::uint32_t>(length));
    sum.add({tcp, length});
    if (sum.checksum() != 0) return false;
  }
  out.source_port = get16(tcp);
  out.destination_port = get16(tcp + 2);
  out.sequence = get32(tcp + 4);
  out.acknowledgment = get32(tcp + 8);
  out.flags = get8(tcp + 13);
  out.window = get16(tcp + 14);
  out.urgent = get16(tcp + 18);
  out.ecn = get8(ip + 1) & 3;
  out.traffic_class = get8(ip + 1) & 0xfc;
  out.payload = {tcp + header, total - min_ipv4_header - header};
  return true;
}

void emit_plain_ipv4(std::byte* into, const plain_ipv4& f) {
  constexpr std::uint32_t version_and_length = 0x4500, dont_fragment = 0x4000;
  const std::uint32_t first = version_and_length | f.traffic_class;
  const std::uint32_t life = std::uint32_t{f.ttl} << 8 | f.protocol;
  // The checksum out of the fields: reading back what was just written would wait for the writes.
  std::uint32_t sum = first + f.total_length + dont_fragment + life + (f.source >> 16) +
                      (f.source & 0xffff) + (f.destination >> 16) + (f.destination & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  put32(into, first << 16 | f.total_length);
  put32(into + 4, dont_fragment);
  put32(into + 8, life << 16 | (~sum & 0xffff));
  put32(into + 12, f.source);
  put32(into + 16, f.destination);
}

void emit_plain(std::byte* into, const tcp_segment& s, std::size_t payload, std::uint8_t ttl) {
  const auto headers = plain_headers(s);
  plain_ipv4 ip;
  ip.source = s.source.to_v4_number();
  ip.destination = s.destination.to_v4_number();
  ip.total_length = static_cast<std::uint16_t>(headers + payload);
  ip.protocol = tcp_protocol;
  ip.ttl = ttl;
  ip.traffic_class = static_cast<std::uint8_t>((s.traffic_class & 0xfcu) | (s.ecn & 3u));
  emit_plain_ipv4(into, ip);
  // The pseudo header, RFC 9293 3.1.
  std::uint32_t sum = (ip.source >> 16) + (ip.source & 0xffff) + (ip.destination >> 16) +
                      (ip.destination & 0xffff) + tcp_protocol + ip.total_length -
                      static_cast<std::uint32_t>(min_ipv4_header);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  auto* tcp = into + min_ipv4_header;
  const auto words = static_cast<std::uint32_t>(headers - min_ipv4_header) / 4;
  put32(tcp, std::uint32_t{s.source_port} << 16 | s.destination_port);
  put32(tcp + 4, s.sequence);
  put32(tcp + 8, s.acknowledgment);
  put32(tcp + 12, words << 28 | std::uint32_t{s.flags} << 16 | s.window);
  put32(tcp + 16, sum << 16 | s.urgent);
  if (!s.options.timestamps) return;
  put32(tcp + 20, nop_nop_timestamps);
  put32(tcp + 24, s.options.timestamps->value);
  put32(tcp + 28, s.options.timestamps->echo);
}

}  // namespace weir::stack::wire
