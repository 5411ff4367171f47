// The UDP header (RFC 768, RFC 1122 4.1, RFC 8200 8.1). Total on hostile bytes; knows no sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/wire/tcp.hpp"
#include "weir/stack/address.hpp"

namespace weir::stack::wire {

inline constexpr std::size_t udp_header = 8;

struct udp_datagram {
  ip_address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint8_t ecn = 0;
  std::uint8_t traffic_class = 0;
  std::uint16_t gso_size = 0;  ///< receive_meta's: a batch of datagrams of this size; 0 if single
  std::span<const std::byte> payload;
  std::span<const std::byte>
      packet;  ///< the whole IP packet, for ip_layer::send_port_unreachable()
};

/// `out.source` and `out.destination` are set already. Bytes after the UDP length are cut off; a
/// length beyond the packet or under 8 is malformed; a zero checksum is none in IPv4 and a bad one
/// in IPv6.
parse_status parse_udp(std::span<const std::byte> bytes, bool verify, udp_datagram& out);

/// Writes 8 bytes with a checksum of zero.
void emit_udp_header(std::byte* into, std::uint16_t source_port, std::uint16_t destination_port,
                     std::uint16_t length);
/// The same with its checksum, of a payload that lies behind it already; `length` counts both.
void emit_udp(std::byte* into, const udp_datagram& of, std::uint16_t length);

}  // namespace weir::stack::wire
