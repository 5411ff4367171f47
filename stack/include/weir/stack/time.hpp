// Time as the stack and the runtime count it: an instant is nanoseconds since an origin that the
// caller chose (a steady clock's, or a simulation's start). Nothing here reads a clock; whoever
// drives the code passes the instant down.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace weir {

using duration = std::chrono::nanoseconds;
/// In place of a duration: for ever.
inline constexpr duration no_limit = duration::max();

/// A point in time. Strong, so that it is never mixed up with a span of time or a sequence number.
class instant {
 public:
  constexpr instant() = default;
  static constexpr instant from_ns(std::int64_t ns) {
    instant out;
    out.ns_ = ns;
    return out;
  }
  /// Later than every instant that can happen: "no deadline".
  static constexpr instant never() { return from_ns(INT64_MAX); }

  constexpr std::int64_t ns() const { return ns_; }
  constexpr bool is_never() const { return ns_ == INT64_MAX; }

  /// Saturates at never(), so that a deadline of "now plus for ever" is no overflow.
  constexpr instant operator+(duration d) const {
    if (is_never() || (d.count() > 0 && ns_ > INT64_MAX - d.count())) return never();
    return from_ns(ns_ + d.count());
  }
  constexpr instant operator-(duration d) const { return from_ns(ns_ - d.count()); }
  constexpr duration operator-(instant other) const { return duration(ns_ - other.ns_); }
  constexpr instant& operator+=(duration d) { return *this = *this + d; }

  constexpr bool operator==(const instant&) const = default;
  constexpr auto operator<=>(const instant&) const = default;

 private:
  std::int64_t ns_ = 0;
};

}  // namespace weir
