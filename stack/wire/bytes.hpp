// Reading and writing big-endian numbers at byte offsets, alignment-free (RFC 791 appendix B:
// network byte order). The caller has checked the bounds; nothing here knows a protocol.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace weir::stack::wire {

static_assert(std::endian::native == std::endian::little ||
              std::endian::native == std::endian::big);

constexpr std::uint16_t swap16(std::uint16_t v) {
  return static_cast<std::uint16_t>(v << 8 | v >> 8);
}
constexpr std::uint32_t swap32(std::uint32_t v) {
  return v << 24 | (v & 0xff00u) << 8 | (v >> 8 & 0xff00u) | v >> 24;
}

/// Host order to network order and back: the same operation.
constexpr std::uint16_t net16(std::uint16_t v) {
  return std::endian::native == std::endian::little ? swap16(v) : v;
}
constexpr std::uint32_t net32(std::uint32_t v) {
  return std::endian::native == std::endian::little ? swap32(v) : v;
}

inline std::uint8_t get8(const std::byte* at) { return std::to_integer<std::uint8_t>(*at); }
inline std::uint16_t get16(const std::byte* at) {
  std::uint16_t v;
  std::memcpy(&v, at, sizeof v);
  return net16(v);
}
inline std::uint32_t get32(const std::byte* at) {
  std::uint32_t v;
  std::memcpy(&v, at, sizeof v);
  return net32(v);
}
inline void put8(std::byte* at, std::uint8_t v) { *at = std::byte{v}; }
inline void put16(std::byte* at, std::uint16_t v) {
  v = net16(v);
  std::memcpy(at, &v, sizeof v);
}
inline void put32(std::byte* at, std::uint32_t v) {
  v = net32(v);
  std::memcpy(at, &v, sizeof v);
}

}  // namespace weir::stack::wire
