// UDP parse and emit: see udp.hpp.
#include "stack/wire/udp.hpp"

#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack::wire {

parse_status parse_udp(std::span<const std::byte> bytes, bool verify, udp_datagram& out) {
  if (bytes.size() < udp_header) return parse_status::malformed;
  const auto* at = bytes.data();
  std::size_t length = get16(at + 4);
  if (length < udp_header || length > bytes.size()) return parse_status::malformed;
  bytes = bytes.first(length);
  auto checksum = get16(at + 6);
  if (checksum == 0 && out.source.is_v6()) return parse_status::bad_checksum;  // RFC 8200 8.1
  if (checksum != 0 && verify) {
    internet_sum sum;
    sum.add_pseudo(out.source, out.destination, udp_protocol, static_cast<std::uint32_t>(length));
    sum.add(bytes);
    if (sum.checksum() != 0) return parse_status::bad_checksum;
  }
  out.source_port = get16(at);
  out.destination_port = get16(at + 2);
  out.payload = bytes.subspan(udp_header);
  return parse_status::ok;
}

void emit_udp_header(std::byte* into, std::uint16_t source_port, std::uint16_t destination_port,
                     std::uint16_t length) {
  put16(into, source_port);
  put16(into + 2, destination_port);
  put16(into + 4, length);
  put16(into + 6, 0);
}

void emit_udp(std::byte* into, const udp_datagram& of, std::uint16_t length) {
  emit_udp_header(into, of.source_port, of.destination_port, length);
  internet_sum sum;
  sum.add_pseudo(of.source, of.destination, udp_protocol, length);
  sum.add({into, length});
  const auto checksum = sum.checksum();
  put16(into + 6, checksum == 0 ? 0xffff : checksum);  // zero means none (RFC 768)
}

}  // namespace weir::stack::wire
