// The acknowledgement field: what it frees, the window it grants, the round trip it measures (RFC
// 9293 3.10.7.4, RFC 5961 5, RFC 6298). What it says of losses is recovery.cpp's. See
// connection.hpp.
#include <algorithm>

#include "stack/tcp/connection.hpp"
#include "stack/tcp/isn.hpp"

namespace weir::stack::tcp {

bool connection::on_ack(context& ctx, const wire::tcp_segment& segment) {
  const auto ack = seq(segment.acknowledgment);
  if (state_ == tcp_state::syn_received) {
    if (ack <= snd_.una || ack > snd_.nxt) {
      emit_control(ctx, wire::rst, ack);
      ctx.counters.add(counter::drop_tcp_bad_ack);
      return false;
    }
    snd_.una = ack;
    syn_acked_ = true;
    // The window of a SYN is never scaled (RFC 7323 2.2).
    snd_.open_window(std::uint32_t{segment.window} << (segment.has(wire::syn) ? 0 : snd_.shift),
                     seq(segment.sequence), ack);
    become_established(ctx);
    if (fin_queued_) state_ = tcp_state::fin_wait_1;
    raise(ready::connected | ready::writable);
    output_due_ = true;
    return true;
  }
  if (state_ == tcp_state::time_wait) return true;
  if (!snd_.plausible(ack)) {
    ctx.counters.add(counter::drop_tcp_bad_ack);
    challenge(ctx);
    return false;
  }
  if (ack < snd_.una) return true;  // old news; its data may still be new

  const auto before = snd_.una;
  const auto flight_before = flight();
  ack_outcome outcome;
  outcome.any_sacked = board_.sacked() > 0;
  outcome.highest_sacked = board_.highest_sacked();
  if (sack_ok_ && segment.options.sack_count > 0) take_sacks(ctx, segment, outcome);
  const auto window = std::uint32_t{segment.window} << snd_.shift;
  // RFC 5681 2: a duplicate carries nothing, moves nothing and changes no window, while something
  // is out.
  const bool duplicate = ack == snd_.una && !snd_.idle() && segment.payload.empty() &&
                         !segment.has(wire::fin) && window == snd_.wnd;
  update_send_window(segment, ack);
  if (ack > snd_.una) {
    on_new_ack(ctx, ack, segment, outcome);
    if (state_ == tcp_state::closed || state_ == tcp_state::time_wait) return true;
  }
  if (timers_.runs(timer::persist) && !orphaned_) {
    // RFC 9293 MUST-37: a probe that is answered keeps the connection, unless the application has
    // said for how long (RFC 6429 3): a peer that never reads must not hold memory for ever.
    attempts_ = 0;
    if (options_->user_timeout.count() == 0) progress_at_ = stamp(ctx.now);
  }
  const bool echo = ecn_ok_ && segment.has(wire::ece);
  on_ack_outcome(ctx, segment, before, flight_before, duplicate, echo, outcome);
  if (tail_probe_out_) check_tail_probe(ctx, segment, duplicate, flight_before);
  output_due_ = true;
  return true;
}

void connection::update_send_window(const wire::tcp_segment& segment, seq ack) {
  const auto window = std::uint32_t{segment.window} << snd_.shift;
  if (!snd_.update_window(window, seq(segment.sequence), ack)) return;
  if (timers_.runs(timer::persist) && window > 0) {
    timers_.stop_about_sent();
    attempts_ = 0;
    backoff_ = 0;
  }
}

void connection::take_sacks(context& ctx, const wire::tcp_segment& segment, ack_outcome& outcome) {
  const auto ack = seq(segment.acknowledgment);
  for (std::size_t i = 0; i < segment.options.sack_count; ++i) {
    const auto left = seq(segment.options.sack[i].left);
    const auto right = seq(segment.options.sack[i].right);
    if (right <= left || right > snd_.nxt) continue;
    if (left < later(ack, snd_.una)) {
      // RFC 2883: a D-SACK lies below this packet's own acknowledgement, or inside the second
      // block.
      if (i == 0 && right <= ack) on_duplicate_report(ctx, left, right);
      continue;
    }
    if (i == 0 && segment.options.sack_count > 1) {
      const auto outer_left = seq(segment.options.sack[1].left);
      const auto outer_right = seq(segment.options.sack[1].right);
      if (outer_left <= left && right <= outer_right) on_duplicate_report(ctx, left, right);
    }
    board_.sack(ctx.pool, left, right, outcome);
  }
}

void connection::on_new_ack(context& ctx, seq ack, const wire::tcp_segment& segment,
                            ack_outcome& outcome) {
  const auto acked = span_of(snd_.una, ack);
  const bool fin_acked = fin_sent_ && ack == snd_.nxt;
  board_.acknowledge(ctx.pool, ack, outcome);
  out_.consume(ctx.pool, std::min(acked - (fin_acked ? 1u : 0u), out_.size()));
  snd_.una = ack;
  measure(ctx, segment, outcome, acked);
  refresh_marks();
  attempts_ = 0;
  backoff_ = 0;
  soft_error_ = {};
  if (path_suspect_) {  // what was cut arrives: others may know
    path_suspect_ = false;
    path_news_ = true;
  }
  progress_at_ = stamp(ctx.now);
  // RFC 6298 5.2 and 5.3. A restart only moves the deadline: the wheel is not touched.
  if (snd_.idle()) {
    timers_.stop_about_sent();
  } else {
    arm_retransmit(ctx);
  }
  if (options_->report_sent && snd_.idle() && out_.empty()) raise(ready::sent);
  if (want_writable_) raise_writable();
  if (fin_acked) on_fin_acked(ctx);
}

void connection::refresh_marks() {
  // Numbers that were passed long ago must stay behind: 2^31 bytes later they would seem to lie
  // ahead.
  small_end_ = later(small_end_, snd_.una);
  if (recover_ < snd_.una) recover_ = snd_.una - 1;
  if (reduced_end_ < snd_.una) reduced_end_ = snd_.una - 1;
  rack_.refresh(snd_.una);
}

void connection::measure(context& ctx, const wire::tcp_segment& segment, const ack_outcome& outcome,
                         std::uint32_t acked) {
  // RFC 7323 4.2 and G: the more samples a round trip brings, the less each of them counts.
  const auto out = snd_.out() + acked;
  const auto expected = out < 2u * mss_ ? 1 : out / (2u * mss_) + 1;
  if (outcome.clean_sent.ns() >= 0) {
    rtt_.sample(ctx.now - outcome.clean_sent, ctx.now, expected);
    tail_probe_ready_ = true;
    return;
  }
  // Only retransmitted bytes: the timestamp says which copy was answered (RFC 7323 4.1).
  if (!timestamps_ || !segment.options.timestamps || segment.options.timestamps->echo == 0) return;
  const auto ms = timestamp_clock(ctx.now, ts_offset_) - segment.options.timestamps->echo;
  if (ms >= 600'000) return;
  rtt_.sample(std::chrono::milliseconds(std::max(1u, ms)), ctx.now, expected);
  tail_probe_ready_ = true;
}

void connection::on_fin_acked(context& ctx) {
  switch (state_) {
    case tcp_state::fin_wait_1:
      state_ = tcp_state::fin_wait_2;
      if (orphaned_)
        timers_.arm(timer::keep, ctx.now + options_->fin_wait_2);
      else
        timers_.disarm(timer::keep);
      break;
    case tcp_state::closing: finish(ctx, tcp_state::time_wait); break;
    case tcp_state::last_ack: finish(ctx, tcp_state::closed); break;
    default: break;
  }
}

}  // namespace weir::stack::tcp
