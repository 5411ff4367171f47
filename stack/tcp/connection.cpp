// Opening, closing and the user's calls (RFC 9293 3.9.1, 3.10.1-3.10.6). See connection.hpp.
#include "stack/tcp/connection.hpp"

#include <algorithm>

#include "stack/tcp/isn.hpp"

namespace weir::stack::tcp {
namespace {

constexpr std::uint32_t initial_send_space = 256u << 10;
constexpr duration cork_limit = std::chrono::milliseconds(200);
/// With the host's memory full and nothing queued, no acknowledgement will say when to try again:
/// this does.
constexpr duration memory_retry = std::chrono::milliseconds(10);
/// Fewer bytes than this are copied rather than kept for the send queue.
constexpr std::size_t least_kept = 256;
/// What the ends of a send queue may waste: a chunk that is partly acknowledged, and one that is
/// partly filled.
constexpr std::uint64_t most_slack = 2 * (65536 + sizeof(buffer::chunk));

}  // namespace

std::uint16_t mss_for_mtu(std::uint16_t mtu, ip_family family) {
  const int headers = family == ip_family::v4 ? 40 : 60;
  return static_cast<std::uint16_t>(std::max<int>(mtu - headers, least_path_mss));
}

std::uint16_t offered_mss(std::uint16_t mtu, ip_family family, const tcp_options& options) {
  const auto most = mss_for_mtu(mtu, family);
  if (options.max_segment == 0) return most;
  return std::min(most, std::max(options.max_segment, least_path_mss));
}

std::uint8_t window_shift_for(std::uint32_t receive_buffer) {
  std::uint8_t shift = 0;
  while (shift < max_window_shift && (65535u << shift) < receive_buffer) ++shift;
  return shift;
}

std::uint16_t syn_window(std::uint32_t receive_buffer) {
  return static_cast<std::uint16_t>(
      std::min<std::uint32_t>({receive_buffer, initial_receive_space, 65535}));
}

void connection::open_active(context& ctx, seq iss, std::uint32_t timestamp_offset,
                             std::uint16_t mtu) {
  active_ = true;
  state_ = tcp_state::syn_sent;
  snd_.begin(iss, iss + 1);
  recover_ = reduced_end_ = iss;
  ts_offset_ = timestamp_offset;
  mtu_ = mtu;
  rcv_.prepare(options_->receive_buffer, options_->window_scaling
                                             ? window_shift_for(options_->receive_buffer)
                                             : std::uint8_t{0});
  last_sent_ = ctx.now;
  progress_at_ = last_received_ = stamp(ctx.now);
  emit_syn(ctx);
  arm_retransmit(ctx);
}

void connection::open_passive(context& ctx, const handshake& agreed) {
  state_ = tcp_state::established;
  snd_.begin(agreed.iss, agreed.iss + 1);
  snd_.una = snd_.nxt;
  recover_ = reduced_end_ = agreed.iss;
  syn_acked_ = true;
  scaling_ = agreed.scaling;
  rcv_.prepare(options_->receive_buffer, scaling_ ? agreed.our_shift : std::uint8_t{0});
  rcv_.begin(agreed.irs, agreed.our_window);
  snd_.shift = scaling_ ? std::min(agreed.peer_shift, max_window_shift) : std::uint8_t{0};
  sack_ok_ = agreed.sack;
  timestamps_ = agreed.timestamps;
  ecn_ok_ = agreed.ecn;
  ts_offset_ = agreed.timestamp_offset;
  ts_recent_ = agreed.peer_timestamp;
  ts_recent_at_ = seconds(ctx.now);
  peer_mss_ = agreed.peer_mss;
  mtu_ = agreed.mtu;
  snd_.open_window(agreed.peer_window, agreed.irs, snd_.una);
  syn_retransmissions_ = agreed.retransmissions;
  if (agreed.rtt.count() > 0) rtt_.sample(agreed.rtt, ctx.now);
  become_established(ctx);
}

void connection::become_established(context& ctx) {
  state_ = tcp_state::established;
  start_path_search();
  congestion_.start(options_->congestion, mss_, mss_);
  set_mss(peer_mss_);
  // RFC 6928 2; a handshake that lost more than one SYN starts with one segment (RFC 5681 3.1).
  congestion_.start(options_->congestion, mss_, syn_retransmissions_ > 1 ? mss_ : initial_window());
  rcv_.start(mss_, ctx.now);
  attempts_ = 0;
  backoff_ = 0;
  soft_error_ = {};
  small_end_ = snd_.una;
  rack_.start(snd_.una);
  last_sent_ = ctx.now;
  progress_at_ = last_received_ = stamp(ctx.now);
  timers_.stop_about_sent();
  if (ecn_ok_) ctx.counters.add(counter::ecn_connections);
  // RFC 5482 3.2: a SYN may have been dropped, or answered from a cookie, so it is said again.
  user_timeout_due_ = options_->user_timeout_option;
  arm_keep(ctx);
}

void connection::set_mss(std::uint16_t peer) {
  const auto family = flow_.local.address.family();
  peer_mss_ = peer >= least_path_mss    ? peer
              : peer != 0               ? min_mss
              : family == ip_family::v4 ? default_mss_v4
                                        : default_mss_v6;
  if (options_->max_segment != 0)
    peer_mss_ = std::min(peer_mss_, std::max(options_->max_segment, least_path_mss));
  const auto whole = std::min(peer_mss_, mss_for_mtu(mtu_, family));
  // RFC 9293 MUST-16: options that every segment carries come off.
  mss_ = static_cast<std::uint16_t>(whole - (timestamps_ ? 12 : 0));
  congestion_.set_mss(mss_);
}

std::uint32_t connection::initial_window() const {
  // RFC 6928 2: ten segments of the usual size, fewer of larger ones, but two.
  const std::uint32_t segments = options_->initial_window, mss = mss_;
  return std::min(segments * mss, std::max(2 * mss, segments * 1460));
}

std::uint32_t connection::send_limit() const {
  const auto tuned =
      std::max<std::uint64_t>(initial_send_space, std::uint64_t{congestion_.window()} * 2);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(tuned, options_->send_buffer));
}

