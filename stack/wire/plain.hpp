// The packet that nearly every packet is: IPv4 without options or fragments, TCP with no options or
// with timestamps alone. One look tells it apart, and it is read and written without the general
// parser's steps. What is not plain, or not right, is not judged here: the general path does, so
// that nothing is counted or answered in two places. RFC 791 3.1, RFC 9293 3.1, RFC 7323 A.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/wire/tcp.hpp"
#include "weir/stack/address.hpp"

namespace weir::stack::wire {

inline constexpr std::size_t max_plain_headers = 52;

/// True: `packet` is plain and right, and `out`, fresh before, says what parse_ip() and parse_tcp()
/// would make of it. False: ask them; `out` is of no use. `verify` false: the device vouches for
/// the TCP checksum.
bool parse_plain(std::span<const std::byte> packet, bool verify, tcp_segment& out);

/// The variable fields of an IPv4 header as all of ours are: no options, atomic (DF set,
/// identification zero, RFC 6864 4.1). Addresses are numbers in host order.
struct plain_ipv4 {
  std::uint32_t source = 0, destination = 0;
  std::uint16_t total_length = 0;
  std::uint8_t protocol = 0, ttl = 0, traffic_class = 0;
};
/// Writes 20 bytes, checksum included, as emit_ipv4() would.
void emit_plain_ipv4(std::byte* into, const plain_ipv4& fields);

/// Whether emit_plain() can write the segment's headers.
inline bool is_plain(const tcp_segment& segment) {
  const auto& o = segment.options;
  return segment.source.is_v4() && segment.destination.is_v4() && o.sack_count == 0 && !o.mss &&
         !o.window_scale && !o.sack_permitted && !o.user_timeout;
}
/// The length of a plain segment's headers.
inline std::size_t plain_headers(const tcp_segment& segment) {
  return segment.options.timestamps ? max_plain_headers : max_plain_headers - 12;
}
/// Writes both headers of a plain segment before `payload` bytes, as emit_ipv4() and
/// emit_tcp_header() would, but with the pseudo header's sum in the TCP checksum field: what a
/// device completes.
void emit_plain(std::byte* into, const tcp_segment& segment, std::size_t payload, std::uint8_t ttl);

}  // namespace weir::stack::wire
