// How fast a window leaves: spread over the round trip instead of in one burst, in the manner of
// Linux's internal pacing, on the connection's own timer. Also the pause of one timeout that ECN
// asks of a window that cannot shrink. Retransmission timeouts and probes are never held back. See
// connection.hpp.
#include <algorithm>

#include "stack/tcp/connection.hpp"

namespace weir::stack::tcp {
namespace {

/// What one super-segment may carry: the IPv4 length field less headers.
constexpr std::uint32_t max_burst = 64000;
/// The first segments leave at once: a round trip is hardly known, and they are few.
constexpr std::uint64_t unpaced_segments = 10;

}  // namespace

std::uint64_t connection::pacing_rate() const {
  if (!rtt_.measured()) return 0;
  // Linux's tcp_update_pacing_rate: twice the window per round trip while it may double, 1.2 times
  // near and in congestion avoidance, so that pacing never is what limits growth.
  const std::uint64_t window = std::max(congestion_.window(), flight());
  const std::uint64_t percent = congestion_.window() < congestion_.threshold() / 2 ? 200 : 120;
  const auto round_trip = static_cast<std::uint64_t>(rtt_.smoothed().count() / 1000);
  return std::max<std::uint64_t>(window * percent * 10'000 / std::max<std::uint64_t>(round_trip, 1),
                                 mss_);
}

std::uint32_t connection::burst_limit() const {
  if (!options_->pacing || bytes_sent_ < unpaced_segments * mss_) return max_burst;
  // As Linux: what a millisecond carries, at least two segments.
  const auto burst = std::max<std::uint64_t>(pacing_rate() / 1024, 2u * mss_);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(burst, max_burst));
}

bool connection::held_back(const context& ctx) {
  if (setbacks_->pace_at <= ctx.now) return false;
  paced_out_ = true;
  return true;
}

void connection::pace(const context& ctx, std::uint32_t bytes) {
  if (!options_->pacing || bytes == 0 || bytes_sent_ < unpaced_segments * mss_) return;
  const auto rate = pacing_rate();
  if (rate == 0) return;
  auto cost = duration(static_cast<std::int64_t>(std::uint64_t{bytes} * 1'000'000'000 / rate));
  // A timer that fired late is made up for, by half of a burst at most.
  auto& at = setbacks_.change().pace_at;
  if (ctx.now > at) cost -= std::min(cost / 2, ctx.now - at);
  at = std::max(at, ctx.now) + cost;
}

}  // namespace weir::stack::tcp
