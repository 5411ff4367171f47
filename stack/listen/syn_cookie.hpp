// SYN cookies (RFC 4987 3.6 and appendix A): when the SYN queue is full, the SYN-ACK's sequence
// number carries what a half-open entry would have held, under a keyed hash that changes every 64
// seconds; the timestamp, where the peer has one, carries window scale and SACK. Nothing is stored:
// the peer's ACK brings it all back, or proves to be forged.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "stack/base/flow_key.hpp"
#include "stack/tcp/seq.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

class syn_cookies {
 public:
  /// A cookie is good during the period in which it was made and the next.
  static constexpr std::int64_t period_ns = 64'000'000'000;
  /// What three bits can say of the peer's MSS: the largest that is not above it.
  static constexpr std::array<std::uint16_t, 8> mss_values{64,   536,  1024, 1220,
                                                           1360, 1440, 1460, 8940};

  explicit syn_cookies(siphash_key key) : key_(key) {}

  tcp::seq make(instant now, const flow_key& flow, tcp::seq irs, std::uint16_t mss) const {
    std::uint32_t index = 0;
    while (index + 1 < mss_values.size() && mss_values[index + 1] <= mss) ++index;
    return tcp::seq(compose(period(now), flow, irs, index));
  }
  /// The MSS that a cookie stands for; nothing when it is forged or too old.
  std::optional<std::uint16_t> check(instant now, const flow_key& flow, tcp::seq irs,
                                     tcp::seq cookie) const {
    const auto index = cookie.raw() >> 2 & 7;
    for (std::int64_t age = 0; age < 2; ++age) {
      const auto p = period(now) - age;
      if ((static_cast<std::uint32_t>(p) & 3) == (cookie.raw() & 3) &&
          compose(p, flow, irs, index) == cookie.raw()) {
        return mss_values[index];
      }
    }
    return std::nullopt;
  }

  /// Six bits of the timestamp: window shift (15: no scaling), SACK and ECN. The result is never
  /// later than `clock`.
  static std::uint32_t encode(std::uint32_t clock, std::optional<std::uint8_t> shift, bool sack,
                              bool ecn) {
    const auto bits = std::uint32_t{shift.value_or(15)} | (sack ? 16u : 0u) | (ecn ? 32u : 0u);
    const auto value = (clock & ~63u) | bits;
    return static_cast<std::int32_t>(value - clock) > 0 ? value - 64 : value;
  }
  static std::optional<std::uint8_t> shift_of(std::uint32_t echo) {
    const auto shift = static_cast<std::uint8_t>(echo & 15);
    return shift == 15 ? std::nullopt : std::optional(shift);
  }
  static bool sack_of(std::uint32_t echo) { return (echo & 16) != 0; }
  static bool ecn_of(std::uint32_t echo) { return (echo & 32) != 0; }

 private:
  static std::int64_t period(instant now) { return now.ns() / period_ns; }

  std::uint32_t compose(std::int64_t period, const flow_key& flow, tcp::seq irs,
                        std::uint32_t index) const {
    const std::uint64_t words[] = {flow.hash<2, 4>(key_), static_cast<std::uint64_t>(period),
                                   std::uint64_t{irs.raw()} << 32 | index};
    const auto mac = static_cast<std::uint32_t>(siphash_words<2, 4>(key_, words));
    return (mac & ~31u) | index << 2 | (static_cast<std::uint32_t>(period) & 3);
  }

  siphash_key key_;
};

}  // namespace weir::stack
