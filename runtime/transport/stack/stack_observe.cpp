// What the stack transport shows: everything, since the sockets are ours.
#include <algorithm>

#include "runtime/transport/stack/stack_transport.hpp"

namespace weir::detail {
namespace {

std::uint64_t ns(duration d) { return static_cast<std::uint64_t>(d.count()); }

std::string_view name_of(stack::sharing_mode how) {
  switch (how) {
    case stack::sharing_mode::shared: return "shared";
    case stack::sharing_mode::sharded: return "sharded";
    default: return "exclusive";
  }
}

std::string_view name_of(stack::sharding_policy how) {
  switch (how) {
    case stack::sharding_policy::round_robin: return "round_robin";
    case stack::sharding_policy::least_loaded: return "least_loaded";
    default: return "hash";
  }
}

listener_snapshot shown(const stack::listener_info& from) {
  listener_snapshot out;
  out.local = from.local;
  out.accept_queue = from.accept_queue;
  out.accept_queue_peak = from.accept_queue_peak;
  out.backlog = from.backlog;
  out.accepted = from.accepted;
  out.accept_overflows = from.accept_overflows;
  out.accept_wait = ns(from.accept_wait);
  out.accept_wait_longest = ns(from.accept_wait_longest);
  out.syn_queue = from.syn_queue;
  out.syn_queue_peak = from.syn_queue_peak;
  out.syn_backlog = from.syn_backlog;
  out.syn_overflows = from.syn_overflows;
  out.syn_expired = from.syn_expired;
  out.cookies_sent = from.cookies_sent;
  out.cookies_accepted = from.cookies_accepted;
  out.defer_accept = ns(from.defer_accept);
  out.deferred = from.deferred;
  out.sharing = name_of(from.sharing);
  if (from.sharing == stack::sharing_mode::sharded) out.policy = name_of(from.policy);
  out.members = from.members;
  out.owner_key = from.has_owner_key;
  return out;
}

connection_snapshot shown(const stack::tcp_info& from) {
  connection_snapshot out;
  out.local = from.local;
  out.remote = from.remote;
  out.state = stack::name(from.state);
  out.congestion = from.congestion == stack::congestion_algorithm::reno ? "reno" : "cubic";
  out.receive_queued = from.receive_queued;
  out.receive_limit = from.receive_limit;
  out.out_of_order = from.out_of_order;
  out.send_queued = from.send_queued;
  out.send_limit = from.send_limit;
  out.unacknowledged = from.unacknowledged;
  out.memory = from.memory;
  out.rtt = ns(from.rtt);
  out.rtt_variance = ns(from.rtt_variance);
  out.rto = ns(from.rto);
  out.congestion_window = from.congestion_window;
  if (from.slow_start_threshold < 0x7fffffff) out.slow_start_threshold = from.slow_start_threshold;
  out.send_window = from.send_window;
  out.receive_window = from.receive_window;
  out.send_mss = from.send_mss;
  out.receive_mss = from.receive_mss;
  out.send_window_shift = from.send_window_shift;
  out.receive_window_shift = from.receive_window_shift;
  out.sack = from.sack;
  out.timestamps = from.timestamps;
  out.phase = stack::name(from.phase);
  out.lost = from.lost;
  out.sacked = from.sacked;
  out.retransmitted = from.retransmitted;
  out.reordering = from.reordering;
  out.bytes_sent = from.bytes_sent;
  out.bytes_received = from.bytes_received;
  out.bytes_retransmitted = from.bytes_retransmitted;
  out.segments_sent = from.segments_sent;
  out.segments_received = from.segments_received;
  out.retransmissions = from.retransmissions;
  out.timeouts = from.timeouts;
  out.fast_retransmits = from.fast_retransmits;
  out.zero_window_probes = from.zero_window_probes;
  return out;
}

void add_device(const packet_port_counters& from, std::vector<counted>& c) {
  c.push_back({"device", "frames_received", "frames read", from.frames_in});
  c.push_back({"device", "frames_sent", "frames written", from.frames_out});
  c.push_back({"device", "bytes_received", "bytes read", from.bytes_in});
  c.push_back({"device", "bytes_sent", "bytes written", from.bytes_out});
  c.push_back({"device", "send_failed", "frames that the device refused", from.send_failed});
  c.push_back(
      {"device", "no_buffer", "times reception paused for lack of buffers", from.no_buffer});
  c.push_back({"device", "cut_short", "turns that left frames unread", from.cut_short});
}

void add_link(const stack::link_counters& from, std::vector<counted>& c) {
  for (std::size_t i = 0; i < stack::link_counters::size; ++i) {
    const auto which = static_cast<stack::link_counter>(i);
    c.push_back({"link", stack::name(which), "a counter of the Ethernet link", from[which]});
  }
}

}  // namespace

void stack_transport::observe(shard_snapshot& into, const snapshot_bounds& bounds) {
  into.stack = host_.counters();
  auto& c = into.counts;
  if (port_) add_device(port_->counters(), c);
  if (settings_.handover) observe_handover(into);
  if (link_) add_link(link_->counters(), c);
  c.push_back({"transport", "sockets", "sockets that the program holds",
               streams_.taken() + listeners_.size(), true});
  c.push_back({"transport", "lent_buffers", "buffers lent to readers, and taken over from writers",
               host_.lent_chunks(), true});
  const auto& limits = host_.options().limits;
  c.push_back({"stack", "memory", "charged for all queues, half-open and TIME_WAIT entries",
               host_.memory_in_use(), true, unit::bytes});
  c.push_back({"stack", "memory_limit", "what may be charged", limits.memory, true, unit::bytes});
  c.push_back(
      {"stack", "half_open", "handshakes in all SYN queues", host_.half_open_entries(), true});
  c.push_back({"stack", "time_wait", "TIME_WAIT entries", host_.time_wait_entries(), true});
  c.push_back({"stack", "connections_limit", "connections that may be", limits.connections, true});

  datagrams_.observe(into, bounds);
  if (owner_of_sockets_ != nullptr) owner_of_sockets_->observe(into, bounds);

  host_.for_each_listener([&](const stack::listener_info& info) {
    ++into.listeners_total;
    if (into.listeners.size() < bounds.listeners) into.listeners.push_back(shown(info));
  });
  into.connections_total += host_.visit_connections(
      bounds.connections - std::min(bounds.connections, into.connections.size()),
      [&](const stack::tcp_info& info, void* user) {
        auto& out = into.connections.emplace_back(shown(info));
        if (user == nullptr || owner_of_sockets_ != nullptr) return;  // nobody's here
        const auto& s = *static_cast<const stream*>(user);
        out.read_waits = s.reader != nullptr;
        out.write_waits = !s.writers.empty();
      });
}

}  // namespace weir::detail
