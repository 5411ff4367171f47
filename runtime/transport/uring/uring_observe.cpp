// What the uring transport shows: its counters, and of its sockets what the kernel tells, together
// with what this process has received and not read, or accepted and not claimed.
#include "runtime/transport/uring/uring_transport.hpp"

namespace weir::detail {

void uring_transport::observe_listener(const uring_listener& l, listener_snapshot& out) const {
  out.local = l.local;
  out.accepted = l.taken;
  out.accepted_ahead = l.accepted.size();
  out.accepted_ahead_limit = l.queue_limit;
  kernel::describe_sharing(l.how, groups().count(l.local), out);
  driver_.count_system_calls(kernel::observe_listener(l.fd, out));
}

void uring_transport::observe_stream(const uring_stream& s, connection_snapshot& out) const {
  driver_.count_system_calls(kernel::observe_connection(s.fd, s, out));
  if (out.receive_queued) {
    // The rest of what is presented is in rx_size; the chunks behind it are whole.
    *out.receive_queued += s.rx_size;
    auto i = s.stash != nullptr || s.head == uring_stream::none ? s.head : chunks_[s.head].next;
    for (; i != uring_stream::none; i = chunks_[i].next) *out.receive_queued += chunks_[i].size;
  }
}

void uring_transport::observe(shard_snapshot& into, const snapshot_bounds& bounds) {
  auto& c = into.counts;
  kernel::show(counters_, into);
  c.push_back({"transport", "accept_refused", "connections reset because too many were unclaimed",
               counters_.accept_refused});
  c.push_back({"transport", "no_buffers", "times the kernel found the ring of buffers empty",
               counters_.no_buffers});
  c.push_back({"transport", "withdrawn", "receives stopped because the reader was behind",
               counters_.withdrawn});
  c.push_back({"transport", "direct_receives", "receives into the reader's own memory",
               counters_.direct_receives});
  c.push_back({"transport", "sends", "sends handed to the kernel", counters_.sends});
  c.push_back({"transport", "coalesced_sends", "sends that carried more than one write",
               counters_.coalesced_sends});
  c.push_back({"transport", "prompt_sends", "sends tried at once, for writers that came right back",
               counters_.prompt_sends});
  c.push_back({"transport", "stashed", "times unread bytes were copied out of scarce buffers",
               counters_.stashed});
  c.push_back({"transport", "closing", "sockets given up and not gone yet", closing_, true});
  c.push_back({"transport", "buffers", "receive buffers", buffers_.count(), true});
  c.push_back({"transport", "buffers_offered", "receive buffers that the kernel holds",
               buffers_.offered(), true});
  c.push_back(
      {"transport", "buffers_spare", "receive buffers that nobody holds", buffers_.spares(), true});
  datagrams_.observe(into, bounds);
  for (const auto& l : listeners_) {
    if (l->closing) continue;
    ++into.listeners_total;
    if (into.listeners.size() < bounds.listeners)
      observe_listener(*l, into.listeners.emplace_back());
  }
  for (auto* s = open_.front(); s != nullptr; s = open_.after(*s)) {
    if (s->closing) continue;
    ++into.connections_total;
    if (into.connections.size() < bounds.connections)
      observe_stream(*s, into.connections.emplace_back());
  }
}

}  // namespace weir::detail
