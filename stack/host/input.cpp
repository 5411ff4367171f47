// What arrives and time: packets find their flow, timers their owner, events their user, and
// flush() sends what all of it left to be sent.
#include <algorithm>
#include <cassert>
#include <utility>

#include "stack/host/impl.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack {
namespace {

/// Packets between a host's own sockets are taken in this many rounds by one flush(); what is left
/// comes back with the next, so that two chatty sockets cannot hold the caller.
constexpr int max_loop_rounds = 16;

bool lies_within(std::span<const std::byte> part, std::span<const std::byte> whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

/// Hosts on one device make and check each other's cookies.
host_options with_secret(host_options options, shard_set* shards) {
  if (shards != nullptr) options.secret = shards->inside().secret();
  return options;
}

}  // namespace

host::impl::impl(host_options options, packet_sink& sink, std::shared_ptr<shard_set> shards,
                 unsigned shard)
    : core_(with_secret(std::move(options), shards.get()), sink),
      shards_(std::move(shards)),
      claims_(shards_ == nullptr ? nullptr : &shards_->inside(), shard, core_.counters),
      flows_(core_, events_, claims_),
      opens_(core_, events_, claims_, flows_),
      link_(core_, claims_, flows_, opens_, shards_.get(), shard),
      relief_(core_, flows_),
      datagrams_(core_, events_, shards_.get(), shard),
      ports_(derive_key(core_.options.secret, 4)) {}

host::impl::~impl() {
  assert(lent_ == 0 && "a host went while its buffers were lent");
  datagrams_.leave_all();
  link_.leave_all(*this);
}

void host::impl::expect(std::span<const std::span<const std::byte>> packets) noexcept {
  opens_.expect(packets);
  flows_.expect(packets);
}

void host::impl::input(instant now, std::span<const std::byte> packet, const receive_meta& meta) {
  core_.pool.fill();
  if (opens_.postpones() && opens_.postpone(now, packet)) return;
  wire::tcp_segment segment;
  if (core_.ip.input_plain(packet, meta, segment)) {
    if (core_.forwarder != nullptr) arrived(packet, meta);
    on_segment(now, segment, 0);
  } else {
    const auto what = core_.ip.input(now, packet, meta);
    if (core_.forwarder != nullptr) arrived(core_.ip.delivered(), meta);
    take(now, what);
  }
  core_.arrived = {};
  opens_.packet_taken();
}

void host::impl::arrived(std::span<const std::byte> packet, const receive_meta& meta) {
  core_.arrived = packet;
  // The sums were looked at, and those that a device was to complete are not there to be looked at.
  core_.arrived_as = {.checksum_good = true, .gso_size = meta.gso_size};
}

void host::impl::take(instant now, const delivery& what) {
  if (const auto* segment = std::get_if<wire::tcp_segment>(&what)) {
    on_segment(now, *segment, 0);
  } else if (const auto* report = std::get_if<icmp_report>(&what)) {
    on_icmp(now, *report, 0);
  } else if (const auto* datagram = std::get_if<wire::udp_datagram>(&what)) {
    on_datagram(now, *datagram, 0);
  } else if (const auto* echo = std::get_if<echo_request>(&what)) {
    datagrams_.on_echo(now, *echo);
  }
}

void host::impl::on_segment(instant now, const wire::tcp_segment& segment, unsigned hops) {
  if (hops == 0) core_.counters.add(counter::segments_received, segment.segment_count());
  const flow_key flow{{segment.destination, segment.destination_port},
                      {segment.source, segment.source_port}};
  const auto found = flows_.find_next(flow);
  switch (found.what()) {
    case flow_ref::kind::connection: return on_connection_segment(now, found.index(), segment);
    case flow_ref::kind::half_open: return opens_.on_half_open_segment(now, found.index(), segment);
    case flow_ref::kind::time_wait:
      if (segment.has(wire::syn) && !segment.has(wire::ack) && !segment.has(wire::rst))
        return on_syn_in_time_wait(now, found.index(), segment);
      return flows_.on_time_wait_segment(now, found.index(), segment);
    case flow_ref::kind::none: return on_new_segment(now, flow, segment, hops);
  }
}

void host::impl::on_connection_segment(instant now, std::uint32_t index,
                                       const wire::tcp_segment& segment) {
  auto ctx = core_.context(now);
  auto& s = flows_[index];
  // Nobody else's yet, it may move to another host's memory at any time; and what was put together
  // from fragments lies elsewhere.
  ctx.stays = s.owned && lies_within(segment.payload, held_);
  s.connection.on_segment(ctx, segment);
  if (const auto events = s.connection.take_events(); events != ready::none)
    flows_.post(index, events);
  flows_.want_flush(index);
}

void host::impl::on_new_segment(instant now, const flow_key& flow, const wire::tcp_segment& segment,
                                unsigned hops) {
  auto l = passive_opens::none;
  if (!link_.shares())
    l = opens_.match(flow.local);
  else if (link_.hand_over(now, flow, segment, hops, l))
    return;
  const bool taken = l != passive_opens::none && opens_.on_listener_segment(now, l, segment);
  if (l != passive_opens::none && link_.shares() && segment.has(wire::syn) && !flows_.find(flow))
    claims_.forget(flow);
  if (taken || core_.forward_arrived()) return;
  if (l == passive_opens::none) core_.counters.add(counter::drop_tcp_no_listener);
  core_.answer_with_reset(now, segment);
}

// RFC 6191 2: a SYN of a new connection ends the wait, any other is dropped silently.
void host::impl::on_syn_in_time_wait(instant now, std::uint32_t index,
                                     const wire::tcp_segment& segment) {
  const auto& t = flows_.waiting(index);
  const auto l = opens_.match(t.flow.local);
  const bool listened = l != passive_opens::none || link_.listens(t.flow.local);
  const auto& how = l != passive_opens::none ? *opens_[l].tcp : core_.options.tcp;
  if (!listened || !t.reopened_by(segment, how.timestamps)) {
    core_.counters.add(counter::drop_tcp_old_duplicate);
    return;
  }
  const auto later_than = t.send_next;
  flows_.drop_time_wait(index);
  core_.counters.add(counter::time_wait_recycled);
  // Listened for elsewhere: the number's clock, which all shards have in common, is later than the
  // old incarnation's all the same.
  if (l == passive_opens::none) return on_segment(now, segment, 0);
  if (!opens_.on_listener_segment(now, l, segment, &later_than))
    core_.forward_or_reset(now, segment);
}

void host::impl::on_icmp(instant now, const icmp_report& report, unsigned hops) {
  if (report.protocol == wire::udp_protocol) return datagrams_.on_icmp(now, report, hops);
  if (report.protocol != wire::tcp_protocol) return;
  const auto found = flows_.find({report.local, report.remote});
  if (link_.shares() && !found && link_.hand_over(report, hops)) return;
  if (!found) return (void)core_.forward_arrived();
  if (found.what() != flow_ref::kind::connection) return;
  auto& c = flows_[found.index()].connection;
  if (!c.in_flight(tcp::seq(report.sequence))) return;  // RFC 5927 4.1: forged or late
  auto ctx = core_.context(now);
  if (report.kind == icmp_kind::packet_too_big) {
    // Another connection may have lowered the path's MTU before: this one's segments are too long
    // all the same.
    (void)core_.ip.lower_path_mtu(now, report);
    c.on_path_mtu(ctx, core_.ip.path_mtu(now, report.remote.address));
  } else {
    c.on_icmp(ctx, report);
  }
  if (const auto events = c.take_events(); events != ready::none)
    flows_.post(found.index(), events);
  flows_.want_flush(found.index());
}

void host::impl::on_datagram(instant now, const wire::udp_datagram& datagram, unsigned hops) {
  datagrams_.on_datagram(now, datagram, hops);
}

void host::impl::take_looped(instant now) {
  for (std::size_t n = 0; n < ip_layer::max_looped && core_.ip.has_looped(); ++n)
    take(now, core_.ip.input_looped(now));
}

void host::impl::flush(instant now) {
  core_.latest = now;
  opens_.turn_ended(std::exchange(behind_, false));
  link_.serve_due_wants(now);
  for (int round = 0; round < max_loop_rounds; ++round) {
    flows_.flush(now);
    if (!core_.ip.has_looped()) break;
    take_looped(now);
  }
  relief_.relieve(now);
  link_.publish();
}

void host::impl::advance(instant now) {
  core_.latest = now;
  core_.ip.advance(now);
  datagrams_.advance(now);
  while (auto* node = core_.wheel.take_due(now)) on_timer(now, *node);
  take_looped(now);
  relief_.relieve(now);
}

void host::impl::on_timer(instant now, const tcp::timer_node& node) {
  switch (node.owner) {
    case tcp::timer_owner::connection: return flows_.on_timer(now, node.index);
    case tcp::timer_owner::half_open: return opens_.on_half_open_timer(now, node.index);
    case tcp::timer_owner::time_wait: return flows_.drop_time_wait(node.index);
  }
}

instant host::impl::next_deadline() const {
  return std::min(
      {core_.wheel.next(), core_.ip.next_deadline(), relief_.next(), datagrams_.next_deadline()});
}

namespace {

/// What a socket has to tell, taken.
template <class Socket>
bool tell(Socket* socket, socket_id id, event& out) {
  if (socket == nullptr) return false;
  socket->event_queued = false;
  out = {id, socket->user, std::exchange(socket->pending, ready::none)};
  return out.what != ready::none;
}

}  // namespace

bool host::impl::next_event(event& out) {
  if (opens_.next_ended(out)) return true;
  for (;;) {
    const auto id = events_.pop();
    if (id == socket_id::none) return false;
    if (tell(flows_.find(id), id, out) || tell(opens_.find(id), id, out) ||
        tell(datagrams_.find(id), id, out))
      return true;
  }
}

}  // namespace weir::stack