// How much may be queued now.
result<std::uint32_t> connection::send_room(const context& ctx) {
  if (error_ != std::errc{}) return error();
  if (state_ == tcp_state::syn_sent || state_ == tcp_state::syn_received) {
    if (fin_queued_) return std::errc::broken_pipe;
    want_writable_ = true;
    return std::errc::operation_would_block;
  }
  if (fin_queued_ || !may_send()) return std::errc::broken_pipe;
  const auto limit = send_limit();
  // At its true size: views of large chunks can cost more than they carry.
  if (out_.size() >= limit || out_.charged() > 2 * std::uint64_t{limit} + most_slack)
    return std::uint32_t{0};
  const auto room = limit - out_.size();
  const auto& memory = ctx.pool.account();
  return memory.pressure() ? std::min(room, share_of(memory)) : room;
}

// Peers that do not read must not take the rest of the host's memory: each connection may be
// charged for an eighth of what is left, as windows are, and for a little of the reserve.
std::uint32_t connection::share_of(const buffer::memory_account& memory) const {
  const auto share = memory.send_share();
  const auto charged = out_.charged();
  if (share < charged + buffer::chunk_pool::cost(1)) return out_.spare();
  const auto left = std::min<std::uint64_t>(share - charged, buffer::chunk_pool::cost(SIZE_MAX));
  return out_.spare() + buffer::chunk_pool::grown(left - sizeof(buffer::chunk));
}

result<std::size_t> connection::send(context& ctx,
                                     std::span<const std::span<const std::byte>> parts, bool more) {
  const auto room = send_room(ctx);
  if (!room) return room.error();
  std::size_t offered = 0;
  for (auto part : parts) offered += part.size();
  if (offered == 0) return std::size_t{0};
  more_follows_ = more;
  const auto was_idle = snd_.idle() && out_.empty();
  const auto taken = *room == 0 ? 0 : out_.append(ctx.pool, parts, *room);
  return queued(ctx, taken, offered, was_idle);
}

