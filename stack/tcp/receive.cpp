// What arrives (RFC 9293 3.10.7): acceptability, resets, SYNs, data, FIN, and the decision when to
// acknowledge. The acknowledgement field is acknowledge.cpp's. See connection.hpp.
#include <algorithm>

#include "tcp/connection.hpp"
#include "tcp/isn.hpp"

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
         seq(segment.sequence) == rcv_nxt_ && segment.payload.size() <= window_left() &&
         segment.options.timestamps.has_value() == timestamps_ &&
         (!timestamps_ ||
          static_cast<std::int32_t>(segment.options.timestamps->value - ts_recent_) >= 0) &&
         !segment.options.user_timeout && !fin_seen_ && !orphaned_;
}

// What on_segment() does with an expected segment, less the questions whose answers are known.
void connection::on_expected(context& ctx, const wire::tcp_segment& segment) {
  segments_received_ += segment.segment_count();
  if (!on_ack(ctx, segment)) return;
  note_life(ctx);
  note_timestamp(ctx, segment, rcv_nxt_);
  if (state_ == tcp_state::closed || segment.payload.empty()) return;
  if (ecn_ok_) note_marks(ctx, segment);
  note_segment_size(segment);
  store(ctx, rcv_nxt_, segment.payload, segment.segment_count());
}

