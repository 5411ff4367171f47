// The ten bytes before each packet of a TUN device with IFF_VNET_HDR (virtio 1.2, 5.1.6; Linux
// tun), to and from what the stack knows of packets. In the machine's byte order, as TUN's default
// is. No system call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "weir/stack/packets.hpp"

namespace weir::stack {

inline constexpr std::size_t vnet_header_size = 10;

namespace vnet {

// Numbers of linux/virtio_net.h, whose C declarations need not be included for them.
inline constexpr std::uint8_t needs_checksum = 1;
inline constexpr std::uint8_t data_valid = 2;
inline constexpr std::uint8_t gso_none = 0;
inline constexpr std::uint8_t gso_tcp_v4 = 1;
inline constexpr std::uint8_t gso_tcp_v6 = 4;
inline constexpr std::uint8_t gso_udp_l4 = 5;
inline constexpr std::uint8_t gso_ecn = 0x80;

struct layout {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = gso_none;
  std::uint16_t header_length = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(layout) == vnet_header_size);

}  // namespace vnet

/// What the kernel says about the packet that follows; nothing when the frame is too short for it.
/// A checksum that is still to be completed comes from this machine's own kernel: the bytes never
/// crossed a wire, and count as verified.
inline std::optional<receive_meta> read_vnet_header(std::span<const std::byte> frame) {
  if (frame.size() < vnet_header_size) return std::nullopt;
  vnet::layout header;
  std::memcpy(&header, frame.data(), sizeof header);
  receive_meta meta;
  meta.checksum_good = (header.flags & (vnet::needs_checksum | vnet::data_valid)) != 0;
  auto type = header.gso_type & ~vnet::gso_ecn;
  if (type == vnet::gso_tcp_v4 || type == vnet::gso_tcp_v6 || type == vnet::gso_udp_l4)
    meta.gso_size = header.gso_size;
  return meta;
}

/// Writes what read_vnet_header() finds, of a packet that is handed on.
inline void write_vnet_header(std::byte* into, const receive_meta& meta) {
  vnet::layout header;
  if (meta.checksum_good) header.flags = vnet::data_valid;
  if (meta.gso_size != 0) {
    header.gso_type = vnet::gso_tcp_v4;  // whichever: the packet says what it is
    header.gso_size = meta.gso_size;
  }
  std::memcpy(into, &header, sizeof header);
}

/// Writes the ten bytes. The header length is always given: without it the kernel guesses, and
/// copies more.
inline void write_vnet_header(std::byte* into, const transmit_meta& meta) {
  vnet::layout header;
  header.header_length = meta.header_length;
  if (meta.needs_checksum) {
    header.flags = vnet::needs_checksum;
    header.checksum_start = meta.checksum_start;
    header.checksum_offset = meta.checksum_offset;
  }
  if (meta.gso_size != 0) {
    header.gso_type = meta.family == ip_family::v4 ? vnet::gso_tcp_v4 : vnet::gso_tcp_v6;
    header.gso_size = meta.gso_size;
  }
  std::memcpy(into, &header, sizeof header);
}

}  // namespace weir::stack