result<std::size_t> connection::send_kept(context& ctx, buffer::chunk& keeper,
                                          std::span<const std::byte> bytes, std::uint32_t whole,
                                          bool more) {
  const auto room = send_room(ctx);
  if (!room) return room.error();
  if (bytes.empty()) return std::size_t{0};
  more_follows_ = more;
  const auto was_idle = snd_.idle() && out_.empty();
  const auto n = std::min<std::size_t>(bytes.size(), *room);
  // A little is cheaper copied than kept, and a small part of a large chunk would keep all of it.
  const auto cost = std::uint64_t{keeper.true_size()} +
                    (keeper.kind == buffer::chunk_kind::foreign ? keeper.offset : 0);
  std::size_t taken = 0;
  if (n > least_kept && cost <= 4 * std::uint64_t{whole}) {
    const auto share = static_cast<std::uint32_t>((cost * n + whole - 1) / whole);
    if (out_.append_view(ctx.pool, keeper, bytes.first(n), share)) taken = n;
  } else if (n > 0) {
    taken = out_.append(ctx.pool, {&bytes, 1}, n);
  }
  return queued(ctx, taken, bytes.size(), was_idle);
}

result<std::size_t> connection::queued(context& ctx, std::size_t taken, std::size_t offered,
                                       bool was_idle) {
  if (taken < offered) want_writable_ = true;
  if (taken == 0) {
    if (out_.empty()) set_cork_end(std::min(setbacks_->cork_at, ctx.now + memory_retry));
    return std::errc::operation_would_block;
  }
  if (was_idle) {
    progress_at_ = stamp(ctx.now);
    // RFC 5681 4.1: after an idle time longer than the timeout the window starts again.
    if (ctx.now - last_sent_ > current_rto()) {
      congestion_.restart_after_idle(initial_window());
    }
  }
  const bool held = corked_ || more_follows_;
  if (held == setbacks_->cork_at.is_never())
    set_cork_end(held ? ctx.now + cork_limit : instant::never());
  after_user_call(ctx);
  return taken;
}

void connection::after_user_call(context& ctx) { output(ctx); }

void connection::raise_writable() {
  if (!want_writable_ || !may_send() || fin_queued_) return;
  // A third of the bound free, or nothing queued: no event for every acknowledged segment.
  if (!out_.empty() && std::uint64_t{out_.size()} * 3 > std::uint64_t{send_limit()} * 2) return;
  want_writable_ = false;
  raise(ready::writable);
}

// Why nothing is there to be read; no error: the end of the stream.
std::error_code connection::nothing_readable() const {
  if (rcv_.ended() || receive_shut_) return {};
  if (error_ != std::errc{}) return error();
  return std::make_error_code(state_ == tcp_state::closed ? std::errc::not_connected
                                                          : std::errc::operation_would_block);
}

void connection::was_read(context& ctx, std::size_t n) {
  rcv_.note_read(ctx, n, rtt_.smoothed(), options_->receive_buffer);
}

result<std::size_t> connection::receive(context& ctx, std::span<std::byte> into) {
  if (rcv_.queue().readable() == 0) {
    if (const auto why = nothing_readable()) return why;
    return std::size_t{0};
  }
  const auto n = rcv_.queue().read(ctx.pool, into);
  was_read(ctx, n);
  emit_window_update(ctx);
  return n;
}

result<buffer::chunk*> connection::lend(context& ctx) {
  const auto n = rcv_.queue().peek().size();
  if (n == 0) {
    if (const auto why = nothing_readable()) return why;
    return nullptr;
  }
  auto* chunk = rcv_.queue().lend(ctx.pool);
  // It was read, but nothing is free yet: the window moves when it comes back.
  was_read(ctx, n);
  return chunk;
}

void connection::take_back(context& ctx, buffer::chunk* chunk, std::uint32_t n) {
  rcv_.queue().take_back(ctx.pool, chunk, n);
  emit_window_update(ctx);
}

void connection::consume(context& ctx, std::size_t n) {
  n = std::min<std::size_t>(n, rcv_.queue().readable());
  if (n == 0) return;
  rcv_.queue().consume(ctx.pool, static_cast<std::uint32_t>(n));
  was_read(ctx, n);
  emit_window_update(ctx);
}

