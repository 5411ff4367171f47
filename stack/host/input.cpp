// What arrives and time: packets find their flow, timers their owner, and flush() sends what both
// left to be sent. See host/impl.hpp.
#include <algorithm>
#include <cassert>
#include <utility>

#include "host/impl.hpp"
#include "wire/ip.hpp"

namespace weir::stack {
namespace {

/// Packets between a host's own sockets are taken in this many rounds by one flush(); what is left
/// comes back with the next, so that two chatty sockets cannot hold the caller.
constexpr int max_loop_rounds = 16;

/// Hosts on one device make and check each other's cookies.
host_options with_secret(host_options options, shard_set* shards) {
  if (shards != nullptr) options.secret = shards->inside().secret();
  return options;
}

}  // namespace

host::impl::impl(host_options options, packet_sink& sink, std::shared_ptr<shard_set> shards,
                 unsigned shard)
    : options_(with_secret(std::move(options), shards.get())),
      pool_(options_.limits.memory),
      ip_(options_, sink, counters_),
      listeners_(derive_key(options_.secret, 1)),
      flows_(derive_key(options_.secret, 2)),
      isn_(derive_key(options_.secret, 3)),
      ports_(derive_key(options_.secret, 4)),
      cookies_(derive_key(options_.secret, 5)),
      pressure_(derive_key(options_.secret, 8)),
      accepted_options_(options_.tcp),
      udp_(derive_key(options_.secret, 6), pool_),
      udp_ports_(derive_key(options_.secret, 7)),
      shards_(std::move(shards)),
      share_(shards_ == nullptr ? nullptr : &shards_->inside()),
      shard_(shard) {
  if (share_ != nullptr) share_->inbox_of(shard_).open(true);
}

host::impl::~impl() {
  assert(lent_ == 0 && "a host went while its buffers were lent");
  if (share_ != nullptr) leave_all(share_clock_);
  auto ctx = context(instant{});
  for (std::uint32_t i = 0; i < sockets_.capacity(); ++i)
    if (sockets_.live(i)) sockets_[i].connection.release(ctx);
}

void host::impl::input(instant now, std::span<const std::byte> packet, const receive_meta& meta) {
  if (pressed_ != none && postpone(now, packet)) return;
  wire::tcp_segment segment;
  if (ip_.input_plain(packet, meta, segment))
    on_segment(now, segment);
  else
    take(now, ip_.input(now, packet, meta));
  answer_it_ = false;
}

void host::impl::take(instant now, const delivery& what) {
  if (const auto* segment = std::get_if<wire::tcp_segment>(&what)) {
    on_segment(now, *segment);
  } else if (const auto* report = std::get_if<icmp_report>(&what)) {
    on_icmp(now, *report);
  } else if (const auto* datagram = std::get_if<wire::udp_datagram>(&what)) {
    on_datagram(now, *datagram);
  }
}

void host::impl::on_segment(instant now, const wire::tcp_segment& segment, unsigned hops) {
  if (hops == 0) counters_.add(counter::segments_received, segment.segment_count());
  const flow_key flow{{segment.destination, segment.destination_port},
                      {segment.source, segment.source_port}};
  auto found = found_soon(flow);
  if (!found) found = find_flow(flow);
  switch (found.what()) {
    case flow_ref::kind::connection: {
      auto ctx = context(now);
      auto& s = sockets_[found.index()];
      last_found_ = found.index();
      s.connection.on_segment(ctx, segment);
      if (const auto events = s.connection.take_events(); events != ready::none)
        post(found.index(), events);
      want_flush(found.index());
      return;
    }
    case flow_ref::kind::half_open: on_half_open_segment(now, found.index(), segment); return;
    case flow_ref::kind::time_wait: on_time_wait_segment(now, found.index(), segment); return;
    case flow_ref::kind::none: break;
  }
  auto l = listener_table::none;
  if (share_ == nullptr)
    l = listeners_.match(flow.local);
  else if (hand_over(now, flow, segment, hops, l))
    return;
  if (l != listener_table::none) {
    on_listener_segment(now, l, segment, tcp::seq{}, false);
    if (share_ != nullptr && segment.has(wire::syn) && !find_flow(flow)) forget_flow(flow);
    return;
  }
  counters_.add(counter::drop_tcp_no_listener);
  answer_with_reset(now, segment);
}

bool host::impl::is_of(std::uint32_t socket, const flow_key& flow) const {
  return sockets_.live(socket) && sockets_[socket].attached &&
         sockets_[socket].connection.flow() == flow;
}

// Segments are announced, or come in trains: where this one's flow is the next of those, or that of
// the one before, no hash is needed. Of those that were announced one may not have come this far.
flow_ref host::impl::found_soon(const flow_key& flow) {
  const auto end = std::min(announced_next_ + 2, +announced_count_);
  for (int i = announced_next_; i < end; ++i) {
    const auto socket = announced_[static_cast<std::size_t>(i)];
    if (!is_of(socket, flow)) continue;
    announced_next_ = static_cast<std::uint8_t>(i + 1);
    return {flow_ref::kind::connection, socket};
  }
  return is_of(last_found_, flow) ? flow_ref(flow_ref::kind::connection, last_found_) : flow_ref();
}

void host::impl::on_icmp(instant now, const icmp_report& report, unsigned hops) {
  if (report.protocol == wire::udp_protocol) return on_udp_icmp(now, report, hops);
  if (report.protocol != wire::tcp_protocol) return;
  const auto found = find_flow({report.local, report.remote});
  if (share_ != nullptr && !found && hand_over(report, hops)) return;
  if (found.what() != flow_ref::kind::connection) return;
  auto& s = sockets_[found.index()];
  if (!s.connection.in_flight(tcp::seq(report.sequence))) return;  // RFC 5927 4.1: forged or late
  auto ctx = context(now);
  if (report.kind == icmp_kind::packet_too_big) {
    // Another connection may have lowered the path's MTU before: this one's segments are too long
    // all the same.
    (void)ip_.lower_path_mtu(now, report);
    s.connection.on_path_mtu(ctx, ip_.path_mtu(now, report.remote.address));
  } else {
    s.connection.on_icmp(ctx, report);
  }
  if (const auto events = s.connection.take_events(); events != ready::none)
    post(found.index(), events);
  want_flush(found.index());
}

void host::impl::want_flush(std::uint32_t index) {
  auto& s = sockets_[index];
  if (s.in_flush) return;
  s.in_flush = true;
  flush_.push_back(index);
}

void host::impl::flush_connections(instant now) {
  auto ctx = context(now);
  flushing_.swap(flush_);
  for (const auto index : flushing_) {
    if (!sockets_.live(index)) continue;
    auto& s = sockets_[index];
    if (!s.in_flush) continue;
    s.in_flush = false;
    s.connection.output(ctx);
    settle(index, now);
  }
  flushing_.clear();
}

void host::impl::flush(instant now) {
  latest_ = now;
  pressure_.turn_ended(std::exchange(behind_, false));
  serve_due_wants(now);
  for (int round = 0; round < max_loop_rounds; ++round) {
    flush_connections(now);
    if (!ip_.has_looped()) break;
    for (std::size_t n = 0; n < ip_layer::max_looped && ip_.has_looped(); ++n)
      take(now, ip_.input_looped(now));
  }
  relieve_shortage(now);
  if (share_ != nullptr) share_->publish(shard_, sockets_.size() + half_open_.size(), unaccepted_);
}

void host::impl::advance(instant now) {
  latest_ = now;
  ip_.advance(now);
  while (auto* node = wheel_.take_due(now)) on_timer(now, *node);
  for (std::size_t n = 0; n < ip_layer::max_looped && ip_.has_looped(); ++n)
    take(now, ip_.input_looped(now));
  relieve_shortage(now);
}

void host::impl::on_timer(instant now, const tcp::timer_node& node) {
  const auto index = node.index;
  switch (node.owner) {
    case tcp::timer_owner::connection: {
      auto& c = sockets_[index].connection;
      auto ctx = context(now);
      if (c.deadline() <= now) {
        c.on_timer(ctx);
        if (c.wants_output()) c.output(ctx);
      }
      settle(index, now);
      return;
    }
    case tcp::timer_owner::half_open: on_half_open_timer(now, index); return;
    case tcp::timer_owner::time_wait: drop_time_wait(index); return;
  }
}

instant host::impl::next_deadline() const {
  return std::min({wheel_.next(), ip_.next_deadline(), relieve_at_});
}

void host::impl::send_segment(instant now, const wire::tcp_segment& segment,
                              std::span<const std::span<const std::byte>> payload,
                              std::uint8_t ttl) {
  if (gone_) return;
  std::uint64_t count = 1;
  if (segment.gso_size != 0) {
    std::size_t bytes = 0;
    for (auto part : payload) bytes += part.size();
    count = (bytes + segment.gso_size - 1) / segment.gso_size;
  }
  counters_.add(counter::segments_sent, count);
  // A device without room loses the segment; the retransmission finds it again.
  (void)ip_.send_tcp(now, segment, payload, ttl);
}

// --- Events.

void host::impl::queue_event(socket_id id) {
  if (events_taken_ > 0 && events_taken_ == events_.size()) {
    events_.clear();
    events_taken_ = 0;
  } else if (events_taken_ > 1024 && events_taken_ * 2 > events_.size()) {
    events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(events_taken_));
    events_taken_ = 0;
  }
  events_.push_back(id);
}

void host::impl::post(std::uint32_t index, ready what) {
  auto& s = sockets_[index];
  if (!s.owned) return;  // accept() tells what happened meanwhile
  s.pending = s.pending | what;
  if (s.event_queued) return;
  s.event_queued = true;
  queue_event(id_of(index));
}

void host::impl::post_listener(std::uint32_t index, ready what) {
  auto& l = listeners_[index];
  l.pending = l.pending | what;
  if (l.event_queued) return;
  l.event_queued = true;
  queue_event(listener_id(index));
}

bool host::impl::next_event(event& out) {
  while (events_taken_ < events_.size()) {
    const auto id = events_[events_taken_++];
    if (auto* s = find(id); s != nullptr) {
      s->event_queued = false;
      out = {id, s->user, s->pending};
      s->pending = ready::none;
    } else if (auto* l = find_listener(id); l != nullptr) {
      l->event_queued = false;
      out = {id, l->user, l->pending};
      l->pending = ready::none;
    } else if (auto* u = find_udp(id); u != nullptr) {
      u->event_queued = false;
      out = {id, u->user, u->pending};
      u->pending = ready::none;
    } else {
      continue;
    }
    if (out.what != ready::none) return true;
  }
  return false;
}

}  // namespace weir::stack
