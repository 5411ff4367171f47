// Which of the chunks that are lent a program writes from: bytes that receive() lent are sent on
// from where they lie, also where they are written as a plain span. Bounded: a chunk whose mark was
// needed for another is copied like any other memory.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "weir/stack/sockets.hpp"

namespace weir::detail {

class lent_marks {
 public:
  /// Fewer bytes than that are copied without a look.
  static constexpr std::size_t least = 1024;
  static constexpr std::size_t count = 64;

  void lent(const stack::lent_chunk& c) noexcept {
    if (c.size >= least) place_of(c.data) = c;
  }
  void released(const std::byte* data) noexcept {
    auto& place = place_of(data);
    if (place.data == data) place = {};
  }
  /// The chunk that begins with `bytes`; null where none is known.
  const stack::lent_chunk* find(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() < least) return nullptr;
    const auto& place = place_of(bytes.data());
    return place.data == bytes.data() && bytes.size() <= place.size ? &place : nullptr;
  }

 private:
  stack::lent_chunk& place_of(const std::byte* data) noexcept {
    const auto address = std::bit_cast<std::uintptr_t>(data);
    return places_[(address * 0x9e3779b97f4a7c15u) >> (64 - std::countr_zero(count))];
  }

  std::array<stack::lent_chunk, count> places_{};
};

}  // namespace weir::detail
