// Losses: which bytes are lost, and how fast what is lost and what is new may leave meanwhile. With
// SACK by time (RACK, RFC 8985), without it by counting duplicates (NewReno, RFC 6582); in both the
// window shrinks proportionally (RFC 6937), and the bytes in the network are counted, not guessed
// from an inflated window. See connection.hpp.
#include <algorithm>

#include "tcp/connection.hpp"

namespace weir::stack::tcp {
namespace {

constexpr std::uint8_t duplicate_threshold = 3;   // RFC 5681 3.2
constexpr std::uint8_t reorder_persistence = 16;  // RFC 8985 6.2

}  // namespace

std::uint32_t connection::flight() const {
  const auto out = span_of(una_, nxt_) + board_.retransmitted();
  const auto gone = board_.sacked() + board_.lost() + reno_sacked_;
  return out > gone ? out - gone : 0;
}

void connection::on_ack_outcome(context& ctx, seq before, std::uint32_t flight_before,
                                bool duplicate, bool echo, ack_outcome& outcome) {
  const auto advanced = span_of(before, una_);
  bool lost = false;
  if (sack_ok_) {
    rack_update(ctx, outcome);
    if (outcome.delivered > 0 || outcome.newly_sacked > 0) lost = rack_detect(ctx);
  } else if (advanced > 0) {
    reno_on_advance(ctx, advanced, outcome);
  } else if (duplicate) {
    lost = reno_on_duplicate(ctx, outcome);
  }
  switch (congestion_state_) {
    case congestion_state::open:
      if (lost) {
        enter_recovery(ctx);
        reduce_by_rate(outcome.delivered);
      } else if (echo) {
        // RFC 3168 6.1.2: no growth on such an acknowledgement, whether it reduces or not.
        on_congestion_echo(ctx, flight_before);
      } else if (advanced > 0) {
        // RFC 7661: no growth while the application, not the window, is the limit.
        const auto window = congestion_.window();
        const bool limited = window_limited_ || paced_out_ ||
                             (congestion_.in_slow_start() && flight_before * 2 > window) ||
                             flight_before + mss_ > window;
        if (limited) congestion_.on_ack(ctx.now, advanced, rtt_.smoothed());
      }
      break;
    case congestion_state::reduced:
      if (lost) {
        enter_recovery(ctx);
        reduce_by_rate(outcome.delivered);
      } else if (una_ >= reduced_end_) {
        congestion_.finish_recovery();
        congestion_state_ = congestion_state::open;
      } else {
        reduce_by_rate(outcome.delivered);
      }
      break;
    case congestion_state::recovery:
      if (una_ >= recover_)
        leave_recovery();
      else
        reduce_by_rate(outcome.delivered);
      break;
    case congestion_state::loss:
      if (timeout_undo_ && advanced > 0) check_spurious_timeout(outcome);
      if (congestion_state_ != congestion_state::loss) break;
      if (una_ >= recover_)
        leave_recovery();
      else if (advanced > 0 && !echo)
        congestion_.on_ack(ctx.now, advanced, rtt_.smoothed());
      break;
  }
}

// --- Without SACK (RFC 5681 3.2, RFC 6582).

bool connection::reno_on_duplicate(context& ctx, ack_outcome& outcome) {
  // Each duplicate says that one segment has left the network: that alone lets new data out on the
  // first two (limited transmit, RFC 3042) and during recovery (RFC 5681's inflation).
  const auto out = span_of(una_, nxt_);
  const auto most = out > mss_ ? out - mss_ : 0;
  const auto fresh = std::min<std::uint32_t>(mss_, most > reno_sacked_ ? most - reno_sacked_ : 0);
  reno_sacked_ += fresh;
  outcome.delivered += fresh;
  if (duplicate_acks_ < 255) ++duplicate_acks_;
  if (!undisturbed() || duplicate_acks_ < duplicate_threshold) return false;
  // RFC 6582 3.2 step 2: one reduction for one window, whatever duplicates the retransmissions
  // cause.
  if (una_ <= recover_) return false;
  mark_front_lost(ctx);
  return true;
}

void connection::reno_on_advance(context& ctx, std::uint32_t advanced, ack_outcome& outcome) {
  if (congestion_state_ == congestion_state::recovery && una_ < recover_) {
    // A partial acknowledgement: the retransmission arrived and what follows is the next hole (RFC
    // 6582 3.2 step 3).
    const auto known = std::min(reno_sacked_, advanced > mss_ ? advanced - mss_ : 0);
    reno_sacked_ -= known;
    outcome.delivered -= std::min(outcome.delivered, known);
    mark_front_lost(ctx);
    return;
  }
  outcome.delivered -= std::min(outcome.delivered, reno_sacked_);
  reno_sacked_ = 0;
  duplicate_acks_ = 0;
}

void connection::mark_front_lost(context& ctx) {
  if (board_.empty()) return;
  if (board_[0].has(sent_record::retransmitted)) return;
  if (board_[0].length > mss_ && !board_[0].has(sent_record::lost))
    (void)board_.split(ctx.pool, 0, mss_);
  board_.mark_lost(0);
  // Never more gone than is out.
  const auto out = span_of(una_, nxt_);
  reno_sacked_ = std::min(reno_sacked_, out > board_.lost() ? out - board_.lost() : 0);
}

// --- With SACK: RACK (RFC 8985 6.2).

void connection::rack_update(context& ctx, const ack_outcome& outcome) {
  if (outcome.reordered) reordering_seen_ = true;
  if (outcome.newest_sent.ns() < 0) return;
  const auto took = ctx.now - outcome.newest_sent;
  // A retransmission "acknowledged" sooner than any round trip: it was the original that arrived.
  if (outcome.newest_retransmitted && took < rtt_.minimum()) return;
  rack_rtt_us_ =
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(took.count() / 1000, 0, 1 << 30));
  if (outcome.newest_sent > rack_sent_ ||
      (outcome.newest_sent == rack_sent_ && outcome.newest_end > rack_end_)) {
    rack_sent_ = outcome.newest_sent;
    rack_end_ = outcome.newest_end;
  }
}

