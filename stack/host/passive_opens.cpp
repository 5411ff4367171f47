// SYNs into half-open entries, and their last step into connections; see cookies.cpp for full SYN
// queues and accept_queue.cpp for what was completed.
#include "stack/host/passive_opens.hpp"

#include <algorithm>

#include "stack/share/group_table.hpp"

namespace weir::stack {
namespace {

/// Linux's tcp_synack_retries: with doubling from the initial timeout about a minute.
constexpr std::uint8_t syn_ack_retries = 5;

/// A cookie that nobody answered by then is answered to whoever listens instead, or not at all.
constexpr duration cookie_answer_time = std::chrono::seconds(1);

}  // namespace

passive_opens::passive_opens(host_core& core, event_queue& events, share::flow_claims& claims,
                             flows& flows)
    : core_(core),
      events_(events),
      claims_(claims),
      flows_(flows),
      listeners_(derive_key(core.options.secret, 1)),
      cookies_(derive_key(core.options.secret, 5)),
      pressure_(derive_key(core.options.secret, 8)),
      usual_options_(core.options.tcp) {}

std::uint32_t passive_opens::add(const endpoint& at, const listen_options& options) {
  const auto index = listeners_.add(at, options);
  listeners_[index].tcp = options.tcp ? tcp::options_ref(*options.tcp) : usual_options_;
  return index;
}

std::uint32_t passive_opens::add(const any_destination& where, const listen_options& options) {
  const auto index = listeners_.add(where, options);
  listeners_[index].tcp = options.tcp ? tcp::options_ref(*options.tcp) : usual_options_;
  return index;
}

void passive_opens::close(instant now, std::uint32_t index) {
  auto& l = listeners_[index];
  while (l.syn_head != none) {
    refuse(now, flows_.handshake(l.syn_head));
    drop(l.syn_head);
  }
  while (l.accept_head != none) flows_.reset(now, take(index));
  listeners_.remove(index);
}

bool passive_opens::leave_to_others(instant now, std::uint32_t index) {
  auto& l = listeners_[index];
  l.left_to_others = true;
  const bool cookie_out = l.cookies_sent > 0 && now - l.cookie_at < cookie_answer_time;
  return l.syn_count == 0 && l.accept_count == 0 && !cookie_out;
}

bool passive_opens::on_listener_segment(instant now, std::uint32_t index,
                                        const wire::tcp_segment& segment,
                                        const tcp::seq* later_than) {
  if (segment.has(wire::rst)) return false;
  if (segment.has(wire::ack)) return accept_cookie(now, index, segment);
  if (!segment.has(wire::syn) || segment.has(wire::fin)) {
    core_.counters.add(counter::drop_tcp_no_ack);
    return true;
  }
  if (listeners_[index].left_to_others) return false;
  on_syn(now, index, segment, later_than);
  return true;
}

void passive_opens::on_syn(instant now, std::uint32_t index, const wire::tcp_segment& segment,
                           const tcp::seq* later_than) {
  core_.counters.add(counter::syn_received);
  auto& l = listeners_[index];
  const auto& how = *l.tcp;
  const flow_key flow{{segment.destination, segment.destination_port},
                      {segment.source, segment.source_port}};
  if (!l.options.ask && accept_full(l)) {
    // Dropped, not reset: the client tries again, and by then there may be room.
    ++l.accept_overflows;
    core_.counters.add(counter::accept_queue_overflow);
    return;
  }
  if (l.syn_full()) return on_full_syn_queue(now, index, segment);
  half_open made;
  made.flow = flow;
  const auto entry = flows_.add(made);
  auto& e = flows_.handshake(entry);
  e.sent = now;
  e.irs = tcp::seq(segment.sequence);
  e.iss = core_.isn.next(now, e.flow);
  if (later_than != nullptr && e.iss <= *later_than)
    e.iss = *later_than + 65537;  // RFC 6528 3: later than the old incarnation
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
    e.timestamp_offset = core_.isn.timestamp_offset(e.flow);
  }
  link(entry, index);
  if (l.options.ask) return ask(now, entry);
  if (l.group) (void)claims_.claim(e.flow, l.group->places_freely());
  send_syn_ack(now, e, how);
  core_.wheel.arm(e.timer, now + how.initial_rto);
}