// RFC 7323 4.3: the timestamp to echo is that of the segment which the next acknowledgement covers
// first. Of segments alone whose acknowledgement was good: else a stranger could set a time by
// which the peer's own segments are old (RFC 5961 5.2, RFC 7323 5.3).
void connection::note_timestamp(context& ctx, const wire::tcp_segment& segment, seq sequence) {
  if (!timestamps_ || !segment.options.timestamps || sequence > last_ack_sent_) return;
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
  if (size > rcv_mss_)
    rcv_mss_ = std::max<std::uint32_t>(
        rcv_mss_, std::min<std::uint32_t>(size, mss_for_mtu(mtu_, flow_.local.address.family())));
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
  if (segment.has(wire::ack) && plausible(seq(segment.acknowledgment))) note_life(ctx);
  // A reset is judged by its number alone, whatever it carries: it counts with a closed window too
  // (RFC 9293 MUST-66, SHLD-2).
  if (!acceptable(sequence, segment.has(wire::rst) ? 0 : segment.sequence_length())) {
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
  if (has_ack && (ack <= iss_ || ack > nxt_)) {
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
  irs_ = seq(segment.sequence);
  rcv_nxt_ = last_ack_sent_ = irs_ + 1;
  rcv_edge_ = rcv_nxt_ + syn_window(options_->receive_buffer);
  const auto& theirs = segment.options;
  timestamps_ = options_->timestamps && theirs.timestamps.has_value();
  sack_ok_ = options_->sack && theirs.sack_permitted;
  scaling_ = options_->window_scaling && theirs.window_scale.has_value();
  snd_shift_ = scaling_ ? std::min(*theirs.window_scale, max_window_shift) : std::uint8_t{0};
  if (!scaling_) rcv_shift_ = 0;
  if (timestamps_) {
    ts_recent_ = theirs.timestamps->value;
    ts_recent_at_ = seconds(ctx.now);
  }
  // 0 is "no option" to us; a peer that says so is clamped like any other tiny one.
  peer_mss_ = theirs.mss ? std::max<std::uint16_t>(*theirs.mss, 1) : std::uint16_t{0};
  snd_wnd_ = max_wnd_ = segment.window;  // never scaled in a SYN (RFC 7323 2.2)
  wl1_ = irs_;
  wl2_ = ack;
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
  una_ = ack;
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

bool connection::acceptable(seq sequence, std::uint32_t length) const {
  // RFC 9293 3.10.7.4, the four cases.
  const auto window = window_left();
  if (length == 0) {
    if (window == 0) return sequence == rcv_nxt_;
    return rcv_nxt_ <= sequence && sequence < rcv_edge_;
  }
  if (window == 0) return false;
  const auto last = sequence + (length - 1);
  return (rcv_nxt_ <= sequence && sequence < rcv_edge_) || (rcv_nxt_ <= last && last < rcv_edge_) ||
         (sequence < rcv_nxt_ && last >= rcv_edge_);
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
  const bool old = length > 0 && sequence + length <= rcv_nxt_;
  ctx.counters.add(old ? counter::drop_tcp_old_duplicate : counter::drop_tcp_out_of_window);
  // With a zero window valid ACKs, URGs and RSTs are still processed (RFC 9293 3.10.7.4): one that
  // begins at RCV.NXT.
  if (segment.has(wire::ack) && sequence == rcv_nxt_) (void)on_ack(ctx, segment);
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
  if (state_ != tcp_state::syn_received || seq(segment.sequence) != irs_) return false;
  const auto ack = seq(segment.acknowledgment);
  if (segment.has(wire::ack) && una_ < ack && ack <= nxt_) {
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
  if (sequence != rcv_nxt_) {
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
  if (fin_received_) {
    // RFC 9293 3.10.7.4: nothing can follow a FIN. A repeated one is acknowledged.
    ack_ = ack_need::now;
    return;
  }
  const auto end = begin + static_cast<std::uint32_t>(bytes.size());
  auto at = begin;
  if (at < rcv_nxt_) {
    const auto have = std::min<std::size_t>(bytes.size(), span_of(at, rcv_nxt_));
    bytes = bytes.subspan(have);
    at += static_cast<std::uint32_t>(have);
  }
  if (!bytes.empty() && at + static_cast<std::uint32_t>(bytes.size()) > rcv_edge_) {
    // What lies beyond the window is cut off, and the FIN with it.
    const auto room = at < rcv_edge_ ? span_of(at, rcv_edge_) : 0u;
    bytes = bytes.first(std::min<std::size_t>(bytes.size(), room));
    fin = false;
    ctx.counters.add(counter::drop_tcp_out_of_window);
    ack_ = ack_need::now;
  }
  if (fin_seen_ && !bytes.empty() && at + static_cast<std::uint32_t>(bytes.size()) > fin_at_) {
    bytes = at < fin_at_ ? bytes.first(span_of(at, fin_at_)) : bytes.first(0);
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
  } else if (end <= rcv_nxt_ && !segment.payload.empty()) {
    ctx.counters.add(counter::drop_tcp_old_duplicate);
    ack_ = ack_need::now;
  }
  note_duplicate(begin, at);  // before what store() has found: the first part is reported
  if (fin && !fin_seen_ && end >= rcv_nxt_) {
    fin_seen_ = true;
    fin_at_ = end;
    if (rcv_nxt_ != fin_at_) ack_ = ack_need::now;
  }
  if (fin_seen_ && rcv_nxt_ == fin_at_) on_fin(ctx);
}

void connection::store(context& ctx, seq at, std::span<const std::byte> bytes,
                       std::uint32_t segments) {
  using status = buffer::receive_queue::status;
  last_data_ = stamp(ctx.now);
  const auto before = in_.next_offset();
  const auto was_readable = in_.readable();
  const bool had_gap = in_.out_of_order() > 0;
  // RFC 2883 4: also where only a part of the segment was here already.
  if (had_gap && sack_ok_) {
    const auto [from, to] = held_part(at, bytes.size());
    note_duplicate(from, to);
  }
  const auto out_of_order_before = in_.out_of_order();
  auto limit = 2 * rcv_space_ + 2 * 2080;
  if (const auto& memory = ctx.pool.account(); memory.pressure())
    limit = static_cast<std::uint32_t>(std::min<std::uint64_t>(limit, memory.receive_share()));
  auto outcome = in_.insert(ctx.pool, before + span_of(rcv_nxt_, at), bytes, limit);
  // What lies beyond a gap must not keep out what fills it, or the connection would stand still: it
  // goes, from the far end (RFC 2018 8).
  while (outcome == status::no_memory && at == rcv_nxt_ && in_.drop_farthest(ctx.pool)) {
    ctx.counters.add(counter::drop_tcp_memory);
    const auto stored = static_cast<std::size_t>(in_.next_offset() - before);
    if (stored >= bytes.size()) break;
    outcome = in_.insert(ctx.pool, in_.next_offset(), bytes.subspan(stored), limit);
  }
  const auto advanced = static_cast<std::uint32_t>(in_.next_offset() - before);
  if (outcome == status::no_memory || outcome == status::no_range) {
    ctx.counters.add(counter::drop_tcp_memory);
    ack_ = ack_need::now;
  }
  rcv_nxt_ += advanced;
  if (advanced > 0) {
    if (receive_shut_)
      in_.consume(ctx.pool, in_.readable());
    else if (was_readable == 0)
      raise(ready::readable);
    if (had_gap)
      ack_ = ack_need::now;  // RFC 5681 4.2: a gap was filled, wholly or partly
    else
      schedule_ack(advanced, segments);
    return;
  }
  // Beyond a gap: at once, so that the sender learns of it (RFC 5681 3.2).
  ack_ = ack_need::now;
  ctx.counters.add(counter::out_of_order_segments);
  if (outcome == status::duplicate) {
    report_first(at);  // RFC 2883 4: the block around the duplicate comes second
  } else if (in_.out_of_order() > out_of_order_before) {
    report_first(at);
    ctx.counters.add(counter::duplicate_acks_sent);
  }
}

void connection::on_fin(context& ctx) {
  fin_received_ = true;
  rcv_nxt_ += 1;
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
  if (segments >= 2 || bytes > rcv_mss_ || span_of(last_ack_sent_, rcv_nxt_) > rcv_mss_)
    ack_ = ack_need::now;
  else if (ack_ == ack_need::none)
    ack_ = ack_need::delayed;
}

std::uint32_t connection::free_space() const {
  auto used = in_.readable();
  // What is lent is not free, and counts at half its true size at least: the queue is charged for
  // twice the window at most, so that the window closes before the memory is refused.
  if (const auto lent = in_.lent(); lent != 0) used = std::max(used + lent, in_.charged() / 2);
  return used < rcv_space_ ? rcv_space_ - used : 0;
}

std::uint32_t connection::select_window(const context& ctx) {
  // One place decides every window. The right edge moves right by a segment or half the buffer at
  // least (RFC 9293 3.8.6.2.2), and never left (SHLD-14).
  const auto unit = 1u << rcv_shift_;
  auto space = std::min<std::uint64_t>(free_space(), std::uint64_t{65535} << rcv_shift_);
  const auto& memory = ctx.pool.account();
  if (memory.pressure()) {
    // Two segments out of the reserve for who reads what comes.
    const auto least = in_.readable() == 0 ? std::uint64_t{2} * rcv_mss_ : 0;
    space = std::min(space, std::max(memory.share(), least));
  }
  const auto rounded = static_cast<std::uint32_t>(space) & ~(unit - 1);
  const auto left = window_left();
  const auto step = std::max(1u, std::min(rcv_space_ / 2, rcv_mss_));
  if (rounded >= left + step) rcv_edge_ = rcv_nxt_ + rounded;
  auto window = window_left();
  if ((window & (unit - 1)) != 0) {
    // What was advertised is honoured; a remainder that the shift cannot say is rounded up while
    // there is room.
    if (space >= unit) {
      window = std::min((window | (unit - 1)) + 1, 65535u << rcv_shift_);
      rcv_edge_ = later(rcv_edge_, rcv_nxt_ + window);
    } else {
      window &= ~(unit - 1);
    }
  }
  return std::min(window, 65535u << rcv_shift_);
}

void connection::emit_window_update(context& ctx) {
  if (fin_received_ || !synchronized()) return;
  const auto left = window_left();
  const auto space = free_space();
  const auto step = std::max(1u, std::min(rcv_space_ / 2, rcv_mss_));
  // Linux's rule: when the window could be twice what the peer believes it to be.
  if (space < left + step || space / 2 < left) return;
  if (ack_ == ack_need::now) return;  // it leaves with the flush anyway
  emit_ack(ctx);
}

void connection::tune_receive_buffer(context& ctx) {
  // The reader took this much in a round trip: twice as much must fit, or the window would be the
  // limit (Linux's dynamic right-sizing).
  const auto round_trip = std::max<duration>(rtt_.smoothed(), std::chrono::microseconds(100));
  if (ctx.now - tune_at_ < round_trip) return;
  const auto most = options_->receive_buffer;
  if (tune_taken_ > rcv_space_ / 2 && rcv_space_ < most && !ctx.pool.account().pressure()) {
    const auto wanted =
        std::min<std::uint64_t>(std::uint64_t{tune_taken_} * 2 + 16 * rcv_mss_, most);
    rcv_space_ = std::max(rcv_space_, static_cast<std::uint32_t>(wanted));
  }
  tune_taken_ = 0;
  tune_at_ = ctx.now;
}

void connection::note_duplicate(seq from, seq to) {
  if (!sack_ok_ || from == to) return;
  auto& s = setbacks_.change();
  s.duplicate_from = from;
  s.duplicate_to = to;
}

std::size_t connection::range_of(seq at) const {
  const auto ranges = in_.ranges();
  if (at < rcv_nxt_) return ranges.size();
  const auto offset = in_.next_offset() + span_of(rcv_nxt_, at);
  const auto found =
      std::upper_bound(ranges.begin(), ranges.end(), offset,
                       [](std::uint64_t value, const auto& r) { return value < r.end; });
  if (found == ranges.end() || found->begin > offset) return ranges.size();
  return static_cast<std::size_t>(found - ranges.begin());
}

void connection::report_first(seq at) {
  // RFC 2018 4: what was reported of late is repeated, so that each block is told several times.
  // What has grown together with this range needs no place of its own.
  const auto range = range_of(at);
  if (range == in_.ranges().size()) return;
  std::size_t kept = 1;
  std::array<seq, 4> fresh{at, at, at, at};
  for (const auto mark : setbacks_->reported) {
    const auto other = range_of(mark);
    if (other != range && other != in_.ranges().size() && kept < fresh.size()) fresh[kept++] = mark;
  }
  setbacks_.change().reported = fresh;
}

// The first part of [at, at + length) that is held beyond a gap; empty where nothing is.
std::pair<seq, seq> connection::held_part(seq at, std::size_t length) const {
  const auto from = in_.next_offset() + span_of(rcv_nxt_, at);
  const auto to = from + length;
  const auto ranges = in_.ranges();
  const auto found =
      std::upper_bound(ranges.begin(), ranges.end(), from,
                       [](std::uint64_t value, const auto& r) { return value < r.end; });
  if (found == ranges.end() || found->begin >= to) return {at, at};
  const auto place = [&](std::uint64_t offset) {
    return at + static_cast<std::uint32_t>(offset - from);
  };
  return {place(std::max(found->begin, from)), place(std::min(found->end, to))};
}

// How many blocks are to be told, and fit beside `payload` bytes (RFC 9293 MUST-16).
std::size_t connection::sack_blocks(std::uint32_t payload) const {
  if (!has_sack()) return 0;
  const auto fit = mss_ > payload + sack_head ? (mss_ - payload - sack_head) / sack_block : 0u;
  return std::min<std::size_t>(
      {in_.ranges().size() + (has_duplicate() ? 1u : 0u), timestamps_ ? 3u : 4u, fit});
}

// What a segment with data may carry beside the blocks that it tells of.
std::uint32_t connection::data_mss() const {
  const auto blocks = static_cast<std::uint32_t>(sack_blocks(least_beside_sack));
  return blocks == 0 ? mss_ : mss_ - sack_head - blocks * sack_block;
}

void connection::write_sack(wire::tcp_option_set& options, std::size_t room) const {
  if (room == 0) return;
  const auto ranges = in_.ranges();
  std::size_t n = 0;
  // RFC 2883 4: a duplicate comes first, once.
  if (has_duplicate())
    options.sack[n++] = {setbacks_->duplicate_from.raw(), setbacks_->duplicate_to.raw()};
  // RFC 2018 4: the block that the newest segment belongs to, then those reported before it, then
  // any others.
  std::size_t listed[4];
  std::size_t count = 0;
  const auto add = [&](std::size_t i) {
    if (n == room || i >= ranges.size() || std::find(listed, listed + count, i) != listed + count)
      return;
    listed[count++] = i;
    const auto as_seq = [&](std::uint64_t offset) {
      return rcv_nxt_ + static_cast<std::uint32_t>(offset - in_.next_offset());
    };
    options.sack[n++] = {as_seq(ranges[i].begin).raw(), as_seq(ranges[i].end).raw()};
  };
  for (const auto mark : setbacks_->reported) add(range_of(mark));
  for (auto i = ranges.size(); i-- > 0 && n < room;) add(i);
  options.sack_count = static_cast<std::uint8_t>(n);
}

}  // namespace weir::stack::tcp
