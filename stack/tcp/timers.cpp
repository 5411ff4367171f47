// Time: retransmission, persistence, tail probes, reordering, delayed acknowledgements, keep-alive
// and the patience with orphans. A connection keeps deadlines; the host's wheel holds one node for
// the nearest. See connection.hpp.
#include <algorithm>

#include "stack/tcp/connection.hpp"
#include "stack/tcp/user_timeout.hpp"

namespace weir::stack::tcp {
namespace {

/// An orphan that nobody answers is given up after so many attempts (Linux's tcp_orphan_retries).
constexpr std::uint32_t orphan_attempts = 8;
/// And not before so many, however long they take: on a slow path a few answers get lost.
constexpr std::uint32_t least_orphan_attempts = 6;
/// RFC 6298 5.7: after a lost SYN the data phase starts with this, unless a round trip was
/// measured.
constexpr duration timeout_after_lost_syn = std::chrono::seconds(3);
/// RFC 8985 7.2: how long the peer may sit on the acknowledgement of a single segment
/// (TLP.max_ack_delay), and the probe's time while no round trip was measured.
constexpr duration longest_delayed_ack = std::chrono::milliseconds(200);
constexpr duration probe_without_estimate = std::chrono::seconds(1);

}  // namespace

instant connection::deadline() const {
  const auto nearest = std::min(timers_.next(), setbacks_->cork_at);
  return paced_out_ ? std::min(nearest, setbacks_->pace_at) : nearest;
}

duration connection::current_rto() const {
  auto base = rtt_.timeout(options_->initial_rto, options_->min_rto, options_->max_rto);
  // Also where a timestamp gave a sample: until data is acknowledged.
  if (syn_acked_ && syn_retransmissions_ > 0 && snd_.una == snd_.iss + 1)
    base = std::max(base, timeout_after_lost_syn);
  const auto doubled = base.count() << std::min<int>(backoff_, 20);
  return std::min(duration(doubled), options_->max_rto);
}

void connection::on_timer(context& ctx) {
  if (timers_.due(timer::delayed_ack, ctx.now)) on_delayed_ack_timer(ctx);
  if (setbacks_->cork_at <= ctx.now) on_cork_timer(ctx);
  if (paced_out_ && setbacks_->pace_at <= ctx.now) {
    paced_out_ = false;
    output_due_ = true;
  }
  if (const auto which = timers_.about_sent(); timers_.due(which, ctx.now)) {
    switch (which) {
      case timer::retransmit: on_retransmit_timer(ctx); break;
      case timer::persist: on_persist_timer(ctx); break;
      case timer::tail_probe: on_tail_probe_timer(ctx); break;
      case timer::reorder: on_reorder_timer(ctx); break;
      default: break;
    }
  }
  if (state_ != tcp_state::closed && timers_.due(timer::keep, ctx.now)) on_keep_timer(ctx);
}

void connection::on_delayed_ack_timer(context& ctx) {
  timers_.disarm(timer::delayed_ack);
  if (ack_ == ack_need::none) return;
  ctx.counters.add(counter::delayed_acks);
  ack_ = ack_need::now;
  output_due_ = true;
}

void connection::on_cork_timer(context& ctx) {
  // RFC-less, as Linux: a cork does not hold a piece for more than 200 ms.
  set_cork_end(instant::never());
  if (corked_ || more_follows_) {
    const bool corked = corked_;
    corked_ = more_follows_ = false;
    output(ctx);
    corked_ = corked;
  }
  raise_writable();  // after a send that found the host's memory full
}

bool connection::tail_probe_allowed() const {
  // RFC 8985 7.2 and 7.3: with SACK, in the open state, nothing sacked, no probe out, and a round
  // trip measured since the last one.
  return sack_ok_ && undisturbed() && board_.sacked() == 0 && board_.lost() == 0 &&
         !tail_probe_out_ && tail_probe_ready_ && backoff_ == 0 && syn_acked_;
}

void connection::arm_retransmit(context& ctx) {
  auto due = ctx.now + current_rto();
  if (const auto limit = user_timeout(); limit.count() > 0 && synchronized()) {
    // Not past the moment at which the connection is given up (RFC 9293 3.10.8).
    const auto left = limit - progress_at_.since(ctx.now);
    if (left.count() > 0) due = std::min(due, ctx.now + left);
  }
  if (!tail_probe_allowed()) return timers_.arm(timer::retransmit, due);
  // RFC 8985 7.2: two round trips, and the peer's delayed acknowledgement if one segment is out;
  // instead of the timeout where that would come first.
  auto wait = probe_without_estimate;
  if (rtt_.measured())
    wait = rtt_.smoothed() * 2 + (snd_.out() <= mss_ ? longest_delayed_ack : duration(0));
  timers_.arm(timer::tail_probe, std::min(due, ctx.now + wait));
}

void connection::arm_persist(context& ctx) {
  if (timers_.runs(timer::persist)) return;
  attempts_ = 0;
  backoff_ = 0;
  timers_.arm(timer::persist, probe_time(ctx));  // RFC 9293 SHLD-29
}

// When the next window probe is due: not past the moment at which the connection is given up.
instant connection::probe_time(const context& ctx) const {
  auto wait = current_rto();
  if (const auto limit = options_->user_timeout; limit.count() > 0) {
    const auto left = limit - progress_at_.since(ctx.now);
    if (left.count() > 0) wait = std::min(wait, left);
  }
  return ctx.now + wait;
}

duration connection::announced_user_timeout() const {
  return options_->user_timeout.count() > 0 ? options_->user_timeout : usual_user_timeout;
}

duration connection::user_timeout() const {
  // RFC 5482 3.1: what the application has set stands; else what both sides' values make.
  const auto& o = *options_;
  if (o.user_timeout.count() > 0) return o.user_timeout;
  if (!o.user_timeout_option || remote_user_timeout_ == 0) return duration(0);
  return std::max(
      adopted_user_timeout(announced_user_timeout(), decode_user_timeout(remote_user_timeout_)),
      current_rto() + std::chrono::milliseconds(1));
}

void connection::take_user_timeout(std::uint16_t raw) {
  // RFC 5482 3.3: unless enabled, and if reserved, it is ignored.
  if (options_->user_timeout_option && decode_user_timeout(raw).count() > 0)
    remote_user_timeout_ = raw;
}

duration connection::keep_idle() const {
  // RFC 5482 4.2: a keep-alive must not end what the adopted timeout would let live.
  const auto& o = *options_;
  if (o.user_timeout_option && remote_user_timeout_ != 0)
    return std::max(o.keep_alive_idle, user_timeout() + std::chrono::seconds(1));
  return o.keep_alive_idle;
}

bool connection::gave_up(context& ctx, std::uint32_t attempts) {
  const auto& o = *options_;
  bool over = false;
  if (const auto limit = user_timeout(); limit.count() > 0) {
    over = progress_at_.since(ctx.now) >= limit;
    if (over) ctx.counters.add(counter::user_timeouts);
  } else {
    over = attempts > o.retries;
  }
  if (orphaned_ && attempts > orphan_attempts) {
    over = true;
    ctx.counters.add(counter::orphans_reaped);
  }
  if (over) {
    // What ICMP said may be the reason (RFC 5461 3); else it is a timeout.
    fail(ctx, soft_error_ == std::errc{} ? std::errc::timed_out : soft_error_);
    return true;
  }
  // RFC 9293 SHLD-9: the application may want to know at R1.
  if (attempts == o.warn_retries)
    warn(soft_error_ == std::errc{} ? std::errc::timed_out : soft_error_);
  return false;
}

void connection::warn(std::errc why) {
  soft_error_ = why;
  if (options_->report_soft_errors) raise(ready::warned);  // SHLD-20: only who asks is told
}

void connection::on_syn_timer(context& ctx) {
  if (attempts_ >= options_->syn_retries ||
      (options_->user_timeout.count() > 0 &&
       progress_at_.since(ctx.now) >= options_->user_timeout)) {
    fail(ctx, soft_error_ == std::errc{} ? std::errc::timed_out : soft_error_);
    return;
  }
  ++attempts_;
  if (attempts_ == options_->warn_retries)
    warn(soft_error_ == std::errc{} ? std::errc::timed_out : soft_error_);
  ++backoff_;
  if (syn_retransmissions_ < 255) ++syn_retransmissions_;
  ++setbacks_.change().retransmissions;
  ctx.counters.add_sent_again(flow_.local, flow_.remote, 1, 0);
  ctx.counters.add(counter::timeouts);
  emit_syn(ctx);
  arm_retransmit(ctx);
}

void connection::on_retransmit_timer(context& ctx) {
  if (state_ == tcp_state::syn_sent || state_ == tcp_state::syn_received) {
    on_syn_timer(ctx);
    return;
  }
  if (snd_.idle()) return timers_.stop_about_sent();
  // RFC 5681 3.1: the threshold is held only while the same segment is sent again and again.
  const bool progress = attempts_ == 0;
  if (attempts_ < 255) ++attempts_;
  // RFC 9293 SHLD-17: data beyond an edge that was moved left does not time the connection out
  // while the peer answers.
  const bool shut = snd_.wnd == 0 && last_received_.since(ctx.now) < current_rto() * 2 &&
                    !orphaned_ && options_->user_timeout.count() == 0;
  if (shut)
    attempts_ = 1;
  else if (gave_up(ctx, attempts_))
    return;
  auto& s = setbacks_.change();
  ++s.timeouts;
  ctx.counters.add(counter::timeouts);
  learn_path_mtu(ctx);
  if (attempts_ >= options_->warn_retries) on_suspected_black_hole(ctx);
  s.path.inconclusive(ctx.now);
  const bool first = congestion_state_ != congestion_state::loss || progress;
  congestion_.on_timeout(ctx.now, std::max(snd_.out(), std::uint32_t{mss_}), first);
  // RFC 2018 8: if even the oldest byte was reported, the receiver has dropped what it reported.
  const bool reneged = !board_.empty() && board_[0].has(sent_record::sacked);
  if (first) {
    // RFC 5682 2.1: not out of a recovery that still goes on.
    timeout_undo_ = (sack_ok_ || timestamps_) && !reneged && undisturbed();
    s.episode_at = ctx.now;
    note_reduction();
  }
  timeout_second_ack_ = false;
  s.undo_bytes = 0;
  board_.mark_all_lost(reneged);
  for (std::uint32_t i = 0; i < board_.count(); ++i) board_.unmark_retransmitted(i);
  reno_sacked_ = 0;
  duplicate_acks_ = 0;
  tail_probe_out_ = false;
  recover_ = snd_.nxt;
  congestion_state_ = congestion_state::loss;
  if (backoff_ < 20) ++backoff_;  // RFC 6298 5.5
  const auto i = board_.first_to_retransmit();
  if (i < board_.count()) (void)retransmit_record(ctx, i, mss_);
  arm_retransmit(ctx);
}

void connection::on_persist_timer(context& ctx) {
  if (!snd_.idle()) {
    arm_retransmit(ctx);
    return;
  }
  if (attempts_ < 255) ++attempts_;
  if (gave_up(ctx, attempts_)) return;
  ++setbacks_.change().window_probes;
  ctx.counters.add(counter::zero_window_probes);
  if (backoff_ < 20) ++backoff_;  // SHLD-30
  timers_.arm(timer::persist, probe_time(ctx));
  const auto unsent = span_of(snd_.nxt, data_end());
  const auto n = std::min({snd_.wnd, unsent, std::uint32_t{mss_}});
  if (n > 0 && board_.reserve(ctx.pool)) {
    // A window too small for silly window avoidance: what fits goes now (RFC 9293 3.8.6.2.1 (4)).
    const auto from = snd_.nxt;
    board_.push(from, n, ctx.now, false);
    snd_.nxt += n;
    small_end_ = snd_.nxt;
    arm_retransmit(ctx);
    emit_data(ctx, from, n, false, transmission::window_probe);
    return;
  }
  // As Linux: a segment just before the window, which must be answered with the window as it is
  // now.
  emit_control(ctx, wire::ack, snd_.una - 1);
}

void connection::on_tail_probe_timer(context& ctx) {
  // RFC 8985 7.3: new data if the window lets it, else the last segment again.
  if (snd_.idle()) return timers_.stop_about_sent();
  if (!undisturbed() || board_.sacked() > 0) {
    // Since it was armed, selective acknowledgements came: recovery is at work (RFC 8985 7.2).
    return timers_.arm(timer::retransmit, ctx.now + current_rto());
  }
  tail_probe_out_ = true;
  tail_probe_ready_ = tail_probe_duplicate_ = false;
  ctx.counters.add(counter::tail_loss_probes);
  const auto unsent = fin_sent_ ? 0u : span_of(snd_.nxt, data_end());
  const auto edge = snd_.una + snd_.wnd;
  const auto mss = data_mss();
  const auto n =
      std::min<std::uint32_t>({unsent, mss, snd_.nxt < edge ? span_of(snd_.nxt, edge) : 0u});
  if (n > 0 && (n == mss || n == unsent) && board_.reserve(ctx.pool)) {
    probe_was_retransmission_ = false;
    emit_new(ctx, n, fin_fits(n));
  } else {
    probe_was_retransmission_ = true;
    auto last = board_.count() - 1;
    if (board_[last].length > mss_) {
      const auto length = board_[last].length;
      const auto tail = length % mss_ != 0 ? length % mss_ : std::uint32_t{mss_};
      if (board_.split(ctx.pool, last, length - tail)) ++last;
    }
    if (board_[last].length <= std::uint32_t{mss_} + 1) {
      // Not marked lost: the probe's copy is in the network beside the original.
      (void)retransmit_record(ctx, last, mss_ + 1u);
      board_.unmark_retransmitted(last);
    }
  }
  setbacks_.change().tail_probe_end = snd_.nxt;
  timers_.arm(timer::retransmit, ctx.now + current_rto());  // RFC 8985 7.3: then the timeout
}

void connection::check_tail_probe(context& ctx, const wire::tcp_segment& segment, bool duplicate,
                                  std::uint32_t flight_before) {
  if (!tail_probe_out_ || snd_.una < setbacks_->tail_probe_end) return;
  // RFC 8985 7.4.2. A probe of new data tells nothing of losses, and a D-SACK for one that was sent
  // again says that the original arrived as well.
  bool repaired = false;
  if (probe_was_retransmission_ && !tail_probe_duplicate_) {
    // At the probe's end it is open which of the copies came: a duplicate without SACK would be the
    // answer to the second, and an acknowledgement beyond it leaves only the one.
    repaired = snd_.una > setbacks_->tail_probe_end;
    if (!repaired && (!duplicate || segment.options.sack_count > 0)) return;
  }
  tail_probe_out_ = tail_probe_duplicate_ = false;
  // The tail was lost, which costs what a fast recovery costs, once per window.
  if (!repaired || congestion_state_ != congestion_state::open) return;
  congestion_.on_loss(ctx.now, std::max(flight_before, std::uint32_t{mss_}));
  congestion_.finish_recovery();
  note_reduction();
}

void connection::on_reorder_timer(context& ctx) {
  arm_retransmit(ctx);
  auto lost = detect_losses(ctx);
  if (setbacks_->path.probing() && path_probe_lost(ctx)) lost = {};
  if (undisturbed() ? lost.any : lost.retransmission) {
    enter_recovery(ctx, 0);
    reduce_by_rate(0, false);
  }
  output_due_ = true;
}

void connection::arm_keep(context& ctx) {
  if (orphaned_) return;
  if (options_->keep_alive)
    timers_.arm(timer::keep, ctx.now + keep_idle());
  else
    timers_.disarm(timer::keep);
}

void connection::on_keep_timer(context& ctx) {
  if (orphaned_) {
    // The peer had its time: in FIN-WAIT-2 for its FIN, else to take something of what is queued.
    const bool delivers = state_ != tcp_state::fin_wait_2;
    if (const auto idle = progress_at_.since(ctx.now);
        delivers && idle < options_->orphan_timeout) {
      return timers_.arm(timer::keep, ctx.now + (options_->orphan_timeout - idle));
    }
    const bool unanswered =
        !snd_.idle() && !timers_.runs(timer::none);  // not behind a closed window
    if (delivers && unanswered && attempts_ < least_orphan_attempts) {
      const auto next = timers_.at(timers_.about_sent());
      return timers_.arm(timer::keep, std::max(next, ctx.now + std::chrono::seconds(1)));
    }
    ctx.counters.add(counter::orphans_reaped);
    if (delivers) emit_reset(ctx);
    finish(ctx, tcp_state::closed);
    return;
  }
  if (!options_->keep_alive || !synchronized()) return timers_.disarm(timer::keep);
  // RFC 9293 MUST-26: only when idle.
  if (!snd_.idle() || !out_.empty()) return timers_.arm(timer::keep, ctx.now + keep_idle());
  if (const auto idle = last_received_.since(ctx.now); idle < keep_idle() && keep_probes_ == 0)
    return timers_.arm(timer::keep, ctx.now + (keep_idle() - idle));
  if (keep_probes_ >= options_->keep_alive_probes) {
    emit_reset(ctx);
    fail(ctx, std::errc::timed_out);
    return;
  }
  ++keep_probes_;
  emit_control(ctx, wire::ack, snd_.una - 1);
  timers_.arm(timer::keep, ctx.now + options_->keep_alive_interval);
}

void connection::on_icmp(context& ctx, const icmp_report& report) {
  // RFC 5927 4.1: only about what is in flight. RFC 9293 3.9.2.2, RFC 5927 4.2: hard errors end an
  // attempt to connect, never a connection, where they are soft like the others. Those are
  // remembered and told: at once to who asked, else when retransmitting was in vain (RFC 5461).
  if (!in_flight(seq(report.sequence))) return;
  const bool opening = state_ == tcp_state::syn_sent || state_ == tcp_state::syn_received;
  const auto hard = [&](std::errc why) { opening ? fail(ctx, why) : warn(why); };
  switch (report.kind) {
    case icmp_kind::protocol_unreachable:
      // ICMPv6 4/1, an unrecognized next header, is a soft error (RFC 9293 MUST-56).
      if (report.remote.address.is_v6())
        warn(std::errc::protocol_error);
      else
        hard(std::errc::connection_refused);
      break;
    case icmp_kind::port_unreachable: hard(std::errc::connection_refused); break;
    case icmp_kind::prohibited: hard(std::errc::host_unreachable); break;
    case icmp_kind::network_unreachable: warn(std::errc::network_unreachable); break;
    case icmp_kind::host_unreachable:
    case icmp_kind::source_route_failed:
    case icmp_kind::time_exceeded:
    case icmp_kind::unknown_error: warn(std::errc::host_unreachable); break;
    case icmp_kind::parameter_problem: warn(std::errc::protocol_error); break;
    case icmp_kind::packet_too_big: break;  // the host's, see on_path_mtu()
  }
}

}  // namespace weir::stack::tcp