duration connection::reorder_window() const {
  if (!reordering_seen_) {
    const bool certain =
        !undisturbed() || board_.sacked() >= duplicate_threshold * std::uint32_t{mss_};
    if (certain) return duration(0);
  }
  return std::min(rtt_.minimum() / 4 * reorder_steps_, rtt_.smoothed());
}

bool connection::rack_detect(context& ctx) {
  bool lost = false;
  auto wait = duration(0);
  const auto round_trip = std::chrono::microseconds(rack_rtt_us_);
  const auto window = reorder_window();
  for (std::uint32_t i = 0; i < board_.count(); ++i) {
    auto& r = board_[i];
    if (r.has(sent_record::sacked)) continue;
    if (r.has(sent_record::lost) && !r.has(sent_record::retransmitted)) continue;
    const bool sent_before = r.sent < rack_sent_ || (r.sent == rack_sent_ && r.end() < rack_end_);
    if (!sent_before) {
      // Never retransmitted records are in order of time: what follows is younger still, unless it
      // was sent again.
      if (board_.lost() == 0 && !r.has(sent_record::ever_retransmitted)) break;
      continue;
    }
    const auto remaining = r.sent + round_trip + window - ctx.now;
    if (remaining.count() <= 0) {
      // A retransmission that is lost too is a second congestion signal (RFC 8985 6, 9.3).
      lost = true;
      board_.mark_lost(i);
    } else {
      wait = std::max(wait, remaining);
    }
  }
  if (wait.count() > 0 && timer_ != timer_mode::persist) {
    timer_ = timer_mode::reorder;
    timer_at_ = ctx.now + wait;
  } else if (timer_ == timer_mode::reorder) {
    arm_retransmit(ctx);
  }
  return lost;
}

void connection::on_duplicate_report(context&, seq left, seq right) {
  // RFC 8985 6.2: a D-SACK for what we sent twice means the window for reordering was too small; it
  // grows once per round trip and is kept for 16 recoveries.
  if (tail_probe_out_ && probe_was_retransmission_ && right >= tail_probe_end_ &&
      left < tail_probe_end_) {
    tail_probe_duplicate_ = true;  // the original and the probe both arrived: nothing was lost
    return;
  }
  if (undisturbed() && una_ <= reorder_round_) return;
  reorder_round_ = nxt_;
  if (reorder_steps_ < 255) ++reorder_steps_;
  reorder_persist_ = reorder_persistence;
}

// --- The window during recovery.

void connection::enter_recovery(context& ctx) {
  // RFC 3168 6.1.2: marks and losses of one window reduce it once.
  const bool reduced = congestion_state_ == congestion_state::reduced;
  congestion_state_ = congestion_state::recovery;
  recover_ = nxt_;
  prr_flight_ = std::max(span_of(una_, nxt_) - std::min(board_.sacked(), span_of(una_, nxt_)), 1u);
  prr_delivered_ = prr_out_ = 0;
  if (!reduced) {
    congestion_.on_loss(ctx.now, prr_flight_);
    note_reduction();
  }
  ++fast_retransmits_;
  ctx.counters.add(counter::fast_retransmits);
}

void connection::reduce_by_rate(std::uint32_t delivered) {
  // RFC 6937 3.1, with the slow start reduction bound.
  prr_delivered_ += delivered;
  const auto pipe = flight();
  const auto target = congestion_.threshold();
  std::uint64_t send = 0;
  if (pipe > target) {
    const auto due = (std::uint64_t{prr_delivered_} * target + prr_flight_ - 1) / prr_flight_;
    send = due > prr_out_ ? due - prr_out_ : 0;
  } else {
    const auto owed = prr_delivered_ > prr_out_ ? prr_delivered_ - prr_out_ : 0;
    send = std::min<std::uint64_t>(target - pipe, std::uint64_t{std::max(owed, delivered)} + mss_);
  }
  // The fast retransmission itself.
  if (prr_out_ == 0 && congestion_state_ == congestion_state::recovery)
    send = std::max<std::uint64_t>(send, mss_);
  congestion_.set_window(static_cast<std::uint32_t>(pipe + send));
}

void connection::leave_recovery() {
  if (congestion_state_ == congestion_state::recovery) {
    congestion_.finish_recovery();
    if (reorder_persist_ > 0 && --reorder_persist_ == 0) reorder_steps_ = 1;
  }
  congestion_state_ = congestion_state::open;
  timeout_undo_ = false;
  reno_sacked_ = 0;
  duplicate_acks_ = 0;
}

void connection::check_spurious_timeout(const ack_outcome& outcome) {
  // In the manner of F-RTO (RFC 5682) on the scoreboard: the first acknowledgement after the
  // timeout that covers bytes never sent again shows that the originals were only late. Without
  // SACK the answer stays conservative.
  if (!sack_ok_) {
    timeout_undo_ = false;
    return;
  }
  if (outcome.clean_sent.ns() < 0 || outcome.clean_sent >= timeout_at_) return;
  board_.unmark_all_lost();
  congestion_.undo();
  congestion_state_ = congestion_state::open;
  timeout_undo_ = false;
}

}  // namespace weir::stack::tcp