void passive_opens::link(std::uint32_t entry, std::uint32_t index) {
  auto& e = flows_.handshake(entry);
  auto& l = listeners_[index];
  e.listener = index;
  e.previous = none;
  e.next = l.syn_head;
  if (l.syn_head != none) flows_.handshake(l.syn_head).previous = entry;
  l.syn_head = entry;
  ++l.syn_count;
  l.syn_peak = std::max(l.syn_peak, l.syn_count);
}

void passive_opens::unlink(std::uint32_t entry) {
  auto& e = flows_.handshake(entry);
  auto& l = listeners_[e.listener];
  if (e.previous != none)
    flows_.handshake(e.previous).next = e.next;
  else
    l.syn_head = e.next;
  if (e.next != none) flows_.handshake(e.next).previous = e.previous;
  --l.syn_count;
  flows_.erase_handshake(entry);
}

void passive_opens::drop(std::uint32_t entry) {
  end_request(entry);
  claims_.forget(flows_.handshake(entry).flow);
  unlink(entry);
}

void passive_opens::send_syn_ack(instant now, half_open& e, const tcp_options& how) {
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
  out.window = offered_window(how);
  out.options.mss = tcp::offered_mss(core_.ip.path_mtu(now, e.flow.remote.address),
                                     e.flow.local.address.family(), how);
  out.options.sack_permitted = e.sack;
  if (e.timestamps) {
    out.options.timestamps =
        wire::tcp_timestamps{tcp::timestamp_clock(now, e.timestamp_offset), e.timestamp};
  }
  if (e.scaling) out.options.window_scale = offered_shift(how);
  core_.send_segment(now, out, {}, how.ttl);
}

