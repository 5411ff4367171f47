// What the fuzz targets share: an input that is taken apart into numbers and packets, and a claim
// that must hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace weir::fuzz {

/// Stops the run with the place: also in builds without assertions.
inline void claim(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

inline void claim_inside(std::span<const std::byte> part, std::span<const std::byte> whole,
                         const char* what) {
  claim(part.empty() || (part.data() >= whole.data() &&
                         part.data() + part.size() <= whole.data() + whole.size()),
        what);
}

/// Reads the input from the front. Past its end everything is zero or empty.
class input {
 public:
  input(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const std::byte*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  std::uint8_t number8() {
    auto at = take(1);
    return at.empty() ? std::uint8_t{0} : std::to_integer<std::uint8_t>(at[0]);
  }
  std::uint16_t number16() { return static_cast<std::uint16_t>(number8() << 8 | number8()); }
  std::span<const std::byte> take(std::size_t n) {
    auto out = rest_.first(n < rest_.size() ? n : rest_.size());
    rest_ = rest_.subspan(out.size());
    return out;
  }
  std::span<const std::byte> all() { return take(rest_.size()); }

 private:
  std::span<const std::byte> rest_;
};

}  // namespace weir::fuzz
