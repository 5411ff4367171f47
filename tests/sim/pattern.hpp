// Bytes that say where they belong: byte `offset` of stream `stream`. A byte that is lost, doubled,
// moved or of another stream does not match.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sim_test {

inline std::byte pattern_byte(std::uint64_t stream, std::uint64_t offset) {
  auto z = (offset / 8 + 1) * 0x9e3779b97f4a7c15ull ^ stream * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 30) * 0x94d049bb133111ebull;
  return static_cast<std::byte>(z >> 8 * (offset % 8));
}

inline void fill_pattern(std::span<std::byte> into, std::uint64_t stream, std::uint64_t offset) {
  for (auto& byte : into) byte = pattern_byte(stream, offset++);
}

inline bool matches_pattern(std::span<const std::byte> bytes, std::uint64_t stream,
                            std::uint64_t offset) {
  for (auto byte : bytes)
    if (byte != pattern_byte(stream, offset++)) return false;
  return true;
}

}  // namespace sim_test
