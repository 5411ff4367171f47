// See rack.hpp.
#include "stack/tcp/rack.hpp"

#include <algorithm>
#include <chrono>

namespace weir::stack::tcp {
namespace {

constexpr std::uint8_t reorder_persistence = 16;  // RFC 8985 6.2

bool three_segments_sacked(const scoreboard& board, std::uint16_t mss) {
  if (board.sacked() >= duplicate_threshold * std::uint32_t{mss}) return true;
  // Smaller ones count as well: a record is at least one segment.
  std::uint32_t segments = 0;
  for (std::uint32_t i = 0; i < board.count() && board.sacked() > 0; ++i)
    if (board[i].has(sent_record::sacked) && ++segments >= duplicate_threshold) return true;
  return false;
}

}  // namespace

void rack::update(const ack_outcome& outcome, instant now, const rtt_estimator& rtt) {
  if (outcome.reordered) reordering_ = true;
  if (outcome.newest_sent.ns() < 0) return;
  const auto took = now - outcome.newest_sent;
  // A retransmission "acknowledged" sooner than any round trip: it was the original that arrived.
  if (outcome.newest_retransmitted && rtt.measured() && took < rtt.minimum()) return;
  rtt_us_ = static_cast<std::uint32_t>(std::clamp<std::int64_t>(took.count() / 1000, 0, 1 << 30));
  if (outcome.newest_sent > sent_ || (outcome.newest_sent == sent_ && outcome.newest_end > end_)) {
    sent_ = outcome.newest_sent;
    end_ = outcome.newest_end;
  }
}

losses rack::detect(scoreboard& board, instant now, duration window, instant episode,
                    duration& wait) {
  losses lost;
  const auto round_trip = std::chrono::microseconds(rtt_us_);
  for (std::uint32_t i = 0; i < board.count(); ++i) {
    auto& r = board[i];
    if (r.has(sent_record::sacked)) continue;
    if (r.has(sent_record::lost) && !r.has(sent_record::retransmitted)) continue;
    const bool sent_before = r.sent < sent_ || (r.sent == sent_ && r.end() < end_);
    if (!sent_before) {
      // Never retransmitted records are in order of time: what follows is younger still, unless it
      // was sent again.
      if (board.lost() == 0 && !r.has(sent_record::ever_retransmitted)) break;
      continue;
    }
    const auto remaining = r.sent + round_trip + window - now;
    if (remaining.count() > 0) {
      wait = std::max(wait, remaining);
      continue;
    }
    lost.any = true;
    if (r.has(sent_record::retransmitted) && r.sent >= episode) lost.retransmission = true;
    board.mark_lost(i);
  }
  return lost;
}

duration rack::window(const scoreboard& board, const rtt_estimator& rtt, std::uint16_t mss,
                      bool undisturbed) const {
  if (!reordering_ && (!undisturbed || three_segments_sacked(board, mss))) return duration(0);
  return std::min(rtt.minimum() / 4 * steps_, rtt.smoothed());
}

void rack::on_duplicate(seq una, seq nxt) {
  if (una < round_) return;
  round_ = nxt;
  if (steps_ < 255) ++steps_;
  persist_ = reorder_persistence;
}

void rack::leave_recovery() {
  if (persist_ > 0 && --persist_ == 0) steps_ = 1;
}

}  // namespace weir::stack::tcp
