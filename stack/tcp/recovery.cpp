// Losses: which bytes are lost, and how fast what is lost and what is new may leave meanwhile. With
// SACK by time (RACK, RFC 8985), without it by counting duplicates (NewReno, RFC 6582); in both the
// window shrinks proportionally (RFC 9937), and the bytes in the network are counted, not guessed
// from an inflated window. See connection.hpp.
#include <algorithm>

#include "stack/tcp/connection.hpp"
#include "stack/tcp/isn.hpp"

namespace weir::stack::tcp {
namespace {

/// RFC 7661 4.4: a window that nobody used is remembered for so long.
constexpr duration unvalidated_limit = std::chrono::minutes(5);

}  // namespace

std::uint32_t connection::flight() const {
  const auto out = snd_.out() + board_.retransmitted();
  const auto gone = board_.sacked() + board_.lost() + reno_sacked_;
  return out > gone ? out - gone : 0;
}

std::uint32_t connection::flight_size() const {
  // RFC 5681 3.2: FlightSize, but not what limited transmit sent beyond the window meanwhile.
  const auto out = snd_.out();
  const auto arrived = std::min(out, board_.sacked() + reno_sacked_);
  return std::max(std::min(out, std::max(congestion_.window(), out - arrived)), 1u);
}

void connection::on_ack_outcome(context& ctx, const wire::tcp_segment& segment, seq before,
                                std::uint32_t flight_before, bool duplicate, bool echo,
                                ack_outcome& outcome) {
  const auto advanced = span_of(before, snd_.una);
  losses lost;
  if (sack_ok_) {
    rack_.update(outcome, ctx.now, rtt_);
    if (outcome.delivered > 0 || outcome.newly_sacked > 0) {
      if (!board_.empty())
        lost = detect_losses(ctx);
      else if (timers_.runs(timer::reorder))  // the usual case: all that was out has arrived
        arm_retransmit(ctx);
    }
  } else if (advanced > 0) {
    lost.any = reno_on_advance(ctx, advanced, outcome);
  } else if (duplicate) {
    lost.any = reno_on_duplicate(ctx, outcome);
  }
  if (setbacks_->path.probing() && path_probe_lost(ctx))
    lost = {};                                  // RFC 4821 7.6.2: no congestion
  const bool safe = advanced > 0 && !lost.any;  // RFC 9937 6.2: safeACK
  switch (congestion_state_) {
    case congestion_state::open:
      if (lost.any) {
        enter_recovery(ctx, outcome.delivered);
        reduce_by_rate(outcome.delivered, safe);
      } else if (echo) {
        // RFC 3168 6.1.2: no growth on such an acknowledgement, whether it reduces or not.
        on_congestion_echo(ctx, flight_before);
      } else if (advanced > 0) {
        grow_window(ctx, advanced, flight_before, outcome);
      }
      break;
    case congestion_state::reduced:
      if (lost.any) {
        enter_recovery(ctx, outcome.delivered);
        reduce_by_rate(outcome.delivered, safe);
      } else if (snd_.una >= reduced_end_) {
        congestion_.finish_recovery();
        congestion_state_ = congestion_state::open;
      } else {
        reduce_by_rate(outcome.delivered, safe);
      }
      break;
    case congestion_state::recovery:
    case congestion_state::loss:
      if (timeout_undo_) check_spurious_timeout(ctx, segment, outcome, advanced);
      // RFC 3522 3.2: the hole was filled by the original after all, and no other is left.
      if (congestion_state_ == congestion_state::recovery && advanced > 0 && board_.lost() == 0 &&
          answers_original(segment))
        take_back(ctx);
      if (congestion_state_ == congestion_state::open) break;
      if (timeout_second_ack_) {
        congestion_.set_window(flight() + 2 * mss_);  // RFC 5682 2.1 step 2: two new segments
        break;
      }
      // RFC 5681 4.3: the loss of what was sent again, and losses in a second window, are a second
      // indication of congestion.
      if (snd_.una >= recover_) {
        // RFC 5681 3.1: slow start began with the one segment of the timeout and goes on. However
        // much is acknowledged, it may have arrived long ago (RFC 3465 2.3).
        if (congestion_state_ == congestion_state::loss && advanced > 0 && !echo)
          congestion_.on_ack(ctx.now, mss_, rtt_.smoothed());
        leave_recovery(ctx);
        if (board_.lost() == 0) break;
        lost.retransmission = true;
      }
      if (lost.retransmission) enter_recovery(ctx, outcome.delivered);
      if (congestion_state_ == congestion_state::recovery)
        reduce_by_rate(outcome.delivered, safe);
      else if (advanced > 0 && !echo)
        congestion_.on_ack(ctx.now, advanced, rtt_.smoothed());
      break;
  }
}

void connection::grow_window(context& ctx, std::uint32_t advanced, std::uint32_t flight_before,
                             const ack_outcome& outcome) {
  // RFC 7661: no growth while the application, not the window, is the limit. What counts is what
  // was out at most in this round trip: as it is acknowledged, less and less is.
  const auto window = congestion_.window();
  const auto used = std::max(flight_before, peak_flight_);
  const auto measured = outcome.clean_sent.ns() >= 0 ? ctx.now - outcome.clean_sent : duration(0);
  congestion_.on_round_trip(snd_.una, snd_.nxt,
                            static_cast<std::uint32_t>(measured.count() / 1000));
  const bool limited = window_limited_ || paced_out_ || used + mss_ > window ||
                       (congestion_.in_slow_start() && used > window / 2);
  if (limited) congestion_.on_ack(ctx.now, advanced, rtt_.smoothed());
  if (!limited || (snd_.idle() && out_.empty())) congestion_.pause(ctx.now);
  validate_window(ctx, limited || used >= window / 2);
}

void connection::validate_window(const context& ctx, bool used) {
  if (used || validated_at_.never()) {
    validated_at_ = stamp(ctx.now);
  } else if (validated_at_.since(ctx.now) > unvalidated_limit) {
    congestion_.forget_unused(initial_window());
    validated_at_ = stamp(ctx.now);
  }
}

// --- Without SACK (RFC 5681 3.2, RFC 6582).

bool connection::reno_on_duplicate(context& ctx, ack_outcome& outcome) {
  // Each duplicate says that one segment has left the network: that alone lets new data out on the
  // first two (limited transmit, RFC 3042) and during recovery (RFC 5681's inflation).
  const auto out = snd_.out();
  const auto most = out > mss_ ? out - mss_ : 0;
  const auto fresh = std::min<std::uint32_t>(mss_, most > reno_sacked_ ? most - reno_sacked_ : 0);
  reno_sacked_ += fresh;
  outcome.delivered += fresh;
  if (duplicate_acks_ < 255) ++duplicate_acks_;
  if (!undisturbed() || duplicate_acks_ < duplicate_threshold) return false;
  // RFC 6582 3.2 step 2: one reduction for one window, whatever duplicates the retransmissions
  // cause.
  if (snd_.una <= recover_) return false;
  // What is known to be lost, as a probe is of which three duplicates told, says nothing new.
  if (board_.empty() || board_[0].has(sent_record::lost)) return false;
  return mark_front_lost(ctx);
}

// Whether it shows a further loss.
bool connection::reno_on_advance(context& ctx, std::uint32_t advanced, ack_outcome& outcome) {
  if (congestion_state_ == congestion_state::recovery && snd_.una < recover_) {
    // A partial acknowledgement: the retransmission arrived and what follows is the next hole (RFC
    // 6582 3.2 step 3).
    const auto known = std::min(reno_sacked_, advanced > mss_ ? advanced - mss_ : 0);
    reno_sacked_ -= known;
    outcome.delivered -= std::min(outcome.delivered, known);
    return mark_front_lost(ctx);
  }
  outcome.delivered -= std::min(outcome.delivered, reno_sacked_);
  reno_sacked_ = 0;
  duplicate_acks_ = 0;
  return false;
}

// False: it was known, and is on its way again.
bool connection::mark_front_lost(context& ctx) {
  if (board_.empty() || board_[0].has(sent_record::retransmitted)) return false;
  // A probe is one packet, however long: all of it is lost.
  const bool whole = board_[0].has(sent_record::lost) || board_[0].has(sent_record::probe);
  if (board_[0].length > mss_ && !whole) (void)board_.split(ctx.pool, 0, mss_);
  board_.mark_lost(0);
  // Never more gone than is out.
  const auto out = snd_.out();
  reno_sacked_ = std::min(reno_sacked_, out > board_.lost() ? out - board_.lost() : 0);
  return true;
}

// --- With SACK: RACK (RFC 8985 6.2).

losses connection::detect_losses(context& ctx) {
  auto wait = duration(0);
  const auto lost = rack_.detect(board_, ctx.now, reorder_window(), setbacks_->episode_at, wait);
  if (wait.count() > 0 && !timers_.runs(timer::persist))
    timers_.arm(timer::reorder, ctx.now + wait);
  else if (timers_.runs(timer::reorder))
    arm_retransmit(ctx);
  return lost;
}

void connection::on_duplicate_report(context& ctx, seq left, seq right) {
  if (tail_probe_out_ && probe_was_retransmission_ && right >= setbacks_->tail_probe_end &&
      left < setbacks_->tail_probe_end) {
    tail_probe_duplicate_ = true;  // the original and the probe both arrived: nothing was lost
    return;
  }
  // Every byte that was sent again had arrived before: the recovery was a mistake, made of
  // reordering, or the timeout came too soon (RFC 9438 4.9, in the manner of RFC 3708).
  if (auto* s = setbacks_.get(); s != nullptr && s->undo_bytes > 0) {
    s->undo_bytes -= std::min(s->undo_bytes, span_of(left, right));
    if (s->undo_bytes == 0) take_back(ctx);
  }
  rack_.on_duplicate(snd_.una, snd_.nxt);
}

// --- The window during recovery.

void connection::enter_recovery(context& ctx, std::uint32_t delivered) {
  // RFC 3168 6.1.2: marks and losses of one window reduce it once.
  const bool reduced = congestion_state_ == congestion_state::reduced;
  auto size = flight_size();
  if (!undisturbed()) {
    // A second reduction begins where the first one leads.
    congestion_.set_window(std::min(congestion_.window(), congestion_.threshold()));
    size = std::min(size, congestion_.window());
  }
  congestion_state_ = congestion_state::recovery;
  timeout_undo_ = timeout_second_ack_ = false;
  recover_ = snd_.nxt;
  auto& s = setbacks_.change();
  s.episode_at = ctx.now;
  s.undo_bytes = 0;
  // RFC 9937 6.1: RecoverFS, without what had arrived before this acknowledgement.
  const auto out = snd_.out();
  s.prr_flight = std::max(out - std::min(out, board_.sacked() + reno_sacked_) + delivered, 1u);
  s.prr_delivered = s.prr_out = 0;
  if (!reduced) {
    congestion_.on_loss(ctx.now, size);
    note_reduction();
  }
  ++s.fast_retransmits;
  ctx.counters.add(counter::fast_retransmits);
}

void connection::reduce_by_rate(std::uint32_t delivered, bool safe) {
  // RFC 9937 6.2. Below the target as much leaves as arrives, and a segment more while recovery
  // makes progress.
  auto& s = setbacks_.change();
  s.prr_delivered += delivered;
  const auto pipe = flight();
  const auto target = congestion_.threshold();
  std::uint64_t send = 0;
  if (pipe > target) {
    const auto due = (std::uint64_t{s.prr_delivered} * target + s.prr_flight - 1) / s.prr_flight;
    send = due > s.prr_out ? due - s.prr_out : 0;
  } else {
    const auto owed = s.prr_delivered > s.prr_out ? s.prr_delivered - s.prr_out : 0;
    send = std::uint64_t{std::max(owed, delivered)} + (safe ? mss_ : 0u);
    send = std::min<std::uint64_t>(target - pipe, send);
  }
  // The fast retransmission itself, and that of the hole which a partial acknowledgement shows (RFC
  // 6582 3.2 step 3).
  const bool hole = !sack_ok_ && board_.lost() > board_.retransmitted();
  if ((s.prr_out == 0 || hole) && congestion_state_ == congestion_state::recovery)
    send = std::max<std::uint64_t>(send, mss_);
  congestion_.set_window(static_cast<std::uint32_t>(pipe + send));
}

void connection::leave_recovery(context&) {
  if (congestion_state_ == congestion_state::recovery) congestion_.finish_recovery();
  rack_.leave_recovery();
  congestion_state_ = congestion_state::open;
  timeout_undo_ = timeout_second_ack_ = false;
  reno_sacked_ = 0;
  duplicate_acks_ = 0;
}

bool connection::answers_original(const wire::tcp_segment& segment) const {
  if (!timestamps_ || !segment.options.timestamps || segment.options.timestamps->echo == 0)
    return false;
  const auto then = timestamp_clock(setbacks_->episode_at, ts_offset_);
  return static_cast<std::int32_t>(segment.options.timestamps->echo - then) < 0;
}

void connection::take_back(context&) {
  // What was not lost came in another order, and three segments behind a gap are no proof of a loss
  // here (RFC 8985 6.2: room for reordering from now on).
  if (congestion_state_ != congestion_state::loss) rack_.note_reordering();
  board_.unmark_all_lost();
  congestion_.undo();
  congestion_state_ = congestion_state::open;
  timeout_undo_ = timeout_second_ack_ = false;
  if (auto* s = setbacks_.get()) s->undo_bytes = 0;
}

void connection::check_spurious_timeout(context& ctx, const wire::tcp_segment& segment,
                                        const ack_outcome& outcome, std::uint32_t advanced) {
  // Only a timeout outside of recovery gets here: the answer to all others stays conservative (RFC
  // 5682 2.1).
  if (timestamps_ && segment.options.timestamps && segment.options.timestamps->echo != 0) {
    // RFC 3522 3.2: what was acknowledged left before the timeout, so the original was only late.
    if (advanced == 0) return;
    if (answers_original(segment))
      take_back(ctx);
    else
      timeout_undo_ = false;
    return;
  }
  if (!sack_ok_) {
    timeout_undo_ = false;
    return;
  }
  // RFC 5682 2.1 and 3.1. The first acknowledgement must advance, and not over everything; new
  // data, not retransmissions, then provokes the second.
  if (!timeout_second_ack_) {
    const bool new_data = snd_.nxt < data_end() && snd_.nxt < snd_.una + snd_.wnd;
    timeout_second_ack_ = advanced > 0 && snd_.una < recover_ && new_data;
    if (!timeout_second_ack_) timeout_undo_ = false;
    return;
  }
  // The second must advance over what was never sent again.
  if (advanced > 0 && outcome.clean_sent.ns() >= 0 && outcome.clean_sent < setbacks_->episode_at)
    take_back(ctx);
  timeout_undo_ = timeout_second_ack_ = false;
}

}  // namespace weir::stack::tcp
