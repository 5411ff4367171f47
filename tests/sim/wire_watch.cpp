// See wire_watch.hpp.
#include "sim/wire_watch.hpp"

#include <algorithm>

#include "stack/wire/ip.hpp"

namespace sim_test {

namespace wire = weir::stack::wire;

namespace {

bool parse(std::span<const std::byte> packet, wire::tcp_segment& out, bool& other) {
  auto ip = wire::parse_ip(packet);
  if (ip.status != wire::ip_status::ok) return false;
  other = ip.protocol != wire::tcp_protocol || ip.is_fragment;
  if (other) return true;
  out.source = ip.source;
  out.destination = ip.destination;
  return wire::parse_tcp(ip.payload, true, out) == wire::parse_status::ok;
}

std::string told(const char* what, std::int64_t a, std::int64_t b) {
  return std::string(what) + ": " + std::to_string(a) + " where " + std::to_string(b) +
         " is the limit";
}

}  // namespace

std::int64_t wire_watch::edge_of(const stream& data, const stream& acks,
                                 std::uint32_t acknowledgment, const wire::tcp_segment& segment) {
  // A SYN's window is never scaled (RFC 7323 2.2).
  auto shift = segment.has(wire::syn) || !data.scales || !acks.scales ? 0 : acks.shift;
  return place(data, acknowledgment) + (std::int64_t{segment.window} << shift);
}

std::string wire_watch::check_data(const wire::tcp_segment& segment, stream& mine) {
  auto begin = place(mine, segment.sequence);
  auto end = begin + segment.sequence_length();
  if (begin > mine.sent_end) return told("a gap in what is sent", begin, mine.sent_end);
  auto data_end = end - (segment.has(wire::fin) ? 1 : 0);
  if (!segment.payload.empty() && data_end > mine.allowed)
    return told("sent beyond the window", data_end, mine.allowed);
  mine.sent_end = std::max(mine.sent_end, end);
  if (segment.options.timestamps) {
    auto value = segment.options.timestamps->value;
    if (mine.has_clock && static_cast<std::int32_t>(value - mine.clock) < 0)
      return "a timestamp that is older than the last";
    mine.has_clock = true;
    mine.clock = value;
  }
  return {};
}

std::string wire_watch::check_acknowledgment(const wire::tcp_segment& segment, const stream& mine,
                                             stream& theirs) {
  auto ack = place(theirs, segment.acknowledgment);
  if (ack > theirs.arrived_end)
    return told("acknowledges what never came", ack, theirs.arrived_end);
  if (ack < theirs.acknowledged)
    return told("takes an acknowledgement back", ack, theirs.acknowledged);
  theirs.acknowledged = ack;
  auto edge = edge_of(theirs, mine, segment.acknowledgment, segment);
  // The remainder that the shift cannot say may go (RFC 7323 2.4).
  auto unit = std::int64_t{1} << (mine.scales && theirs.scales ? mine.shift : 0);
  if (edge + unit <= theirs.promised) return told("takes a window back", edge, theirs.promised);
  theirs.promised = std::max(theirs.promised, edge);
  for (std::size_t i = 0; i < segment.options.sack_count; ++i) {
    auto left = place(theirs, segment.options.sack[i].left);
    auto right = place(theirs, segment.options.sack[i].right);
    if (left >= right || right > theirs.arrived_end)
      return told("a SACK block of what never came", right, theirs.arrived_end);
    if (i > 0 && left <= ack) return told("an old SACK block that is no D-SACK", left, ack);
  }
  return {};
}

std::string wire_watch::sent(std::span<const std::byte> packet, std::uint16_t mtu) {
  wire::tcp_segment segment;
  bool other = false;
  if (!parse(packet, segment, other)) return "what is sent does not parse";
  if (packet.size() > mtu) return told("a packet longer than the MTU", std::ssize(packet), mtu);
  if (other || segment.has(wire::rst)) return {};
  weir::endpoint from{segment.source, segment.source_port};
  weir::endpoint to{segment.destination, segment.destination_port};
  auto& mine = streams_[{from, to}];
  auto& theirs = streams_[{to, from}];
  if (segment.has(wire::syn)) {
    if (mine.open && mine.isn != segment.sequence) {
      // A half-open entry expired and its client tries on, or a port is used again: two connections
      // are on their way under one name, and which segment belongs to which cannot be told here.
      mine.mixed = theirs.mixed = true;
    } else if (!mine.open) {
      mine.open = true;
      mine.isn = segment.sequence;
    }
    mine.scales = segment.options.window_scale.has_value();
    mine.shift = std::min<std::uint8_t>(segment.options.window_scale.value_or(0), 14);
  }
  if (mine.mixed) return {};
  if (!mine.open) return "a segment before its SYN";
  if (auto failure = check_data(segment, mine); !failure.empty()) return failure;
  if (!segment.has(wire::ack)) return {};
  return check_acknowledgment(segment, mine, theirs);
}

void wire_watch::delivered(std::span<const std::byte> packet) {
  wire::tcp_segment segment;
  bool other = false;
  if (!parse(packet, segment, other) || other || segment.has(wire::rst)) return;
  weir::endpoint from{segment.source, segment.source_port};
  weir::endpoint to{segment.destination, segment.destination_port};
  auto& theirs = streams_[{from, to}];
  if (!theirs.open || theirs.mixed) return;
  theirs.arrived_end =
      std::max(theirs.arrived_end, place(theirs, segment.sequence) + segment.sequence_length());
  auto& mine = streams_[{to, from}];
  if (segment.has(wire::ack) && mine.open)
    mine.allowed = std::max(mine.allowed, edge_of(mine, theirs, segment.acknowledgment, segment));
}

}  // namespace sim_test
