// What leaves: new data cut by windows, Nagle and cork, retransmissions in the room that recovery
// grants, FIN, and the one place that writes every acknowledgement (RFC 9293 3.8.6, 3.7.4). See
// connection.hpp.
#include <algorithm>

#include "stack/base/parts.hpp"
#include "stack/tcp/connection.hpp"
#include "stack/tcp/isn.hpp"
#include "stack/tcp/user_timeout.hpp"

namespace weir::stack::tcp {
namespace {

/// What one super-segment may carry: the IPv4 length field less headers.
constexpr std::uint32_t max_burst = 64000;

}  // namespace

wire::tcp_segment connection::base_segment(context& ctx, std::uint8_t flags, seq sequence) {
  wire::tcp_segment out;
  out.source = flow_.local.address;
  out.destination = flow_.remote.address;
  out.source_port = flow_.local.port;
  out.destination_port = flow_.remote.port;
  out.sequence = sequence.raw();
  out.flags = flags;
  out.traffic_class = static_cast<std::uint8_t>(options_->traffic_class & 0xfc);
  if ((flags & wire::ack) != 0) {
    out.acknowledgment = rcv_.next().raw();
    if ((flags & wire::rst) == 0)
      out.window =
          static_cast<std::uint16_t>(rcv_.select_window(ctx.pool.account()) >> rcv_.shift());
    if (ecn_echo_ && (flags & wire::rst) == 0) out.flags |= wire::ece;  // RFC 3168 6.1.3
  }
  if (timestamps_) {
    // RFC 7323 3.2: TSecr is valid only with ACK.
    out.options.timestamps = wire::tcp_timestamps{timestamp_clock(ctx.now, ts_offset_),
                                                  (flags & wire::ack) != 0 ? ts_recent_ : 0};
  }
  return out;
}

void connection::output(context& ctx) {
  output_due_ = paced_out_ = false;
  switch (state_) {
    case tcp_state::closed:
    case tcp_state::listen:
    case tcp_state::syn_sent: return;
    case tcp_state::syn_received:
    case tcp_state::time_wait: break;
    default:
      if (board_.lost() > board_.retransmitted()) retransmit_lost(ctx);
      if (setbacks_->path.running()) send_path_probe(ctx);
      send_new_data(ctx);
      if (snd_.idle() && !fin_sent_ && !paced_out_ && (snd_.nxt < data_end() || fin_queued_) &&
          setbacks_->cork_at.is_never())
        arm_persist(ctx);
      break;
  }
  if (ack_ == ack_need::now) {
    emit_ack(ctx);
  } else if (ack_ == ack_need::delayed && !timers_.runs(timer::delayed_ack)) {
    timers_.arm(timer::delayed_ack, ctx.now + options_->delayed_ack);
  }
}

bool connection::holds_small() const {
  if (fin_queued_) return false;
  if (corked_ || more_follows_) return true;
  // Nagle as Minshall amended it: only one small segment is out at a time (RFC 9293 3.7.4).
  return !options_->nodelay && small_end_ > snd_.una;
}

std::uint32_t connection::sendable(std::uint32_t mss) {
  const auto unsent = span_of(snd_.nxt, data_end());
  const auto edge = snd_.una + snd_.wnd;
  if (edge <= snd_.nxt) return 0;  // closed, or shrunk below what is out (RFC 9293 MUST-34)
  const auto usable = span_of(snd_.nxt, edge);
  const auto used = flight();
  const auto window = congestion_.window();
  const auto room = window > used ? window - used : 0;
  auto n = std::min({unsent, usable, burst_limit()});
  bool by_congestion = false;
  if (n > room) {
    n = room;
    by_congestion = window_limited_ = true;
  }
  if (n < unsent) {
    if (n >= mss) return n - n % mss;
    // A piece: never for want of congestion window; for want of the peer's only if it is half of
    // its largest (RFC 9293 3.8.6.2.1 (3)).
    if (by_congestion) return 0;
    return n * 2 >= snd_.max_wnd ? n : 0;
  }
  if (holds_small()) return n - n % mss;
  return n;
}

// Whether the FIN goes with `n` bytes, the last there are: it needs a place in the window too.
bool connection::fin_fits(std::uint32_t n) const {
  return fin_queued_ && snd_.nxt + n == data_end() && snd_.nxt + n < snd_.una + snd_.wnd;
}

// The scoreboard has room.
void connection::emit_new(context& ctx, std::uint32_t n, bool with_fin) {
  const auto from = snd_.nxt;
  const auto length = n + (with_fin ? 1u : 0u);
  if (n % data_mss() != 0) small_end_ = from + n;
  board_.push(from, length, ctx.now, with_fin);
  snd_.nxt += length;
  if (with_fin) fin_sent_ = true;
  emit_data(ctx, from, n, with_fin, transmission::fresh);
}

void connection::send_new_data(context& ctx) {
  if (fin_sent_) return;
  window_limited_ = false;
  const auto end = data_end();
  if (snd_.nxt == end && !fin_queued_) return;
  for (;;) {
    const auto unsent = span_of(snd_.nxt, end);
    if (unsent == 0 && !fin_queued_) return;
    const auto n = unsent > 0 ? sendable(data_mss()) : 0;
    if (unsent > 0 && n == 0) return;
    if (n > 0 && held_back(ctx)) return;
    const bool with_fin = fin_fits(n);
    if (unsent == 0 && !with_fin) return;
    if (!board_.reserve(ctx.pool)) return;
    emit_new(ctx, n, with_fin);
    const auto runs = timers_.about_sent();
    if (runs == timer::none || runs == timer::persist || runs == timer::tail_probe ||
        tail_probe_allowed())
      arm_retransmit(ctx);
    if (with_fin) return;
  }
}

void connection::retransmit_lost(context& ctx) {
  if (timeout_second_ack_) return;  // RFC 5682 2.1 step 2: new data first
  while (board_.lost() > board_.retransmitted()) {
    const auto i = board_.first_to_retransmit();
    if (i == board_.count()) return;
    const auto used = flight();
    const auto window = congestion_.window();
    const auto room = window > used ? window - used : 0;
    const auto wanted = std::min<std::uint32_t>(board_[i].length, mss_);
    if (room < wanted && used > 0) {
      window_limited_ = true;
      return;
    }
    if (options_->pacing && held_back(ctx)) return;
    const auto most = std::min(room, burst_limit()) / mss_ * mss_;
    if (!retransmit_record(ctx, i, std::max<std::uint32_t>(most, mss_))) return;
  }
}

bool connection::retransmit_record(context& ctx, std::uint32_t index, std::uint32_t most) {
  most = std::min(most, max_burst / mss_ * mss_);
  if (board_[index].length > most && !board_.split(ctx.pool, index, most)) return false;
  board_.mark_retransmitted(index, ctx.now);
  const auto r = board_[index];
  const bool with_fin = r.has(sent_record::fin);
  const auto bytes = r.length - (with_fin ? 1u : 0u);
  const auto segments = std::max(1u, (bytes + mss_ - 1) / mss_);
  auto& s = setbacks_.change();
  s.retransmissions += segments;
  s.bytes_retransmitted += bytes;
  if (congestion_state_ != congestion_state::open) s.undo_bytes += bytes;
  ctx.counters.add_sent_again(flow_.local, flow_.remote, segments, bytes);
  emit_data(ctx, r.start, bytes, with_fin, transmission::again);
  if (timers_.runs(timer::none) || timers_.runs(timer::persist)) arm_retransmit(ctx);
  return true;
}

void connection::emit_data(context& ctx, seq from, std::uint32_t length, bool with_fin,
                           transmission what) {
  part_room<ip_layer::max_parts> parts;
  if (what != transmission::again && (snd_.una >= peak_end_ || flight() > peak_flight_)) {
    peak_flight_ = flight();
    peak_end_ = snd_.nxt;
  }
  const bool fresh = what == transmission::fresh || what == transmission::path_probe;
  do {
    std::size_t count = 0;
    auto taken = static_cast<std::uint32_t>(
        out_.gather(span_of(snd_.una, from), length, parts.from(0), count));
    if (taken == 0 && length > 0)
      return;  // nothing there to send: a record never reaches beyond the queue
    if (taken < length && taken > mss_) {
      // Many small chunks: end on a segment's border and go on with the rest.
      auto surplus = taken % mss_;
      taken -= surplus;
      while (surplus > 0) {
        const auto cut = std::min<std::size_t>(surplus, parts[count - 1].size());
        parts[count - 1] = parts[count - 1].first(parts[count - 1].size() - cut);
        surplus -= static_cast<std::uint32_t>(cut);
        if (parts[count - 1].empty()) --count;
      }
    }
    const bool last = taken == length;
    std::uint8_t flags = wire::ack;
    if (last && with_fin) flags |= wire::fin;
    // RFC 9293 MUST-61: PSH where the queue ends.
    if (taken > 0 && from + taken == data_end()) flags |= wire::psh;
    if (fresh && taken > 0 && cwr_due_) {
      flags |= wire::cwr;  // RFC 3168 6.1.2: new data only, as it must arrive
      cwr_due_ = false;
    }
    auto segment = base_segment(ctx, flags, from);
    if (fresh && taken > 0 && sends_ect())
      segment.ecn = static_cast<std::uint8_t>(wire::ecn_mark::ect0);
    const auto mss = data_mss();
    rcv_.write_sack(segment.options, *setbacks_, sack_blocks(taken > 0 ? least_beside_sack : 0));
    if (user_timeout_due_ && taken + 4 <= mss) {  // where it costs no second packet
      segment.options.user_timeout = encode_user_timeout(announced_user_timeout());
      user_timeout_due_ = false;
    }
    const bool cut = taken > mss && what != transmission::path_probe;
    if (cut) segment.gso_size = static_cast<std::uint16_t>(mss);
    segments_sent_ += cut ? (taken + mss - 1) / mss : 1;
    bytes_sent_ += what == transmission::again ? 0 : taken;
    if (congestion_state_ == congestion_state::recovery ||
        congestion_state_ == congestion_state::reduced)
      setbacks_.change().prr_out += taken;
    pace(ctx, taken);
    last_sent_ = ctx.now;
    // An answer soon after data: a dialogue, whose answers carry the acknowledgements (Linux's
    // pingpong mode).
    if (quick_acks_ > 0 && !last_data_.never() && last_data_.since(ctx.now) < options_->delayed_ack)
      quick_acks_ = 0;
    acknowledged_now(ctx);
    ctx.out.send_segment(ctx.now, segment, parts.first(count), options_->ttl);
    from += taken;
    length -= taken;
  } while (length > 0);
}

void connection::acknowledged_now(context&) {
  ack_ = ack_need::none;
  timers_.disarm(timer::delayed_ack);
  rcv_.tell();
  if (auto* s = setbacks_.get()) s->duplicate_from = s->duplicate_to;
}

void connection::emit_ack(context& ctx) {
  auto segment = base_segment(ctx, wire::ack, bare_sequence());
  rcv_.write_sack(segment.options, *setbacks_, sack_blocks(0));
  if (user_timeout_due_ && segment.options.sack_count == 0) {
    segment.options.user_timeout = encode_user_timeout(announced_user_timeout());
    user_timeout_due_ = false;
  }
  if (quick_acks_ > 0) --quick_acks_;
  acknowledged_now(ctx);
  ++segments_sent_;
  ctx.out.send_segment(ctx.now, segment, {}, options_->ttl);
}

void connection::emit_control(context& ctx, std::uint8_t flags, seq sequence) {
  const auto segment = base_segment(ctx, flags, sequence);
  ++segments_sent_;
  if ((flags & wire::rst) != 0) ctx.counters.add(counter::resets_sent);
  ctx.out.send_segment(ctx.now, segment, {}, options_->ttl);
}

void connection::emit_reset(context& ctx) {
  emit_control(ctx, wire::rst | wire::ack, bare_sequence());
}

void connection::emit_syn(context& ctx) {
  const bool answering = state_ == tcp_state::syn_received;
  wire::tcp_segment out;
  out.source = flow_.local.address;
  out.destination = flow_.remote.address;
  out.source_port = flow_.local.port;
  out.destination_port = flow_.remote.port;
  out.sequence = snd_.iss.raw();
  out.flags = wire::syn;
  // RFC 3168 6.1.1: asked for in the first SYN only, as some middlebox may drop it for that.
  if (answering ? ecn_ok_ : options_->ecn == ecn_mode::request && syn_retransmissions_ == 0)
    out.flags |= static_cast<std::uint8_t>(answering ? wire::ece : wire::ece | wire::cwr);
  out.traffic_class = static_cast<std::uint8_t>(options_->traffic_class & 0xfc);
  out.window = syn_window(options_->receive_buffer);
  out.options.mss = offered_mss(mtu_, flow_.local.address.family(), *options_);
  // A SYN-ACK offers only what the SYN offered (RFC 7323 2.2, 3.2; RFC 2018 2).
  if (answering ? sack_ok_ : options_->sack) out.options.sack_permitted = true;
  if (answering ? timestamps_ : options_->timestamps) {
    out.options.timestamps =
        wire::tcp_timestamps{timestamp_clock(ctx.now, ts_offset_), answering ? ts_recent_ : 0};
  }
  if (answering ? scaling_ : options_->window_scaling) out.options.window_scale = rcv_.shift();
  if (options_->user_timeout_option)
    out.options.user_timeout = encode_user_timeout(announced_user_timeout());
  if (answering) {
    out.flags |= wire::ack;
    out.acknowledgment = rcv_.next().raw();
    acknowledged_now(ctx);
  }
  ++segments_sent_;
  last_sent_ = ctx.now;
  ctx.out.send_segment(ctx.now, out, {}, options_->ttl);
}

}  // namespace weir::stack::tcp
