// Passive opens: SYNs into half-open entries, their last step into connections on the accept queue,
// and the ways in which both queues overflow (RFC 9293 3.10.7.2, RFC 4987). See host/impl.hpp.
#include <algorithm>

#include "host/impl.hpp"
#include "listen/read_flow.hpp"

namespace weir::stack {
namespace {

/// Linux's tcp_synack_retries: with doubling from the initial timeout about a minute.
constexpr std::uint8_t syn_ack_retries = 5;

/// RFC 3168 6.1.1: a SYN that asks for ECN carries both flags.
bool asks_for_ecn(const wire::tcp_segment& syn) { return syn.has(wire::ece) && syn.has(wire::cwr); }

struct bare_syn {
  flow_key flow;
  std::uint32_t sequence = 0;
};

/// RFC 791 3.1: IPv4 without options, no fragment; RFC 9293 3.1: SYN and nothing beside it but what
/// asks for ECN. False for everything else, and no judgement of it.
bool read_syn(std::span<const std::byte> packet, bare_syn& out) {
  constexpr std::size_t tcp = wire::min_ipv4_header;
  if (packet.size() < tcp + wire::min_tcp_header) return false;
  const auto* p = packet.data();
  const auto plain = [&](std::size_t at, std::uint8_t mask, std::uint8_t wanted) {
    return (p[at] & std::byte{mask}) == std::byte{wanted};
  };
  if (!plain(0, 0xff, 0x45) || !plain(6, 0x3f, 0) || !plain(7, 0xff, 0) ||
      !plain(tcp + 13, 0x3f, wire::syn) || !read_flow(packet, out.flow))
    return false;
  out.sequence = wire::get32(p + tcp + 4);
  return true;
}

}  // namespace

void host::impl::on_listener_segment(instant now, std::uint32_t index,
                                     const wire::tcp_segment& segment, tcp::seq iss_floor,
                                     bool has_floor) {
  if (segment.has(wire::rst)) {
    counters_.add(counter::drop_tcp_reset_ignored);
    return;
  }
  if (segment.has(wire::ack)) {
    if (!accept_cookie(now, index, segment)) answer_with_reset(now, segment);
    return;
  }
  if (!segment.has(wire::syn) || segment.has(wire::fin)) {
    counters_.add(counter::drop_tcp_no_ack);
    return;
  }
  counters_.add(counter::syn_received);
  auto& l = listeners_[index];
  const auto& how = *l.tcp;
  const flow_key flow{{segment.destination, segment.destination_port},
                      {segment.source, segment.source_port}};
  if (accept_full(l)) {
    // Dropped, not reset: the client tries again, and by then there may be room.
    ++l.accept_overflows;
    counters_.add(counter::accept_queue_overflow);
    return;
  }
  if (l.syn_full()) {
    ++l.syn_overflows;
    counters_.add(counter::syn_queue_overflow);
    if (answer_it_ || pressure_.answers(now, flow, segment.sequence)) {
      send_cookie(now, l, segment);
    } else {
      if (share_ == nullptr) pressed_ = index;  // postpone() knows nothing of other shards
      counters_.add(counter::syn_cookies_postponed);
    }
    return;
  }
  const auto entry_index = half_open_.emplace();
  auto& e = half_open_[entry_index];
  e.flow = flow;
  e.timer.index = entry_index;
  e.timer.owner = tcp::timer_owner::half_open;
  e.sent = now;
  e.irs = tcp::seq(segment.sequence);
  e.iss = isn_.next(now, e.flow);
  if (has_floor && e.iss <= iss_floor)
    e.iss = iss_floor + 65537;  // RFC 6528 3: later than the old incarnation
  const auto& offered = segment.options;
  e.peer_mss = offered.mss.value_or(0);
  if (offered.mss && e.peer_mss == 0) e.peer_mss = 1;  // clamped later; 0 means "no option"
  e.scaling = how.window_scaling && offered.window_scale.has_value();
  e.peer_shift =
      e.scaling ? std::min(*offered.window_scale, tcp::max_window_shift) : std::uint8_t{0};
  e.sack = how.sack && offered.sack_permitted;
  e.ecn = how.ecn != ecn_mode::off && asks_for_ecn(segment);
  e.timestamps = how.timestamps && offered.timestamps.has_value();
  if (e.timestamps) {
    e.timestamp = offered.timestamps->value;
    e.timestamp_offset = isn_.timestamp_offset(e.flow);
  }
  link_half_open(entry_index, index);
  if (l.group) (void)claim_flow(e.flow, l.group->places_freely());
  send_syn_ack(now, e, how);
  wheel_.arm(e.timer, now + how.initial_rto);
}

/// What on_listener_segment() does with most of a flood's SYNs, at a glance: in a flood it counts
/// what one costs. Only what is an ordinary IPv4 SYN to the listener that was flooded last;
/// whatever else there is to it, its repetition takes the long way. True: the packet is done with.
bool host::impl::postpone(instant now, std::span<const std::byte> packet) {
  if (!pressure_.rationed() || !listeners_.all().live(pressed_)) {
    pressed_ = none;
    return false;
  }
  bare_syn syn;
  if (!read_syn(packet, syn)) return false;
  auto& l = listeners_[pressed_];
  if (syn.flow.local != l.local || !l.syn_full() || l.accept_full()) return false;
  if (pressure_.answers(now, syn.flow, syn.sequence)) {
    answer_it_ = true;
    return false;
  }
  for (const auto c : {counter::packets_received, counter::segments_received, counter::syn_received,
                       counter::syn_queue_overflow, counter::syn_cookies_postponed})
    counters_.add(c);
  counters_.add(counter::bytes_received, packet.size());
  ++l.syn_overflows;
  return true;
}

/// The same for several packets ahead: where postpone() will look for them is all over a table that
/// no near cache holds.
void host::impl::expect_syns(std::span<const std::span<const std::byte>> packets) const noexcept {
  bare_syn syn;
  for (auto packet : packets)
    if (read_syn(packet, syn)) pressure_.fetch(syn.flow, syn.sequence);
}

void host::impl::link_half_open(std::uint32_t index, std::uint32_t listener_index) {
  auto& e = half_open_[index];
  auto& l = listeners_[listener_index];
  e.listener = listener_index;
  e.previous = none;
  e.next = l.syn_head;
  if (l.syn_head != none) half_open_[l.syn_head].previous = index;
  l.syn_head = index;
  ++l.syn_count;
  l.syn_peak = std::max(l.syn_peak, l.syn_count);
  flows_.insert(e.flow, {flow_ref::kind::half_open, index});
}

void host::impl::send_syn_ack(instant now, half_open& e, const tcp_options& how) {
  wire::tcp_segment out;
  out.source = e.flow.local.address;
  out.destination = e.flow.remote.address;
  out.source_port = e.flow.local.port;
  out.destination_port = e.flow.remote.port;
  out.sequence = e.iss.raw();
  out.acknowledgment = (e.irs + 1).raw();
  out.flags = wire::syn | wire::ack;
  if (e.ecn) out.flags |= wire::ece;
  out.traffic_class = static_cast<std::uint8_t>(how.traffic_class & 0xfc);
  out.window = listen_window(how);
  out.options.mss = tcp::offered_mss(ip_.path_mtu(now, e.flow.remote.address),
                                     e.flow.local.address.family(), how);
  out.options.sack_permitted = e.sack;
  if (e.timestamps) {
    out.options.timestamps =
        wire::tcp_timestamps{tcp::timestamp_clock(now, e.timestamp_offset), e.timestamp};
  }
  if (e.scaling) out.options.window_scale = listen_shift(how);
  send_segment(now, out, {}, how.ttl);
}

void host::impl::on_half_open_segment(instant now, std::uint32_t index,
                                      const wire::tcp_segment& segment) {
  auto& e = half_open_[index];
  const auto& how = *listeners_[e.listener].tcp;
  const auto sequence = tcp::seq(segment.sequence);
  const auto expected = e.irs + 1;
  if (segment.has(wire::rst)) {
    // RFC 5961 3.2: the exact number only. RFC 9293 3.10.7.4: back to LISTEN, silently.
    if (sequence == expected) {
      counters_.add(counter::resets_received);
      drop_half_open(index);
    } else {
      counters_.add(counter::drop_tcp_reset_ignored);
    }
    return;
  }
  if (segment.has(wire::syn)) {
    // The same SYN again: its answer was lost. Another one: the answer serves as the challenge (RFC
    // 5961 4.2), which a peer that started anew meets with a reset. Repeated without ECN, it was
    // the asking that got lost (RFC 3168 6.1.1.1).
    if (sequence == e.irs && !asks_for_ecn(segment)) e.ecn = false;
    send_syn_ack(now, e, how);
    return;
  }
  if (!segment.has(wire::ack)) {
    counters_.add(counter::drop_tcp_no_ack);
    return;
  }
  if (tcp::seq(segment.acknowledgment) != e.iss + 1) {
    counters_.add(counter::drop_tcp_bad_ack);
    answer_with_reset(now, segment);
    return;
  }
  if (e.timestamps && segment.options.timestamps &&
      static_cast<std::int32_t>(segment.options.timestamps->value - e.timestamp) < 0) {
    counters_.add(counter::drop_tcp_paws);
    send_syn_ack(now, e, how);
    return;
  }
  const auto edge = expected + listen_window(how);
  if (sequence < expected || sequence >= edge) {
    counters_.add(counter::drop_tcp_out_of_window);
    send_syn_ack(now, e, how);
    return;
  }
  complete(now, index, segment);
}

void host::impl::complete(instant now, std::uint32_t index, const wire::tcp_segment& segment) {
  auto& e = half_open_[index];
  auto& l = listeners_[e.listener];
  const bool silent = segment.payload.empty() && !segment.has(wire::fin);
  if (silent && now - e.sent < l.options.defer_accept) {
    // The SYN-ACK is repeated when the time is over; its answer is then accepted as it is.
    if (!e.acknowledged) {
      counters_.add(counter::accepts_deferred);
      ++l.deferred;
      wheel_.arm(e.timer, e.sent + l.options.defer_accept);
    }
    e.acknowledged = true;
    return;
  }
  if (accept_full(l)) {
    ++l.accept_overflows;
    counters_.add(counter::accept_queue_overflow);
    if (l.options.overflow == overflow_policy::reset) {
      answer_with_reset(now, segment);
      drop_half_open(index);
    }
    // Dropped: the entry stays, its SYN-ACK is repeated, and the client's next segment finds room
    // or not.
    return;
  }
  if (sockets_.size() >= options_.limits.connections) {
    counters_.add(counter::connections_refused_limit);
    return;
  }
  tcp::handshake agreed;
  agreed.iss = e.iss;
  agreed.irs = e.irs;
  agreed.peer_mss = e.peer_mss;
  agreed.mtu = ip_.path_mtu(now, e.flow.remote.address);
  agreed.scaling = e.scaling;
  agreed.sack = e.sack;
  agreed.timestamps = e.timestamps;
  agreed.ecn = e.ecn;
  agreed.peer_shift = e.peer_shift;
  agreed.our_shift = listen_shift(*l.tcp);
  agreed.our_window = listen_window(*l.tcp);
  agreed.peer_window = std::uint32_t{segment.window} << e.peer_shift;
  agreed.timestamp_offset = e.timestamp_offset;
  agreed.peer_timestamp = e.timestamp;
  agreed.retransmissions = e.retransmissions;
  if (e.retransmissions == 0 && !e.acknowledged) agreed.rtt = now - e.sent;
  const auto flow = e.flow;
  const auto listener_index = e.listener;
  unlink_half_open(index);
  add_accepted(now, flow, agreed, listener_index, segment);
}

void host::impl::add_accepted(instant now, const flow_key& flow, const tcp::handshake& agreed,
                              std::uint32_t listener_index, const wire::tcp_segment& segment) {
  const auto index = sockets_.emplace(flow, listeners_[listener_index].tcp);
  flows_.insert(flow, {flow_ref::kind::connection, index});
  auto& s = sockets_[index];
  s.timer.index = index;
  s.attached = true;
  s.queued = {none, tcp::stamp(now)};
  auto ctx = context(now);
  s.connection.open_passive(ctx, agreed);
  s.connection.on_segment(ctx, segment);
  counters_.add(counter::passive_opens);
  want_flush(index);
  append_accepted(listener_index, index);
  auto& l = listeners_[listener_index];
  if (!l.shared) return;
  l.group->unaccepted.fetch_add(1, std::memory_order_relaxed);
  serve_shared(now, listener_index);
}

void host::impl::append_accepted(std::uint32_t listener_index, std::uint32_t index) {
  auto& l = listeners_[listener_index];
  auto& s = sockets_[index];
  s.queued.next = none;
  if (l.accept_tail != none)
    sockets_[l.accept_tail].queued.next = index;
  else
    l.accept_head = index;
  l.accept_tail = index;
  ++l.accept_count;
  ++unaccepted_;
  l.accept_peak = std::max(l.accept_peak, l.accept_count);
  if (l.accept_count == 1) post_listener(listener_index, ready::acceptable);
}

/// The one at `position`, which is in the queue.
std::uint32_t host::impl::accepted_at(std::uint32_t listener_index, std::uint32_t position) const {
  auto index = listeners_.all()[listener_index].accept_head;
  for (; position > 0; --position) index = sockets_[index].queued.next;
  return index;
}

/// Takes the one at `position`, which is in the queue, out of it.
std::uint32_t host::impl::take_accepted(std::uint32_t listener_index, std::uint32_t position) {
  auto& l = listeners_[listener_index];
  const auto before = position == 0 ? none : accepted_at(listener_index, position - 1);
  const auto index = before == none ? l.accept_head : sockets_[before].queued.next;
  auto& s = sockets_[index];
  (before == none ? l.accept_head : sockets_[before].queued.next) = s.queued.next;
  if (l.accept_tail == index) l.accept_tail = before;
  --l.accept_count;
  --unaccepted_;
  return index;
}

void host::impl::send_cookie(instant now, listener& l, const wire::tcp_segment& segment) {
  const auto& how = *l.tcp;
  note_cookie(now, l);
  counters_.add(counter::syn_cookies_sent);
  const auto& offered = segment.options;
  half_open e;  // never stored: just what send_syn_ack() needs
  e.flow = {{segment.destination, segment.destination_port}, {segment.source, segment.source_port}};
  e.irs = tcp::seq(segment.sequence);
  const auto absent = e.flow.local.address.is_v4() ? tcp::default_mss_v4 : tcp::default_mss_v6;
  e.iss = cookies_.make(now, e.flow, e.irs, offered.mss.value_or(absent));
  // Without a timestamp to carry them, window scale, SACK and ECN are lost (RFC 4987 3.6).
  e.timestamps = how.timestamps && offered.timestamps.has_value();
  if (e.timestamps) {
    e.timestamp = offered.timestamps->value;
    e.timestamp_offset = isn_.timestamp_offset(e.flow);
    e.scaling = how.window_scaling && offered.window_scale.has_value();
    e.peer_shift =
        e.scaling ? std::min(*offered.window_scale, tcp::max_window_shift) : std::uint8_t{0};
    e.sack = how.sack && offered.sack_permitted;
    e.ecn = how.ecn != ecn_mode::off && asks_for_ecn(segment);
    const auto shift = e.scaling ? std::optional(e.peer_shift) : std::nullopt;
    const auto clock = tcp::timestamp_clock(now, e.timestamp_offset);
    // send_syn_ack() adds the clock: the offset says the difference.
    e.timestamp_offset += syn_cookies::encode(clock, shift, e.sack, e.ecn) - clock;
  }
  send_syn_ack(now, e, how);
}

bool host::impl::accept_cookie(instant now, std::uint32_t index, const wire::tcp_segment& segment) {
  auto& l = listeners_[index];
  const auto& how = *l.tcp;
  // Only while cookies may be under way: at any other time an ACK to a listener is an error.
  if (!cookies_recently(now, l) || segment.has(wire::syn)) return false;
  const flow_key flow{{segment.destination, segment.destination_port},
                      {segment.source, segment.source_port}};
  const auto irs = tcp::seq(segment.sequence) - 1;
  const auto iss = tcp::seq(segment.acknowledgment) - 1;
  const auto mss = cookies_.check(now, flow, irs, iss);
  if (!mss) {
    counters_.add(counter::syn_cookies_refused);
    return false;
  }
  if (accept_full(l)) {
    ++l.accept_overflows;
    counters_.add(counter::accept_queue_overflow);
    return l.options.overflow == overflow_policy::drop;
  }
  if (sockets_.size() >= options_.limits.connections) {
    counters_.add(counter::connections_refused_limit);
    return true;
  }
  tcp::handshake agreed;
  agreed.iss = iss;
  agreed.irs = irs;
  agreed.peer_mss = *mss;
  agreed.mtu = ip_.path_mtu(now, flow.remote.address);
  agreed.our_shift = listen_shift(how);
  agreed.our_window = listen_window(how);
  agreed.timestamps = how.timestamps && segment.options.timestamps.has_value();
  if (agreed.timestamps) {
    const auto echo = segment.options.timestamps->echo;
    agreed.timestamp_offset = isn_.timestamp_offset(flow);
    agreed.peer_timestamp = segment.options.timestamps->value;
    const auto shift = syn_cookies::shift_of(echo);
    agreed.scaling = how.window_scaling && shift.has_value();
    agreed.peer_shift = agreed.scaling ? std::min(*shift, tcp::max_window_shift) : std::uint8_t{0};
    agreed.sack = how.sack && syn_cookies::sack_of(echo);
    agreed.ecn = how.ecn != ecn_mode::off && syn_cookies::ecn_of(echo);
  }
  agreed.peer_window = std::uint32_t{segment.window} << agreed.peer_shift;
  ++l.cookies_accepted;
  counters_.add(counter::syn_cookies_accepted);
  if (l.group) (void)claim_flow(flow, l.group->places_freely());
  add_accepted(now, flow, agreed, index, segment);
  return true;
}

void host::impl::on_half_open_timer(instant now, std::uint32_t index) {
  auto& e = half_open_[index];
  const auto& how = *listeners_[e.listener].tcp;
  if (e.retransmissions >= syn_ack_retries) {
    auto& l = listeners_[e.listener];
    ++l.syn_expired;
    counters_.add(counter::syn_expired);
    drop_half_open(index);
    return;
  }
  ++e.retransmissions;
  counters_.add(counter::retransmissions);
  send_syn_ack(now, e, how);
  wheel_.arm(e.timer, now + std::min(how.initial_rto * (1 << e.retransmissions), how.max_rto));
}

void host::impl::drop_half_open(std::uint32_t index) {
  forget_flow(half_open_[index].flow);
  unlink_half_open(index);
}

void host::impl::unlink_half_open(std::uint32_t index) {
  auto& e = half_open_[index];
  auto& l = listeners_[e.listener];
  if (e.previous != none)
    half_open_[e.previous].next = e.next;
  else
    l.syn_head = e.next;
  if (e.next != none) half_open_[e.next].previous = e.previous;
  --l.syn_count;
  wheel_.disarm(e.timer);
  flows_.erase(e.flow, {flow_ref::kind::half_open, index});
  half_open_.erase(index);
}

void host::impl::reset_half_open(instant now, std::uint32_t index) {
  refuse(now, half_open_[index]);
  drop_half_open(index);
}

/// RFC 9293 3.10.4: the peer is told that its handshake comes to nothing.
void host::impl::refuse(instant now, const half_open& e) {
  wire::tcp_segment reset;
  reset.source = e.flow.local.address;
  reset.destination = e.flow.remote.address;
  reset.source_port = e.flow.local.port;
  reset.destination_port = e.flow.remote.port;
  reset.sequence = (e.iss + 1).raw();
  reset.acknowledgment = (e.irs + 1).raw();
  reset.flags = wire::rst | wire::ack;
  counters_.add(counter::resets_sent);
  send_segment(now, reset, {}, options_.tcp.ttl);
}

void host::impl::close_listener(instant now, std::uint32_t index) {
  auto& l = listeners_[index];
  if (l.group) leave_group(now, index);
  // RFC 9293 3.10.4 and row 6 of the sixty: nobody will take them, so they are told.
  while (l.syn_head != none) reset_half_open(now, l.syn_head);
  while (l.accept_head != none) {
    const auto i = take_accepted(index);
    auto ctx = context(now);
    sockets_[i].connection.abort(ctx);
    settle(i, now);
  }
  listeners_.remove(index);
}

}  // namespace weir::stack
