// What arrives (RFC 9293 3.10.7): acceptability, resets, SYNs, data, FIN, and the decision when to
// acknowledge. The acknowledgement field is acknowledge.cpp's. See connection.hpp.
#include <algorithm>

#include "stack/tcp/connection.hpp"
#include "stack/tcp/isn.hpp"

namespace weir::stack::tcp {
namespace {

/// RFC 7323 5.5: a timestamp that was not refreshed for so long says nothing.
constexpr duration timestamp_lifetime = std::chrono::hours(24 * 24);
/// RFC 2018 3, with the padding before it.
constexpr std::uint32_t sack_head = 4;
constexpr std::uint32_t sack_block = 8;

}  // namespace

// Header prediction (V. Jacobson, 1990; RFC 7323 appendix G): the segment that comes next on an
// established connection, with nothing that on_segment() or on_data() would have to judge. What it
// acknowledges may be anything.
bool connection::expected(const wire::tcp_segment& segment) const {
  return state_ == tcp_state::established && (segment.flags & ~wire::psh) == wire::ack &&
         seq(segment.sequence) == rcv_.next() && segment.payload.size() <= rcv_.window() &&
         segment.options.timestamps.has_value() == timestamps_ &&
         (!timestamps_ ||
          static_cast<std::int32_t>(segment.options.timestamps->value - ts_recent_) >= 0) &&
         !segment.options.user_timeout && !rcv_.end_seen() && !orphaned_;
}

// What on_segment() does with an expected segment, less the questions whose answers are known.
void connection::on_expected(context& ctx, const wire::tcp_segment& segment) {
  segments_received_ += segment.segment_count();
  if (!on_ack(ctx, segment)) return;
  note_life(ctx);
  note_timestamp(ctx, segment, rcv_.next());
  if (state_ == tcp_state::closed || segment.payload.empty()) return;
  if (ecn_ok_) note_marks(ctx, segment);
  note_segment_size(segment);
  store(ctx, rcv_.next(), segment.payload, segment.segment_count());
}

// RFC 7323 4.3: the timestamp to echo is that of the segment which the next acknowledgement covers
// first. Of segments alone whose acknowledgement was good: else a stranger could set a time by
// which the peer's own segments are old (RFC 5961 5.2, RFC 7323 5.3).
void connection::note_timestamp(context& ctx, const wire::tcp_segment& segment, seq sequence) {
  if (!timestamps_ || !segment.options.timestamps || sequence > rcv_.told()) return;
  const auto value = segment.options.timestamps->value;
  if (static_cast<std::int32_t>(value - ts_recent_) < 0) return;
  ts_recent_ = value;
  ts_recent_at_ = seconds(ctx.now);
}

// The peer is there: not what any stranger could have said.
void connection::note_life(context& ctx) {
  last_received_ = stamp(ctx.now);
  keep_probes_ = 0;
}

void connection::note_segment_size(const wire::tcp_segment& segment) {
  const auto size = segment.gso_size != 0 ? std::uint32_t{segment.gso_size}
                                          : static_cast<std::uint32_t>(segment.payload.size());
  if (size > rcv_.mss())
    rcv_.note_size(std::min<std::uint32_t>(size, mss_for_mtu(mtu_, flow_.local.address.family())));
}

void connection::on_segment(context& ctx, const wire::tcp_segment& segment) {
  if (ctx.shortcuts && expected(segment)) {
    on_expected(ctx, segment);
    return;
  }
  segments_received_ += segment.segment_count();
  if (state_ == tcp_state::closed) {
    ctx.counters.add(counter::drop_tcp_after_close);
    return;
  }
  if (state_ == tcp_state::syn_sent) {
    on_syn_sent(ctx, segment);
    return;
  }
  const auto sequence = seq(segment.sequence);
  if (!check_timestamps(ctx, segment)) return;
  if (segment.has(wire::ack) && snd_.plausible(seq(segment.acknowledgment))) note_life(ctx);
  // A reset is judged by its number alone, whatever it carries: it counts with a closed window too
  // (RFC 9293 MUST-66, SHLD-2).
  if (!rcv_.acceptable(sequence, segment.has(wire::rst) ? 0 : segment.sequence_length())) {
    on_unacceptable(ctx, segment);
    return;
  }
  if (segment.has(wire::rst)) {
    on_reset(ctx, sequence);
    return;
  }
  if (segment.has(wire::syn)) {
    // RFC 5961 4.2: whatever its number. A SYN in SYN-RECEIVED that repeats the first gets the
    // SYN-ACK again.
    if (!on_repeated_syn(ctx, segment)) challenge(ctx);
    return;
  }
  if (!segment.has(wire::ack)) {
    ctx.counters.add(counter::drop_tcp_no_ack);
    return;
  }
  if (!on_ack(ctx, segment)) return;
  note_timestamp(ctx, segment, sequence);
  if (segment.options.user_timeout) take_user_timeout(*segment.options.user_timeout);
  if (state_ == tcp_state::closed) return;
  on_data(ctx, segment);
}

void connection::on_syn_sent(context& ctx, const wire::tcp_segment& segment) {
  const auto ack = seq(segment.acknowledgment);
  const bool has_ack = segment.has(wire::ack);
  if (has_ack && (ack <= snd_.iss || ack > snd_.nxt)) {
    // RFC 9293 3.10.7.3: an acknowledgement of something never sent.
    if (!segment.has(wire::rst)) emit_control(ctx, wire::rst, ack);
    ctx.counters.add(counter::drop_tcp_bad_ack);
    return;
  }
  if (segment.has(wire::rst)) {
    if (!has_ack) {
      ctx.counters.add(counter::drop_tcp_reset_ignored);
      return;
    }
    ctx.counters.add(counter::resets_received);
    fail(ctx, std::errc::connection_refused);
    return;
  }
  if (!segment.has(wire::syn)) {
    ctx.counters.add(counter::drop_tcp_no_ack);
    return;
  }
  rcv_.begin(seq(segment.sequence), syn_window(options_->receive_buffer));
  const auto& theirs = segment.options;
  timestamps_ = options_->timestamps && theirs.timestamps.has_value();
  sack_ok_ = options_->sack && theirs.sack_permitted;
  scaling_ = options_->window_scaling && theirs.window_scale.has_value();
  snd_.shift = scaling_ ? std::min(*theirs.window_scale, max_window_shift) : std::uint8_t{0};
  if (!scaling_) rcv_.unscaled();
  if (timestamps_) {
    ts_recent_ = theirs.timestamps->value;
    ts_recent_at_ = seconds(ctx.now);
  }
  // 0 is "no option" to us; a peer that says so is clamped like any other tiny one.
  peer_mss_ = theirs.mss ? std::max<std::uint16_t>(*theirs.mss, 1) : std::uint16_t{0};
  snd_.open_window(segment.window, rcv_.irs(), ack);  // never scaled in a SYN (RFC 7323 2.2)
  if (!has_ack) {
    // Simultaneous open (RFC 9293 3.5 figure 7): both SYNs cross. Both asked for ECN, or none does.
    ecn_ok_ = options_->ecn == ecn_mode::request && syn_retransmissions_ == 0 &&
              segment.has(wire::ece) && segment.has(wire::cwr);
    state_ = tcp_state::syn_received;
    attempts_ = 0;
    emit_syn(ctx);
    arm_retransmit(ctx);
    return;
  }
  snd_.una = ack;
  syn_acked_ = true;
  if (theirs.user_timeout) take_user_timeout(*theirs.user_timeout);
  // RFC 3168 6.1.1: ECE alone; a peer that reflects both flags does not know them.
  ecn_ok_ = options_->ecn == ecn_mode::request && segment.has(wire::ece) && !segment.has(wire::cwr);
  if (timestamps_ && theirs.timestamps->echo != 0 && syn_retransmissions_ > 0) {
    const auto ms = timestamp_clock(ctx.now, ts_offset_) - theirs.timestamps->echo;
    if (ms < 120'000) rtt_.sample(std::chrono::milliseconds(std::max(1u, ms)), ctx.now);
  } else if (syn_retransmissions_ == 0) {
    rtt_.sample(ctx.now - last_sent_, ctx.now);
  }
  become_established(ctx);
  raise(ready::connected | ready::writable);
  ack_ = ack_need::now;
  // RFC 9293 3.10.7.3: data or FIN on the SYN-ACK counts.
  if (segment.sequence_length() > 1) on_data(ctx, segment);
}

bool connection::check_timestamps(context& ctx, const wire::tcp_segment& segment) {
  if (!timestamps_ || segment.has(wire::rst)) return true;  // RFC 7323 5.2: never a reset
  if (!segment.options.timestamps) {
    // RFC 7323 3.2 would have it dropped without a word. Where something on the way takes the
    // option out, the connection would then stand still for good; Linux takes the segment.
    if (!segment.has(wire::syn)) ctx.counters.add(counter::segments_without_timestamp);
    return true;
  }
  const auto value = segment.options.timestamps->value;
  if (static_cast<std::int32_t>(value - ts_recent_) >= 0) return true;
  if (std::chrono::seconds(seconds(ctx.now) - ts_recent_at_) > timestamp_lifetime) return true;
  if (segment.has(wire::syn)) return true;
  // RFC 7323 5.3 R1: an old duplicate; acknowledge and drop. One without data is held to the
  // challenge's rate.
  ctx.counters.add(counter::drop_tcp_paws);
  if (segment.sequence_length() > 0)
    ack_ = ack_need::now;
  else
    challenge(ctx);
  return false;
}

void connection::on_unacceptable(context& ctx, const wire::tcp_segment& segment) {
  const auto sequence = seq(segment.sequence);
  if (segment.has(wire::rst)) {
    // RFC 5961 3.2: outside the window silently dropped. A reset exactly at RCV.NXT counts with a
    // zero window too, which acceptable() has let through.
    ctx.counters.add(counter::drop_tcp_reset_ignored);
    return;
  }
  if (segment.has(wire::syn)) {
    if (!on_repeated_syn(ctx, segment)) challenge(ctx);
    return;
  }
  const auto length = segment.sequence_length();
  const bool old = length > 0 && sequence + length <= rcv_.next();
  ctx.counters.add(old ? counter::drop_tcp_old_duplicate : counter::drop_tcp_out_of_window);
  // With a zero window valid ACKs, URGs and RSTs are still processed (RFC 9293 3.10.7.4): one that
  // begins at RCV.NXT.
  if (segment.has(wire::ack) && sequence == rcv_.next()) (void)on_ack(ctx, segment);
  if (state_ == tcp_state::closed) return;
  if (old) note_duplicate(sequence, sequence + length);
  // Data is always answered, as its sender may have lost our ACK; a bare segment at the challenge's
  // rate only, or two confused ends would exchange them for ever.
  if (length > 0) {
    ack_ = ack_need::now;
    if (!segment.payload.empty()) quick_acks_ = std::max<std::uint8_t>(quick_acks_, 2);
  } else {
    challenge(ctx);
  }
}

bool connection::on_repeated_syn(context& ctx, const wire::tcp_segment& segment) {
  if (state_ != tcp_state::syn_received || seq(segment.sequence) != rcv_.irs()) return false;
  const auto ack = seq(segment.acknowledgment);
  if (segment.has(wire::ack) && snd_.una < ack && ack <= snd_.nxt) {
    // The other half of a simultaneous open: a SYN-ACK with the number that we know already (RFC
    // 9293 figure 7).
    if (on_ack(ctx, segment)) ack_ = ack_need::now;
  } else if (!segment.has(wire::ack)) {
    emit_syn(ctx);  // our SYN-ACK was lost
  } else {
    return false;
  }
  return true;
}

void connection::on_reset(context& ctx, seq sequence) {
  // RFC 5961 3.2.
  if (sequence != rcv_.next()) {
    challenge(ctx);
    return;
  }
  ctx.counters.add(counter::resets_received);
  const bool refused = state_ == tcp_state::syn_received;
  if (state_ == tcp_state::time_wait) return;  // RFC 1337
  // What has been received can still be read; what waits beyond a gap never will be.
  fail(ctx, refused ? std::errc::connection_refused : std::errc::connection_reset);
}

void connection::challenge(context& ctx) {
  // RFC 5961 7: at most one challenge in this time per connection, so that nobody can make us a
  // reflector, and no counter is shared between connections (CVE-2016-5696).
  if (!challenge_at_.never() && challenge_at_.since(ctx.now) < options_->challenge_interval) {
    ctx.counters.add(counter::challenge_acks_limited);
    return;
  }
  challenge_at_ = stamp(ctx.now);
  ctx.counters.add(counter::challenge_acks_sent);
  ack_ = ack_need::now;
}

void connection::on_data(context& ctx, const wire::tcp_segment& segment) {
  const auto begin = seq(segment.sequence) + (segment.has(wire::syn) ? 1u : 0u);
  auto bytes = segment.payload;
  bool fin = segment.has(wire::fin);
  if (bytes.empty() && !fin) return;
  if (ecn_ok_) note_marks(ctx, segment);
  if (rcv_.ended()) {
    // RFC 9293 3.10.7.4: nothing can follow a FIN. A repeated one is acknowledged.
    ack_ = ack_need::now;
    return;
  }
  const auto end = begin + static_cast<std::uint32_t>(bytes.size());
  auto at = begin;
  if (at < rcv_.next()) {
    const auto have = std::min<std::size_t>(bytes.size(), span_of(at, rcv_.next()));
    bytes = bytes.subspan(have);
    at += static_cast<std::uint32_t>(have);
  }
  if (!bytes.empty() && at + static_cast<std::uint32_t>(bytes.size()) > rcv_.edge()) {
    // What lies beyond the window is cut off, and the FIN with it.
    const auto room = at < rcv_.edge() ? span_of(at, rcv_.edge()) : 0u;
    bytes = bytes.first(std::min<std::size_t>(bytes.size(), room));
    fin = false;
    ctx.counters.add(counter::drop_tcp_out_of_window);
    ack_ = ack_need::now;
  }
  if (rcv_.end_seen() && !bytes.empty() &&
      at + static_cast<std::uint32_t>(bytes.size()) > rcv_.end()) {
    bytes = at < rcv_.end() ? bytes.first(span_of(at, rcv_.end())) : bytes.first(0);
  }
  if (!bytes.empty()) {
    if (orphaned_) {
      // RFC 9293 SHLD-3: nobody will read it.
      ctx.counters.add(counter::drop_tcp_after_close);
      emit_reset(ctx);
      finish(ctx, tcp_state::closed);
      return;
    }
    note_segment_size(segment);
    store(ctx, at, bytes, segment.segment_count());
  } else if (end <= rcv_.next() && !segment.payload.empty()) {
    ctx.counters.add(counter::drop_tcp_old_duplicate);
    ack_ = ack_need::now;
  }
  note_duplicate(begin, at);  // before what store() has found: the first part is reported
  if (fin && end >= rcv_.next() && rcv_.end_at(end) && !rcv_.at_end()) ack_ = ack_need::now;
  if (rcv_.at_end()) on_fin(ctx);
}

void connection::store(context& ctx, seq at, std::span<const std::byte> bytes,
                       std::uint32_t segments) {
  last_data_ = stamp(ctx.now);
  const bool had_gap = rcv_.has_gap();
  // RFC 2883 4: also where only a part of the segment was here already.
  if (had_gap && sack_ok_) {
    const auto [from, to] = rcv_.held_part(at, bytes.size());
    note_duplicate(from, to);
  }
  const auto got = rcv_.store(ctx, at, bytes);
  if (got.refused) {
    ctx.counters.add(counter::drop_tcp_memory);
    ack_ = ack_need::now;
  }
  if (got.advanced > 0) {
    if (receive_shut_)
      rcv_.queue().consume(ctx.pool, rcv_.queue().readable());
    else if (got.first)
      raise(ready::readable);
    if (had_gap)
      ack_ = ack_need::now;  // RFC 5681 4.2: a gap was filled, wholly or partly
    else
      schedule_ack(got.advanced, segments);
    return;
  }
  // Beyond a gap: at once, so that the sender learns of it (RFC 5681 3.2).
  ack_ = ack_need::now;
  ctx.counters.add(counter::out_of_order_segments);
  if (got.duplicate) {
    rcv_.report_first(setbacks_, at);  // RFC 2883 4: the block around the duplicate comes second
  } else if (got.beyond) {
    rcv_.report_first(setbacks_, at);
    ctx.counters.add(counter::duplicate_acks_sent);
  }
}

void connection::on_fin(context& ctx) {
  rcv_.take_end();
  ack_ = ack_need::now;
  raise(ready::readable);
  switch (state_) {
    case tcp_state::syn_received:
    case tcp_state::established: state_ = tcp_state::close_wait; break;
    case tcp_state::fin_wait_1:
      // Our FIN may still wait in the queue: CLOSING in either case.
      state_ = tcp_state::closing;
      break;
    case tcp_state::fin_wait_2: finish(ctx, tcp_state::time_wait); break;
    default: break;
  }
}

void connection::schedule_ack(std::uint32_t bytes, std::uint32_t segments) {
  if (quick_acks_ > 0) {
    ack_ = ack_need::now;  // the sender's window is opening: feed its clock
    return;
  }
  // RFC 9293 SHLD-19: every second full segment, a super-segment counted as what it carries.
  if (segments >= 2 || bytes > rcv_.mss() || span_of(rcv_.told(), rcv_.next()) > rcv_.mss())
    ack_ = ack_need::now;
  else if (ack_ == ack_need::none)
    ack_ = ack_need::delayed;
}

void connection::emit_window_update(context& ctx) {
  // Linux's rule: when the window could be twice what the peer believes it to be. One that is due
  // leaves with the flush anyway.
  if (rcv_.ended() || !synchronized() || ack_ == ack_need::now || !rcv_.window_moved()) return;
  emit_ack(ctx);
}

void connection::note_duplicate(seq from, seq to) {
  if (!sack_ok_ || from == to) return;
  auto& s = setbacks_.change();
  s.duplicate_from = from;
  s.duplicate_to = to;
}

// How many blocks are to be told, and fit beside `payload` bytes (RFC 9293 MUST-16).
std::size_t connection::sack_blocks(std::uint32_t payload) const {
  if (!has_sack()) return 0;
  const auto fit = mss_ > payload + sack_head ? (mss_ - payload - sack_head) / sack_block : 0u;
  return std::min<std::size_t>(
      {rcv_.ranges() + (setbacks_->has_duplicate() ? 1u : 0u), timestamps_ ? 3u : 4u, fit});
}

// What a segment with data may carry beside the blocks that it tells of.
std::uint32_t connection::data_mss() const {
  const auto blocks = static_cast<std::uint32_t>(sack_blocks(least_beside_sack));
  return blocks == 0 ? mss_ : mss_ - sack_head - blocks * sack_block;
}

}  // namespace weir::stack::tcp
