// An ICMP error as a router or the peer would send it about a segment that a script's host sent:
// outer header, type, code, second word, and the quoted headers. Both families.
#pragma once

#include <vector>

#include "packet/script.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/icmp.hpp"

namespace weir::test {

/// About `segment`, as script::take() gave it; `length` is what the quoted packet says it had.
inline std::vector<std::byte> icmp_about(const script& t, const wire::tcp_segment& segment,
                                         std::uint8_t type, std::uint8_t code,
                                         std::uint32_t rest = 0, std::uint16_t length = 1500) {
  const bool v6 = t.us.is_v6();
  const std::size_t ip = v6 ? wire::ipv6_header : wire::min_ipv4_header;
  std::vector<std::byte> quoted(ip + 8);
  if (v6) {
    wire::ipv6_fields inner;
    inner.source = segment.source;
    inner.destination = segment.destination;
    inner.next_header = wire::tcp_protocol;
    inner.payload_length = static_cast<std::uint16_t>(length - ip);
    wire::emit_ipv6(quoted.data(), inner);
  } else {
    wire::ipv4_fields inner;
    inner.source = segment.source;
    inner.destination = segment.destination;
    inner.protocol = wire::tcp_protocol;
    inner.total_length = length;
    wire::emit_ipv4(quoted.data(), inner);
  }
  const auto put = [&](std::size_t at, std::uint32_t v, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i)
      quoted[ip + at + i] = static_cast<std::byte>(v >> (8 * (n - 1 - i)));
  };
  put(0, segment.source_port, 2);
  put(2, segment.destination_port, 2);
  put(4, segment.sequence, 4);
  std::vector<std::byte> out(ip + wire::icmp_header + quoted.size());
  if (v6) {
    wire::ipv6_fields outer;
    outer.source = t.them;
    outer.destination = t.us;
    outer.next_header = wire::icmp_v6;
    outer.payload_length = static_cast<std::uint16_t>(out.size() - ip);
    wire::emit_ipv6(out.data(), outer);
  } else {
    wire::ipv4_fields outer;
    outer.source = t.them;
    outer.destination = t.us;
    outer.protocol = wire::icmp_v4;
    outer.total_length = static_cast<std::uint16_t>(out.size());
    wire::emit_ipv4(out.data(), outer);
  }
  wire::emit_icmp(out.data() + ip, {type, code, rest, quoted}, t.them, t.us);
  std::copy(quoted.begin(), quoted.end(),
            out.begin() + static_cast<std::ptrdiff_t>(ip + wire::icmp_header));
  return out;
}

}  // namespace weir::test
