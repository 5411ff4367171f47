// An instant in four bytes: milliseconds, modulo 49 days, zero for "never". For what is compared
// with spans of up to some days and may be a millisecond off; a connection keeps several of them.
#pragma once

#include <cstdint>

#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

/// For what is compared with weeks.
inline std::uint32_t seconds(instant now) {
  return static_cast<std::uint32_t>(now.ns() / 1'000'000'000);
}

class stamp {
 public:
  stamp() = default;
  explicit stamp(instant now) : ms_(clock(now)) {
    if (ms_ == 0) ms_ = 1;
  }
  bool never() const { return ms_ == 0; }
  /// How long ago, to the millisecond.
  duration since(instant now) const { return std::chrono::milliseconds(clock(now) - ms_); }

 private:
  static std::uint32_t clock(instant now) {
    return static_cast<std::uint32_t>(now.ns() / 1'000'000);
  }

  std::uint32_t ms_ = 0;
};

}  // namespace weir::stack::tcp
