// A payload that lies in several places, cut into pieces without copying it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <span>
#include <type_traits>

namespace weir::stack {

using byte_span = std::span<const std::byte>;
using part_list = std::span<const byte_span>;

inline std::size_t total_size(part_list parts) {
  std::size_t total = 0;
  for (const auto& part : parts) total += part.size();
  return total;
}

/// Room for `N` spans that is not cleared first: on the path of every packet that clearing would
/// cost more than the rest of the gathering. Spans are trivial to create and destroy; only what was
/// written may be read.
template <std::size_t N>
class part_room {
 public:
  byte_span& operator[](std::size_t i) { return data()[i]; }
  std::span<byte_span> from(std::size_t first) { return {data() + first, N - first}; }
  part_list first(std::size_t n) { return {data(), n}; }

 private:
  static_assert(std::is_trivially_copyable_v<byte_span> &&
                std::is_trivially_destructible_v<byte_span>);
  byte_span* data() { return std::launder(reinterpret_cast<byte_span*>(bytes_)); }
  alignas(byte_span) std::byte bytes_[N * sizeof(byte_span)];
};

/// Walks through `parts` from front to back.
class part_cursor {
 public:
  explicit part_cursor(part_list parts) : parts_(parts) {}

  /// The next `n` bytes as spans in `into`, which holds at least as many as there are parts;
  /// returns how many.
  std::size_t take(std::size_t n, std::span<byte_span> into) {
    std::size_t count = 0;
    while (n > 0 && index_ < parts_.size()) {
      auto piece = parts_[index_].subspan(offset_);
      piece = piece.first(std::min(piece.size(), n));
      n -= piece.size();
      offset_ += piece.size();
      if (offset_ == parts_[index_].size()) {
        ++index_;
        offset_ = 0;
      }
      if (!piece.empty()) into[count++] = piece;
    }
    return count;
  }

 private:
  part_list parts_;
  std::size_t index_ = 0;
  std::size_t offset_ = 0;
};

}  // namespace weir::stack
