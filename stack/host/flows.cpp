// How flows are found, and how they end: resets for segments that belong to none, detachment,
// TIME_WAIT (RFC 9293 3.10.7.1, 3.6.1; RFC 1337, RFC 6191). See host/impl.hpp.
#include <algorithm>
#include <array>

#include "host/impl.hpp"
#include "listen/read_flow.hpp"

namespace weir::stack {
namespace {

/// Out-of-window segments in TIME_WAIT are answered this often at most: two ends in TIME_WAIT must
/// not talk for ever.
constexpr duration answer_interval = std::chrono::milliseconds(500);
/// So many sockets are in the core's caches, more or less.
constexpr std::size_t hot_connections = 1024;

/// Asks for all of a socket's cache lines at once, instead of waiting for one after the other where
/// a segment's way through the connection touches them. Always inlined, see hash_index::fetch().
[[gnu::always_inline]] inline void fetch(const tcp_socket& s) {
  constexpr std::size_t cache_line = 64;
  const auto* at = reinterpret_cast<const std::byte*>(&s);
  for (std::size_t i = 0; i < sizeof s; i += cache_line) __builtin_prefetch(at + i, 1);
}

}  // namespace

const flow_key& host::impl::key_of(flow_ref ref) const {
  switch (ref.what()) {
    case flow_ref::kind::half_open: return half_open_[ref.index()].flow;
    case flow_ref::kind::time_wait: return time_wait_[ref.index()].flow;
    default: return sockets_[ref.index()].connection.flow();
  }
}

flow_ref host::impl::find_flow(const flow_key& flow) const {
  const bool cold = sockets_.size() > hot_connections;
  return flows_.find(flow, [this, cold](flow_ref ref) -> const flow_key& {
    if (cold && ref.what() == flow_ref::kind::connection) fetch(sockets_[ref.index()]);
    return key_of(ref);
  });
}

// Two misses stand before a segment of a cold flow: the slot of the table, and the connection that
// it names. Each is asked for for all packets before the first is waited for.
void host::impl::expect(std::span<const std::span<const std::byte>> packets) noexcept {
  announced_count_ = announced_next_ = 0;
  if (pressed_ != none) expect_syns(packets);
  if (sockets_.size() <= hot_connections) return;
  std::array<std::uint64_t, most_announced> hashes;
  std::size_t count = 0;
  for (auto packet : packets.first(std::min(packets.size(), most_announced))) {
    flow_key flow;
    if (!read_flow(packet, flow)) continue;
    hashes[count] = flows_.hash(flow);
    flows_.fetch(hashes[count++]);
  }
  for (auto hash : std::span(hashes).first(count)) {
    const auto ref = flows_.likely(hash);
    if (ref.what() != flow_ref::kind::connection) continue;
    fetch(sockets_[ref.index()]);
    announced_[announced_count_++] = ref.index();
  }
}

void host::impl::answer_with_reset(instant now, const wire::tcp_segment& segment) {
  // RFC 9293 3.10.7.1. A reset is never answered; nor is what did not come from a single host.
  if (segment.has(wire::rst)) {
    counters_.add(counter::drop_tcp_reset_ignored);
    return;
  }
  if (!ip_.is_unicast(segment.source)) return;
  wire::tcp_segment out;
  out.source = segment.destination;
  out.destination = segment.source;
  out.source_port = segment.destination_port;
  out.destination_port = segment.source_port;
  out.flags = wire::rst;
  if (segment.has(wire::ack)) {
    out.sequence = segment.acknowledgment;
  } else {
    out.flags |= wire::ack;
    out.acknowledgment = segment.sequence + segment.sequence_length();
  }
  counters_.add(counter::resets_sent);
  send_segment(now, out, {}, options_.tcp.ttl);
}

void host::impl::settle(std::uint32_t index, instant now) {
  auto& s = sockets_[index];
  if (const auto events = s.connection.take_events(); events != ready::none) post(index, events);
  if (const auto mtu = s.connection.take_path_news(); mtu != 0)
    ip_.set_path_mtu(now, s.connection.flow().remote.address, mtu);
  const auto state = s.connection.state();
  if (s.attached && state == tcp_state::time_wait)
    enter_time_wait(index, now);
  else if (s.attached && state == tcp_state::closed)
    detach(index);
  if (!s.attached && s.connection.orphaned()) {
    free_socket(index, now);
    return;
  }
  if (s.attached) wheel_.arm_by(s.timer, s.connection.deadline());
}

void host::impl::detach(std::uint32_t index) {
  auto& s = sockets_[index];
  flows_.erase(s.connection.flow(), {flow_ref::kind::connection, index});
  forget_flow(s.connection.flow());
  s.attached = false;
  wheel_.disarm(s.timer);
}

void host::impl::free_socket(std::uint32_t index, instant now) {
  auto ctx = context(now);
  if (sockets_[index].orphan) remove_orphan(index);
  sockets_[index].connection.release(ctx);
  wheel_.disarm(sockets_[index].timer);
  sockets_.erase(index);
}

void host::impl::enter_time_wait(std::uint32_t index, instant now) {
  auto& s = sockets_[index];
  wheel_.disarm(s.timer);
  s.attached = false;
  if (options_.limits.time_wait == 0) {
    flows_.erase(s.connection.flow(), {flow_ref::kind::connection, index});
    forget_flow(s.connection.flow());
    counters_.add(counter::time_wait_overflow);
    return;
  }
  if (time_wait_.size() >= options_.limits.time_wait) {
    counters_.add(counter::time_wait_overflow);
    drop_time_wait(time_wait_head_);
  }
  const auto i = time_wait_.emplace();
  auto& t = time_wait_[i];
  const auto& c = s.connection;
  t.flow = c.flow();
  t.timer.index = i;
  t.timer.owner = tcp::timer_owner::time_wait;
  t.send_next = c.send_next();
  t.receive_next = c.receive_next();
  t.timestamps = c.uses_timestamps();
  t.timestamp = c.recent_timestamp();
  t.timestamp_offset = c.timestamp_offset();
  t.window = c.last_window_field();
  t.ttl = c.options()->ttl;
  t.answered = now - answer_interval;
  t.lasting = c.options()->time_wait;
  link_time_wait(i);
  flows_.replace(t.flow, {flow_ref::kind::connection, index}, {flow_ref::kind::time_wait, i});
  wheel_.arm(t.timer, now + t.lasting);
  counters_.add(counter::time_wait_entered);
}

void host::impl::link_time_wait(std::uint32_t i) {
  auto& t = time_wait_[i];
  t.previous = time_wait_tail_;
  t.next = none;
  if (time_wait_tail_ != none)
    time_wait_[time_wait_tail_].next = i;
  else
    time_wait_head_ = i;
  time_wait_tail_ = i;
}

void host::impl::unlink_time_wait(std::uint32_t i) {
  auto& t = time_wait_[i];
  if (t.previous != none)
    time_wait_[t.previous].next = t.next;
  else
    time_wait_head_ = t.next;
  if (t.next != none)
    time_wait_[t.next].previous = t.previous;
  else
    time_wait_tail_ = t.previous;
}

void host::impl::drop_time_wait(std::uint32_t i) {
  unlink_time_wait(i);
  wheel_.disarm(time_wait_[i].timer);
  flows_.erase(time_wait_[i].flow, {flow_ref::kind::time_wait, i});
  forget_flow(time_wait_[i].flow);
  time_wait_.erase(i);
}

void host::impl::on_time_wait_segment(instant now, std::uint32_t i,
                                      const wire::tcp_segment& segment) {
  auto& t = time_wait_[i];
  if (segment.has(wire::rst)) {
    counters_.add(counter::drop_tcp_reset_ignored);  // RFC 1337 3, fix F1
    return;
  }
  if (segment.has(wire::syn) && !segment.has(wire::ack)) {
    const auto l = listeners_.match(t.flow.local);
    const bool listened =
        l != listener_table::none || (share_ != nullptr && view().match(t.flow.local) != nullptr);
    const auto& how = l != listener_table::none ? *listeners_[l].tcp : options_.tcp;
    if (!listened || !t.reopened_by(segment, how.timestamps)) {
      counters_.add(counter::drop_tcp_old_duplicate);  // RFC 6191 2: silently
      return;
    }
    const auto floor = t.send_next;
    drop_time_wait(i);
    counters_.add(counter::time_wait_recycled);
    // Listened for elsewhere: the number's clock, which all shards have in common, is later than
    // the old incarnation's all the same.
    if (l == listener_table::none) return on_segment(now, segment, 0);
    on_listener_segment(now, l, segment, floor, true);
    return;
  }
  if (!segment.has(wire::ack)) {
    counters_.add(counter::drop_tcp_no_ack);
    return;
  }
  const auto sequence = tcp::seq(segment.sequence);
  const bool fin_again =
      segment.has(wire::fin) && sequence + segment.sequence_length() == t.receive_next;
  const bool expected = sequence == t.receive_next && segment.sequence_length() == 0;
  if (expected) return;
  if (fin_again) {
    // RFC 9293 3.10.7.4: acknowledge and start the wait anew.
    wheel_.arm(t.timer, now + t.lasting);
    unlink_time_wait(i);
    link_time_wait(i);
  } else {
    counters_.add(counter::drop_tcp_old_duplicate);
    if (now - t.answered < answer_interval) {
      counters_.add(counter::challenge_acks_limited);
      return;
    }
  }
  t.answered = now;
  wire::tcp_segment out;
  out.source = t.flow.local.address;
  out.destination = t.flow.remote.address;
  out.source_port = t.flow.local.port;
  out.destination_port = t.flow.remote.port;
  out.sequence = t.send_next.raw();
  out.acknowledgment = t.receive_next.raw();
  out.flags = wire::ack;
  out.window = t.window;
  if (t.timestamps) {
    out.options.timestamps =
        wire::tcp_timestamps{tcp::timestamp_clock(now, t.timestamp_offset), t.timestamp};
  }
  send_segment(now, out, {}, t.ttl);
}

std::uint64_t host::impl::memory_in_use() const {
  return pool_.account().used() + half_open_.size() * sizeof(half_open) +
         time_wait_.size() * sizeof(tcp::time_wait_entry);
}

}  // namespace weir::stack