std::error_code connection::shutdown_send(context& ctx) {
  if (error_ != std::errc{}) return error();
  if (fin_queued_) return {};
  if (!may_send() && state_ != tcp_state::syn_received)
    return std::make_error_code(std::errc::not_connected);
  // What begins to wait now gets the user timeout of its own.
  if (snd_.idle() && out_.empty()) progress_at_ = stamp(ctx.now);
  fin_queued_ = true;
  corked_ = more_follows_ = false;
  set_cork_end(instant::never());
  // The state says that the FIN is on its way, also while it waits behind queued bytes (as Linux).
  if (state_ == tcp_state::established) state_ = tcp_state::fin_wait_1;
  if (state_ == tcp_state::close_wait) state_ = tcp_state::last_ack;
  after_user_call(ctx);
  return {};
}

std::error_code connection::shutdown_receive(context& ctx) {
  if (error_ != std::errc{}) return error();
  if (!syn_acked_) return std::make_error_code(std::errc::not_connected);
  if (receive_shut_) return {};
  receive_shut_ = true;
  rcv_.queue().consume(ctx.pool, rcv_.queue().readable());
  raise(ready::readable);
  emit_window_update(ctx);
  return {};
}

void connection::close(context& ctx) {
  orphaned_ = true;
  want_writable_ = false;
  if (state_ == tcp_state::closed || state_ == tcp_state::time_wait) return;
  if (state_ == tcp_state::syn_sent) {
    finish(ctx, tcp_state::closed);
    return;
  }
  if (rcv_.queue().readable() > 0) {
    // RFC 9293 SHLD-3: the peer must learn that bytes it sent were not read.
    abort(ctx);
    return;
  }
  if (!fin_queued_) (void)shutdown_send(ctx);
  // From here on the timer is the patience with a peer that takes nothing more, or sends no FIN; a
  // keep-alive that was armed before must not end what is still being delivered.
  timers_.arm(timer::keep, ctx.now + (state_ == tcp_state::fin_wait_2 ? options_->fin_wait_2
                                                                      : options_->orphan_timeout));
}

duration connection::stalled_for(instant now) const {
  // A closed window whose probes are answered is no progress, whatever progress_at_ says.
  if (!out_.empty())
    return timers_.runs(timer::persist) ? now - last_sent_ : progress_at_.since(now);
  return rcv_.queue().readable() > 0 ? now - rcv_.tuned_at() : duration(0);
}

void connection::give_up(context& ctx, std::errc why) {
  emit_reset(ctx);
  ctx.counters.add(counter::connections_aborted);
  fail(ctx, why);
  rcv_.queue().clear(ctx.pool);
}

void connection::abort(context& ctx) {
  // RFC 9293 3.10.5: a reset where the peer still holds a connection, nothing in CLOSING, LAST-ACK,
  // TIME-WAIT.
  switch (state_) {
    case tcp_state::syn_received:
    case tcp_state::established:
    case tcp_state::fin_wait_1:
    case tcp_state::fin_wait_2:
    case tcp_state::close_wait: emit_reset(ctx); break;
    case tcp_state::last_ack:
    case tcp_state::closing:
      // Linux's reading where the FIN still waits behind data: the peer has not seen the end, so
      // tell it.
      if (!fin_sent_) emit_reset(ctx);
      break;
    default: break;
  }
  orphaned_ = true;
  ctx.counters.add(counter::connections_aborted);
  finish(ctx, tcp_state::closed);
  rcv_.queue().clear(ctx.pool);
}

void connection::set_options(context& ctx, options_ref options) {
  const bool keep_changed = options->keep_alive != options_->keep_alive ||
                            options->keep_alive_idle != options_->keep_alive_idle;
  const bool nagle_off = options->nodelay && !options_->nodelay;
  if (options->user_timeout_option &&
      (options->user_timeout != options_->user_timeout || !options_->user_timeout_option))
    user_timeout_due_ = true;
  options_ = std::move(options);
  if (synchronized() && keep_changed && !orphaned_) arm_keep(ctx);
  if (nagle_off && synchronized()) after_user_call(ctx);
}

