// The user timeout option (RFC 5482): its sixteen bits, and what a timeout becomes when the peer
// has one of its own. Values only.
#pragma once

#include <algorithm>
#include <cstdint>

#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

/// RFC 5482 3.1: no peer may make us give up sooner (RFC 9293 SHLD-11), or hold on for longer.
inline constexpr duration least_user_timeout = std::chrono::seconds(100);
inline constexpr duration most_user_timeout = std::chrono::hours(24);
/// What is announced where the application has set none (RFC 9293 3.9.1.1).
inline constexpr duration usual_user_timeout = std::chrono::minutes(5);

/// RFC 5482 3.3: fifteen bits of seconds, or of minutes with the top bit set; never zero.
inline std::uint16_t encode_user_timeout(duration d) {
  constexpr std::int64_t most = 0x7fff;
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(d).count();
  if (seconds <= most) return static_cast<std::uint16_t>(std::max<std::int64_t>(seconds, 1));
  return static_cast<std::uint16_t>(0x8000 | std::min((seconds + 59) / 60, most));
}

/// Zero when the value is the reserved one, which means nothing.
inline duration decode_user_timeout(std::uint16_t raw) {
  const std::int64_t value = raw & 0x7fff;
  return (raw & 0x8000) != 0 ? duration(std::chrono::minutes(value))
                             : duration(std::chrono::seconds(value));
}

/// RFC 5482 3.1: min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT)).
inline duration adopted_user_timeout(duration announced, duration remote) {
  return std::min(most_user_timeout, std::max({announced, remote, least_user_timeout}));
}

}  // namespace weir::stack::tcp
