// Segments on their way out, and the reset for one that belongs to no flow.
#include "stack/host/core.hpp"

#include "stack/host/event_queue.hpp"

namespace weir::stack {

void host_core::send_segment(instant now, const wire::tcp_segment& segment,
                             std::span<const std::span<const std::byte>> payload,
                             std::uint8_t ttl) {
  if (silent) return;
  std::uint64_t count = 1;
  if (segment.gso_size != 0) {
    std::size_t bytes = 0;
    for (auto part : payload) bytes += part.size();
    count = (bytes + segment.gso_size - 1) / segment.gso_size;
  }
  counters.add(counter::segments_sent, count);
  // A device without room loses the segment; the retransmission finds it again.
  (void)ip.send_tcp(now, segment, payload, ttl);
}

void host_core::answer_with_reset(instant now, const wire::tcp_segment& segment) {
  // A reset is never answered; nor is what did not come from a single host.
  if (segment.has(wire::rst)) {
    counters.add(counter::drop_tcp_reset_ignored);
    return;
  }
  if (!ip.is_unicast(segment.source)) return;
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
  counters.add(counter::resets_sent);
  send_segment(now, out, {}, options.tcp.ttl);
}

void event_queue::push(socket_id id) {
  if (taken_ > 0 && taken_ == ids_.size()) {
    ids_.clear();
    taken_ = 0;
  } else if (taken_ > 1024 && taken_ * 2 > ids_.size()) {
    ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(taken_));
    taken_ = 0;
  }
  ids_.push_back(id);
}

}  // namespace weir::stack