void connection::set_cork(context& ctx, bool corked) {
  corked_ = corked;
  more_follows_ = false;
  set_cork_end(corked && !out_.empty() ? ctx.now + cork_limit : instant::never());
  if (!corked && synchronized()) after_user_call(ctx);
}

void connection::fail(context& ctx, std::errc why) {
  error_ = why;
  const bool was_opening = state_ == tcp_state::syn_sent || state_ == tcp_state::syn_received;
  if (was_opening) ctx.counters.add(counter::failed_opens);
  finish(ctx, tcp_state::closed);
  raise(was_opening ? ready::failed : ready::failed | ready::readable | ready::writable);
}

void connection::finish(context& ctx, tcp_state state) {
  state_ = state;
  out_.clear(ctx.pool);
  board_.clear(ctx.pool);
  reno_sacked_ = 0;
  timers_.stop_all();
  set_cork_end(instant::never());
  paced_out_ = false;
  if (state == tcp_state::closed) {
    ack_ = ack_need::none;
    output_due_ = false;
  }
}

void connection::release(buffer::chunk_pool& pool) {
  out_.clear(pool);
  board_.clear(pool);
  rcv_.queue().clear(pool);
}

ready connection::readiness() const {
  auto out = ready::none;
  if (rcv_.queue().readable() > 0 || rcv_.ended() || receive_shut_) out = out | ready::readable;
  if (error_ != std::errc{}) out = out | ready::failed | ready::readable;
  return out;
}

congestion_phase connection::phase() const {
  switch (congestion_state_) {
    case congestion_state::open: break;
    case congestion_state::reduced: return congestion_phase::reduced;
    case congestion_state::recovery: return congestion_phase::recovery;
    case congestion_state::loss: return congestion_phase::loss;
  }
  return board_.sacked() + reno_sacked_ > 0 ? congestion_phase::disorder : congestion_phase::open;
}

tcp_info connection::info() const {
  tcp_info out;
  out.state = state_;
  out.local = flow_.local;
  out.remote = flow_.remote;
  out.send_mss = mss_;
  out.receive_mss = static_cast<std::uint16_t>(std::min<std::uint32_t>(rcv_.mss(), 65535));
  out.send_window_shift = snd_.shift;
  out.receive_window_shift = rcv_.shift();
  out.sack = sack_ok_;
  out.timestamps = timestamps_;
  out.ecn = ecn_ok_;
  out.path_mtu = mtu_;
  out.rtt = rtt_.smoothed();
  out.rtt_variance = rtt_.variance();
  out.rto = current_rto();
  out.user_timeout = user_timeout();
  if (rtt_.measured()) out.min_rtt = rtt_.minimum();
  if (options_->pacing) out.pacing_rate = pacing_rate();
  out.congestion_window = congestion_.window();
  out.slow_start_threshold = congestion_.threshold();
  out.send_window = snd_.wnd;
  out.receive_window = rcv_.window();
  out.send_queued = out_.size();
  out.unacknowledged = synchronized() ? std::min(snd_.out(), out_.size()) : 0;
  out.receive_queued = rcv_.queue().readable();
  out.lent = rcv_.queue().lent();
  out.out_of_order = rcv_.queue().out_of_order();
  out.memory = charged();
  out.send_limit = send_limit();
  out.receive_limit = rcv_.space();
  out.congestion = options_->congestion;
  out.phase = phase();
  out.lost = board_.lost();
  out.sacked = board_.sacked() + reno_sacked_;
  out.retransmitted = board_.retransmitted();
  out.reordering = rack_.reordering();
  if (sack_ok_ && rtt_.measured()) out.reorder_window = reorder_window();
  out.bytes_sent = bytes_sent_;
  out.bytes_received = rcv_.queue().next_offset();
  out.bytes_retransmitted = setbacks_->bytes_retransmitted;
  out.segments_sent = segments_sent_;
  out.segments_received = segments_received_;
  out.retransmissions = setbacks_->retransmissions;
  out.timeouts = setbacks_->timeouts;
  out.fast_retransmits = setbacks_->fast_retransmits;
  out.zero_window_probes = setbacks_->window_probes;
  return out;
}

}  // namespace weir::stack::tcp
