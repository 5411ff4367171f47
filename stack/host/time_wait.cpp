// TIME_WAIT (RFC 9293 3.6.1; RFC 1337): entered when a connection ends, bounded by dropping the
// oldest, and answered for as long as it lasts.
#include "stack/host/flows.hpp"

namespace weir::stack {
namespace {

/// Out-of-window segments in TIME_WAIT are answered this often at most: two ends in TIME_WAIT must
/// not talk for ever.
constexpr duration answer_interval = std::chrono::milliseconds(500);

}  // namespace

void flows::enter_time_wait(std::uint32_t index, instant now) {
  auto& s = sockets_[index];
  core_.wheel.disarm(s.timer);
  s.attached = false;
  if (core_.options.limits.time_wait == 0) {
    table_.erase(s.connection.flow(), {flow_ref::kind::connection, index});
    claims_.forget(s.connection.flow());
    core_.counters.add(counter::time_wait_overflow);
    return;
  }
  if (time_wait_.size() >= core_.options.limits.time_wait) {
    core_.counters.add(counter::time_wait_overflow);
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
  table_.replace(t.flow, {flow_ref::kind::connection, index}, {flow_ref::kind::time_wait, i});
  core_.wheel.arm(t.timer, now + t.lasting);
  core_.counters.add(counter::time_wait_entered);
}

void flows::link_time_wait(std::uint32_t i) {
  auto& t = time_wait_[i];
  t.previous = time_wait_tail_;
  t.next = none;
  if (time_wait_tail_ != none)
    time_wait_[time_wait_tail_].next = i;
  else
    time_wait_head_ = i;
  time_wait_tail_ = i;
}

void flows::unlink_time_wait(std::uint32_t i) {
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

void flows::drop_time_wait(std::uint32_t i) {
  unlink_time_wait(i);
  core_.wheel.disarm(time_wait_[i].timer);
  table_.erase(time_wait_[i].flow, {flow_ref::kind::time_wait, i});
  claims_.forget(time_wait_[i].flow);
  time_wait_.erase(i);
}

void flows::on_time_wait_segment(instant now, std::uint32_t i, const wire::tcp_segment& segment) {
  auto& t = time_wait_[i];
  if (segment.has(wire::rst)) {
    core_.counters.add(counter::drop_tcp_reset_ignored);  // RFC 1337 3, fix F1
    return;
  }
  if (!segment.has(wire::ack)) {
    core_.counters.add(counter::drop_tcp_no_ack);
    return;
  }
  const auto sequence = tcp::seq(segment.sequence);
  const bool fin_again =
      segment.has(wire::fin) && sequence + segment.sequence_length() == t.receive_next;
  const bool expected = sequence == t.receive_next && segment.sequence_length() == 0;
  if (expected) return;
  if (fin_again) {
    // RFC 9293 3.10.7.4: acknowledge and start the wait anew.
    core_.wheel.arm(t.timer, now + t.lasting);
    unlink_time_wait(i);
    link_time_wait(i);
  } else {
    core_.counters.add(counter::drop_tcp_old_duplicate);
    if (now - t.answered < answer_interval) {
      core_.counters.add(counter::challenge_acks_limited);
      return;
    }
  }
  answer_in_time_wait(now, t);
}

void flows::answer_in_time_wait(instant now, tcp::time_wait_entry& t) {
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
  core_.send_segment(now, out, {}, t.ttl);
}

}  // namespace weir::stack
