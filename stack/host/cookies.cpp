// What happens to SYNs while the SYN queue is full: a cookie, at once or for their repetition, and
// the connection that it brings back (RFC 4987). Where several shards listen on one address any
// member may have sent one, and any may be answered.
#include "stack/host/passive_opens.hpp"
#include "stack/listen/read_flow.hpp"
#include "stack/share/group_table.hpp"

namespace weir::stack {
namespace {

constexpr duration cookie_lifetime(2 * syn_cookies::period_ns);

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

void passive_opens::on_full_syn_queue(instant now, std::uint32_t index,
                                      const wire::tcp_segment& segment) {
  auto& l = listeners_[index];
  const flow_key flow{{segment.destination, segment.destination_port},
                      {segment.source, segment.source_port}};
  ++l.syn_overflows;
  // A cookie would be an answer. The peer asks again, and by then there may be room.
  if (l.options.ask) return core_.counters.add(counter::syn_asked_overflow);
  core_.counters.add(counter::syn_queue_overflow);
  if (answer_it_ || pressure_.answers(now, flow, segment.sequence))
    return send_cookie(now, l, segment);
  if (l.group == nullptr) pressed_ = index;  // postpone() knows nothing of other shards
  core_.counters.add(counter::syn_cookies_postponed);
}

// At a glance, since in a flood what one SYN costs decides how many clients get through. Only what
// is an ordinary IPv4 SYN to the listener that was flooded last; whatever else there is to it, its
// repetition takes the long way.
bool passive_opens::postpone(instant now, std::span<const std::byte> packet) {
  if (!pressure_.rationed() || !listeners_.all().live(pressed_)) {
    pressed_ = none;
    return false;
  }
  bare_syn syn;
  if (!read_syn(packet, syn)) return false;
  auto& l = listeners_[pressed_];
  if (syn.flow.local != l.local || !l.syn_full() || l.accept_full()) return false;
  // Another listener may have its place by now.
  if (l.group != nullptr || l.options.ask) return false;
  if (pressure_.answers(now, syn.flow, syn.sequence)) {
    answer_it_ = true;
    return false;
  }
  for (const auto c : {counter::packets_received, counter::segments_received, counter::syn_received,
                       counter::syn_queue_overflow, counter::syn_cookies_postponed})
    core_.counters.add(c);
  core_.counters.add(counter::bytes_received, packet.size());
  ++l.syn_overflows;
  return true;
}

// Where postpone() will look for them is all over a table that no near cache holds.
void passive_opens::expect(std::span<const std::span<const std::byte>> packets) const noexcept {
  if (pressed_ == none) return;
  bare_syn syn;
  for (auto packet : packets)
    if (read_syn(packet, syn)) pressure_.fetch(syn.flow, syn.sequence);
}

void passive_opens::send_cookie(instant now, listener& l, const wire::tcp_segment& segment) {
  const auto& how = *l.tcp;
  l.cookie_at = now;
  ++l.cookies_sent;
  if (l.group) l.group->cookie_ns.store(now.ns(), std::memory_order_relaxed);
  core_.counters.add(counter::syn_cookies_sent);
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
    e.timestamp_offset = core_.isn.timestamp_offset(e.flow);
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

bool passive_opens::accept_cookie(instant now, std::uint32_t index,
                                  const wire::tcp_segment& segment) {
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
    core_.counters.add(counter::syn_cookies_refused);
    return false;
  }
  if (accept_full(l)) {
    ++l.accept_overflows;
    core_.counters.add(counter::accept_queue_overflow);
    return l.options.overflow == overflow_policy::drop;
  }
  if (flows_.full()) {
    core_.counters.add(counter::connections_refused_limit);
    return true;
  }
  ++l.cookies_accepted;
  core_.counters.add(counter::syn_cookies_accepted);
  if (l.group) (void)claims_.claim(flow, l.group->places_freely());
  auto agreed = agreed_by(segment, flow, how, *mss);
  agreed.mtu = core_.ip.path_mtu(now, flow.remote.address);
  add_accepted(now, flow, agreed, index, segment);
  return true;
}

tcp::handshake passive_opens::agreed_by(const wire::tcp_segment& segment, const flow_key& flow,
                                        const tcp_options& how, std::uint16_t mss) const {
  tcp::handshake agreed;
  agreed.iss = tcp::seq(segment.acknowledgment) - 1;
  agreed.irs = tcp::seq(segment.sequence) - 1;
  agreed.peer_mss = mss;
  agreed.our_shift = offered_shift(how);
  agreed.our_window = offered_window(how);
  agreed.timestamps = how.timestamps && segment.options.timestamps.has_value();
  if (agreed.timestamps) {
    const auto echo = segment.options.timestamps->echo;
    agreed.timestamp_offset = core_.isn.timestamp_offset(flow);
    agreed.peer_timestamp = segment.options.timestamps->value;
    const auto shift = syn_cookies::shift_of(echo);
    agreed.scaling = how.window_scaling && shift.has_value();
    agreed.peer_shift = agreed.scaling ? std::min(*shift, tcp::max_window_shift) : std::uint8_t{0};
    agreed.sack = how.sack && syn_cookies::sack_of(echo);
    agreed.ecn = how.ecn != ecn_mode::off && syn_cookies::ecn_of(echo);
  }
  agreed.peer_window = std::uint32_t{segment.window} << agreed.peer_shift;
  return agreed;
}

bool passive_opens::cookies_recently(instant now, const listener& l) const {
  if (!l.group) return l.cookies_sent > 0 && now - l.cookie_at < cookie_lifetime;
  const auto sent = l.group->cookie_ns.load(std::memory_order_relaxed);
  return sent >= 0 && now.ns() - sent < cookie_lifetime.count();
}

bool passive_opens::cookie_is_good(instant now, const share::group& of, const flow_key& flow,
                                   const wire::tcp_segment& segment) const {
  if (!segment.has(wire::ack) || segment.has(wire::syn) || segment.has(wire::rst)) return false;
  const auto sent = of.cookie_ns.load(std::memory_order_relaxed);
  if (sent < 0 || now.ns() - sent >= cookie_lifetime.count()) return false;
  return cookies_
      .check(now, flow, tcp::seq(segment.sequence) - 1, tcp::seq(segment.acknowledgment) - 1)
      .has_value();
}

}  // namespace weir::stack
