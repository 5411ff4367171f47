// Sequence numbers: a type of their own, compared modulo 2^32 (RFC 9293 3.4). Two numbers are
// comparable while they lie within 2^31 of each other, which windows of at most 2^30 bytes
// guarantee (RFC 7323 2.3).
#pragma once

#include <cstdint>

namespace weir::stack::tcp {

class seq {
 public:
  constexpr seq() = default;
  explicit constexpr seq(std::uint32_t raw) : raw_(raw) {}

  constexpr std::uint32_t raw() const { return raw_; }
  constexpr seq operator+(std::uint32_t n) const { return seq(raw_ + n); }
  constexpr seq operator-(std::uint32_t n) const { return seq(raw_ - n); }
  constexpr seq& operator+=(std::uint32_t n) {
    raw_ += n;
    return *this;
  }
  /// Signed distance: positive when this one is later.
  constexpr std::int32_t operator-(seq other) const {
    return static_cast<std::int32_t>(raw_ - other.raw_);
  }

  constexpr bool operator==(const seq&) const = default;
  constexpr bool operator<(seq other) const { return *this - other < 0; }
  constexpr bool operator<=(seq other) const { return *this - other <= 0; }
  constexpr bool operator>(seq other) const { return *this - other > 0; }
  constexpr bool operator>=(seq other) const { return *this - other >= 0; }

 private:
  std::uint32_t raw_ = 0;
};

/// Bytes from `from` up to `to`, which is not before it.
constexpr std::uint32_t span_of(seq from, seq to) { return to.raw() - from.raw(); }
constexpr seq later(seq a, seq b) { return a < b ? b : a; }
constexpr seq earlier(seq a, seq b) { return a < b ? a : b; }

}  // namespace weir::stack::tcp
