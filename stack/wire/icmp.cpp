// ICMP parse and emit: see icmp.hpp.
#include "stack/wire/icmp.hpp"

#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack::wire {

parse_status parse_icmp(std::span<const std::byte> bytes, const ip_address& source,
                        const ip_address& destination, icmp_message& out) {
  if (bytes.size() < icmp_header) return parse_status::malformed;
  internet_sum sum;
  if (source.is_v6())
    sum.add_pseudo(source, destination, icmp_v6, static_cast<std::uint32_t>(bytes.size()));
  sum.add(bytes);
  if (sum.checksum() != 0) return parse_status::bad_checksum;
  out.type = get8(bytes.data());
  out.code = get8(bytes.data() + 1);
  out.rest = get32(bytes.data() + 4);
  out.body = bytes.subspan(icmp_header);
  return parse_status::ok;
}

void emit_icmp(std::byte* into, const icmp_message& message, const ip_address& source,
               const ip_address& destination) {
  put8(into, message.type);
  put8(into + 1, message.code);
  put16(into + 2, 0);
  put32(into + 4, message.rest);
  internet_sum sum;
  if (source.is_v6())
    sum.add_pseudo(source, destination, icmp_v6,
                   static_cast<std::uint32_t>(icmp_header + message.body.size()));
  sum.add({into, icmp_header});
  sum.add(message.body);
  put16(into + 2, sum.checksum());
}

}  // namespace weir::stack::wire