void passive_opens::on_half_open_segment(instant now, std::uint32_t index,
                                         const wire::tcp_segment& segment) {
  auto& e = flows_.handshake(index);
  const auto& how = *listeners_[e.listener].tcp;
  const auto sequence = tcp::seq(segment.sequence);
  const auto expected = e.irs + 1;
  if (await_answer(e, segment)) return;
  if (segment.has(wire::rst)) {
    // RFC 5961 3.2: the exact number only. RFC 9293 3.10.7.4: back to LISTEN, silently. It may be
    // about the handshake that another program began with the same SYN.
    const bool forwarded = core_.forward_arrived();
    if (sequence == expected) {
      core_.counters.add(counter::resets_received);
      drop(index);
    } else if (!forwarded) {
      core_.counters.add(counter::drop_tcp_reset_ignored);
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
    core_.counters.add(counter::drop_tcp_no_ack);
    return;
  }
  if (tcp::seq(segment.acknowledgment) != e.iss + 1) {
    // As above: a repeated SYN came here, and the answer that the peer took was the other's.
    if (core_.forward_arrived()) return;
    core_.counters.add(counter::drop_tcp_bad_ack);
    core_.answer_with_reset(now, segment);
    return;
  }
  if (e.timestamps && segment.options.timestamps &&
      static_cast<std::int32_t>(segment.options.timestamps->value - e.timestamp) < 0) {
    core_.counters.add(counter::drop_tcp_paws);
    send_syn_ack(now, e, how);
    return;
  }
  const auto edge = expected + offered_window(how);
  if (sequence < expected || sequence >= edge) {
    core_.counters.add(counter::drop_tcp_out_of_window);
    send_syn_ack(now, e, how);
    return;
  }
  complete(now, index, segment);
}

// Deferred accept: true while the peer is done and has said nothing yet.
bool passive_opens::defer(instant now, half_open& e, listener& l,
                          const wire::tcp_segment& segment) {
  const bool silent = segment.payload.empty() && !segment.has(wire::fin);
  if (!silent || now - e.sent >= l.options.defer_accept) return false;
  // The SYN-ACK is repeated when the time is over; its answer is then accepted as it is.
  if (!e.acknowledged) {
    core_.counters.add(counter::accepts_deferred);
    ++l.deferred;
    core_.wheel.arm(e.timer, e.sent + l.options.defer_accept);
  }
  e.acknowledged = true;
  return true;
}

void passive_opens::complete(instant now, std::uint32_t index, const wire::tcp_segment& segment) {
  auto& e = flows_.handshake(index);
  auto& l = listeners_[e.listener];
  if (defer(now, e, l, segment)) return;
  const bool asked = e.request == request_state::accepted;
  if (!asked && accept_full(l)) {
    ++l.accept_overflows;
    core_.counters.add(counter::accept_queue_overflow);
    if (l.options.overflow == overflow_policy::reset) {
      core_.answer_with_reset(now, segment);
      drop(index);
    }
    // Dropped: the entry stays, its SYN-ACK is repeated, and the client's next segment finds room
    // or not.
    return;
  }
  if (flows_.full()) {
    core_.counters.add(counter::connections_refused_limit);
    return;
  }
  tcp::handshake agreed;
  agreed.iss = e.iss;
  agreed.irs = e.irs;
  agreed.peer_mss = e.peer_mss;
  agreed.mtu = core_.ip.path_mtu(now, e.flow.remote.address);
  agreed.scaling = e.scaling;
  agreed.sack = e.sack;
  agreed.timestamps = e.timestamps;
  agreed.ecn = e.ecn;
  agreed.peer_shift = e.peer_shift;
  agreed.our_shift = offered_shift(*l.tcp);
  agreed.our_window = offered_window(*l.tcp);
  agreed.peer_window = std::uint32_t{segment.window} << e.peer_shift;
  agreed.timestamp_offset = e.timestamp_offset;
  agreed.peer_timestamp = e.timestamp;
  agreed.retransmissions = e.retransmissions;
  if (e.retransmissions == 0 && !e.acknowledged) agreed.rtt = now - e.sent;
  const auto flow = e.flow;
  const auto listener_index = e.listener;
  auto* const user = e.user;
  unlink(index);
  if (asked) return hand_to_user(user, open(now, flow, agreed, l.tcp, segment));
  add_accepted(now, flow, agreed, listener_index, segment);
}

std::uint32_t passive_opens::open(instant now, const flow_key& flow, const tcp::handshake& agreed,
                                  const tcp::options_ref& how, const wire::tcp_segment& segment) {
  const auto index = flows_.add(flow, how);
  auto& s = flows_[index];
  s.queued = {none, tcp::stamp(now)};
  auto ctx = core_.context(now);
  s.connection.open_passive(ctx, agreed);
  s.connection.on_segment(ctx, segment);
  core_.counters.add(counter::passive_opens);
  flows_.want_flush(index);
  return index;
}

void passive_opens::add_accepted(instant now, const flow_key& flow, const tcp::handshake& agreed,
                                 std::uint32_t listener_index, const wire::tcp_segment& segment) {
  append(listener_index, open(now, flow, agreed, listeners_[listener_index].tcp, segment));
  auto& l = listeners_[listener_index];
  if (!l.shared) return;
  l.group->unaccepted.fetch_add(1, std::memory_order_relaxed);
  watcher_->serve_shared(now, listener_index);
}

void passive_opens::on_half_open_timer(instant now, std::uint32_t index) {
  auto& e = flows_.handshake(index);
  const auto& how = *listeners_[e.listener].tcp;
  if (e.request == request_state::untold || e.request == request_state::told) {
    core_.counters.add(counter::syn_asked_refused);
    refuse(now, e);
    return drop(index);
  }
  if (e.retransmissions >= syn_ack_retries) {
    auto& l = listeners_[e.listener];
    ++l.syn_expired;
    core_.counters.add(counter::syn_expired);
    drop(index);
    return;
  }
  ++e.retransmissions;
  core_.counters.add_sent_again(e.flow.local, e.flow.remote, 1, 0);
  send_syn_ack(now, e, how);
  core_.wheel.arm(e.timer, now + std::min(how.initial_rto * (1 << e.retransmissions), how.max_rto));
}

void passive_opens::refuse(instant now, const half_open& e) {
  wire::tcp_segment reset;
  reset.source = e.flow.local.address;
  reset.destination = e.flow.remote.address;
  reset.source_port = e.flow.local.port;
  reset.destination_port = e.flow.remote.port;
  const bool answered = e.request == request_state::none || e.request == request_state::accepted;
  reset.sequence = answered ? (e.iss + 1).raw() : 0;
  reset.acknowledgment = (e.irs + 1).raw();
  reset.flags = wire::rst | wire::ack;
  core_.counters.add(counter::resets_sent);
  core_.send_segment(now, reset, {}, core_.options.tcp.ttl);
}

}  // namespace weir::stack
