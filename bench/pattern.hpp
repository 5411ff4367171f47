// The bytes that the load sends and expects back. Each connection sends an endless stream cut from
// one table at an offset of its own, so that a chunk of any length at any position is checked with
// one memcmp, and bytes that were lost, doubled, reordered or delivered to the wrong connection do
// not match.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace weir::bench {

class byte_pattern {
 public:
  static constexpr std::size_t period = 65521;  // a prime: no message size divides it
  static constexpr std::size_t max_chunk = 256 * 1024;

  byte_pattern() : bytes_(period + max_chunk) {
    std::uint64_t state = 0x9e3779b97f4a7c15u;
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      bytes_[i] = i < period ? static_cast<char>(state >> 56) : bytes_[i - period];
    }
  }

  /// At most `max_chunk` bytes of connection `id`'s stream from `offset` on.
  std::span<const char> slice(std::uint64_t id, std::uint64_t offset,
                              std::size_t length) const noexcept {
    const std::size_t start = static_cast<std::size_t>((id * 7919 + offset) % period);
    return {bytes_.data() + start, length < max_chunk ? length : max_chunk};
  }

  bool matches(std::uint64_t id, std::uint64_t offset, std::span<const char> got) const noexcept {
    return got.size() <= max_chunk &&
           std::memcmp(slice(id, offset, got.size()).data(), got.data(), got.size()) == 0;
  }

 private:
  std::vector<char> bytes_;
};

}  // namespace weir::bench
