// Sending: see output.hpp.
#include "stack/ip/output.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "stack/ip/ip_layer.hpp"
#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/ip.hpp"
#include "stack/wire/plain.hpp"

namespace weir::stack {
namespace {

constexpr std::size_t largest_packet = 65535;
constexpr std::size_t max_looped_bytes = 8u << 20;
constexpr std::size_t tcp_sequence_at = 4;
constexpr std::size_t tcp_flags_at = 13;
constexpr std::uint16_t tcp_checksum_at = 16;
constexpr std::uint64_t identification_key_number = 0x6970;

std::size_t ip_header_size(const ip_address& address) {
  return address.is_v4() ? wire::min_ipv4_header : wire::ipv6_header;
}

}  // namespace

std::size_t emit_ip_header(std::byte* into, const ip_route& route, std::size_t length) {
  // RFC 1122 3.2.1.7: a TTL of zero is never sent.
  auto ttl = std::max<std::uint8_t>(route.ttl, 1);
  if (route.source.is_v4()) {
    wire::plain_ipv4 fields;
    fields.source = route.source.to_v4_number();
    fields.destination = route.destination.to_v4_number();
    fields.protocol = route.protocol;
    fields.ttl = ttl;
    fields.traffic_class = route.traffic_class;
    fields.total_length = static_cast<std::uint16_t>(length + wire::min_ipv4_header);
    wire::emit_plain_ipv4(into, fields);
    return wire::min_ipv4_header;
  }
  wire::ipv6_fields fields;
  fields.source = route.source;
  fields.destination = route.destination;
  fields.next_header = route.protocol;
  fields.hop_limit = ttl;
  fields.traffic_class = route.traffic_class;
  fields.payload_length = static_cast<std::uint16_t>(length);
  wire::emit_ipv6(into, fields);
  return wire::ipv6_header;
}

/// A TCP segment under construction: the headers, and in parts_[0] room for them before the
/// payload's spans.
struct ip_output::tcp_frame {
  ip_route route;
  std::array<std::byte, wire::ipv6_header + wire::max_tcp_header> header;
  std::size_t ip_length = 0, tcp_length = 0;
  part_room<ip_layer::max_parts + 1> parts;
  std::size_t part_count = 0;  // of the payload
  bool local = false;

  std::byte* tcp() { return header.data() + ip_length; }
};

ip_output::ip_output(const host_options& options, const address_set& addresses, packet_sink& sink,
                     host_counters& counters)
    : options_(options),
      addresses_(addresses),
      sink_(sink),
      counters_(counters),
      looped_(ip_layer::max_looped, max_looped_bytes),
      identification_key_(derive_key(options.secret, identification_key_number)) {}

// `local`: the destination is one of the host's own.
bool ip_output::may_send(const ip_address& source, const ip_address& destination,
                         bool& local) const {
  if (source.family() != destination.family()) return false;
  if (source.is_v4()) {
    const auto from = source.to_v4_number(), to = destination.to_v4_number();
    if (!addresses_.is_ours_v4(from)) return false;
    local = addresses_.is_local_v4(to);
    return local || (addresses_.is_unicast_v4(to) && to >> 24 != 127 && from >> 24 != 127);
  }
  if (!addresses_.is_ours(source)) return false;  // RFC 1122 3.2.1.3: one of the host's own
  local = addresses_.is_local(destination);
  if (local) return true;
  // RFC 1122 3.2.1.3 g: loopback addresses stay inside.
  return addresses_.is_unicast(destination) && !destination.is_loopback() && !source.is_loopback();
}

bool ip_output::transmit(part_list parts, std::size_t length, const transmit_meta& meta) {
  if (!sink_.transmit(parts, meta)) {
    counters_.add(counter::device_full);
    return false;
  }
  counters_.add(counter::packets_sent);
  counters_.add(counter::bytes_sent, length);
  return true;
}

// Completes the headers for the payload that stands in frame.parts and sends it.
bool ip_output::emit_tcp(tcp_frame& frame, std::size_t payload_size, std::uint16_t gso_size) {
  auto length = frame.tcp_length + payload_size;
  emit_ip_header(frame.header.data(), frame.route, length);
  frame.parts[0] = {frame.header.data(), frame.ip_length + frame.tcp_length};
  auto parts = frame.parts.first(frame.part_count + 1);
  transmit_meta meta;
  meta.header_length = static_cast<std::uint16_t>(frame.ip_length + frame.tcp_length);
  meta.family = frame.route.source.family();
  meta.gso_size = gso_size;
  wire::put16(frame.tcp() + tcp_checksum_at, 0);
  wire::internet_sum sum;
  sum.add_pseudo(frame.route.source, frame.route.destination, wire::tcp_protocol,
                 static_cast<std::uint32_t>(length));
  if (options_.transmit_checksum_offload && !frame.local) {
    meta.needs_checksum = true;
    meta.checksum_start = static_cast<std::uint16_t>(frame.ip_length);
    meta.checksum_offset = tcp_checksum_at;
    wire::put16(frame.tcp() + tcp_checksum_at, sum.folded());
    return transmit(parts, frame.ip_length + length, meta);
  }
  sum.add({frame.tcp(), frame.tcp_length});  // MUST-2
  for (const auto& part : parts.subspan(1)) sum.add(part);
  wire::put16(frame.tcp() + tcp_checksum_at, sum.checksum());
  if (!frame.local) return transmit(parts, frame.ip_length + length, meta);
  receive_meta looped;
  looped.checksum_good = true;
  looped.gso_size = gso_size;
  if (looped_.push(parts, looped)) return true;
  counters_.add(counter::device_full);
  return false;
}

// Segmentation where the device has none: what TSO would do (FIN and PSH on the last piece, CWR on
// the first).
bool ip_output::cut_tcp(tcp_frame& frame, part_list payload, std::size_t total,
                        std::uint16_t size) {
  part_cursor cursor(payload);
  auto sequence = wire::get32(frame.tcp() + tcp_sequence_at);
  auto flags = wire::get8(frame.tcp() + tcp_flags_at);
  for (std::size_t done = 0; done < total;) {
    auto piece = std::min<std::size_t>(size, total - done);
    auto here = flags;
    if (done > 0) here &= static_cast<std::uint8_t>(~wire::cwr);
    if (done + piece < total) here &= static_cast<std::uint8_t>(~(wire::fin | wire::psh));
    wire::put32(frame.tcp() + tcp_sequence_at, sequence + static_cast<std::uint32_t>(done));
    wire::put8(frame.tcp() + tcp_flags_at, here);
    frame.part_count = cursor.take(piece, frame.parts.from(1));
    if (!emit_tcp(frame, piece, 0)) return false;
    done += piece;
  }
  return true;
}

// One packet of a plain segment that fits: the general way's result without its steps.
bool ip_output::send_plain(const wire::tcp_segment& segment, part_list payload, std::size_t total,
                           std::uint16_t gso_size, std::uint8_t ttl) {
  const auto headers = wire::plain_headers(segment);
  std::byte header[wire::max_plain_headers];
  wire::emit_plain(header, segment, total, std::max<std::uint8_t>(ttl, 1));
  part_room<ip_layer::max_parts + 1> parts;
  parts[0] = {header, headers};
  std::copy(payload.begin(), payload.end(), parts.from(1).begin());
  transmit_meta meta;
  meta.header_length = static_cast<std::uint16_t>(headers);
  meta.gso_size = gso_size;
  if (options_.transmit_checksum_offload) {
    meta.needs_checksum = true;
    meta.checksum_start = wire::min_ipv4_header;
    meta.checksum_offset = tcp_checksum_at;
  } else {
    // The field holds the pseudo header's part of the sum already.
    wire::internet_sum sum;
    sum.add(std::span(header, headers).subspan(wire::min_ipv4_header));
    for (const auto& part : payload) sum.add(part);
    wire::put16(header + wire::min_ipv4_header + tcp_checksum_at, sum.checksum());
  }
  return transmit(parts.first(payload.size() + 1), headers + total, meta);
}

bool ip_output::send_tcp(const wire::tcp_segment& segment, part_list payload, std::uint8_t ttl) {
  assert(payload.size() <= ip_layer::max_parts);
  if (payload.size() > ip_layer::max_parts) return false;
  const bool plain = wire::is_plain(segment);
  const auto pair = plain ? std::uint64_t{segment.source.to_v4_number()} << 32 |
                                segment.destination.to_v4_number()
                          : 0;
  bool local = false;
  if (pair != last_pair_ || pair == 0) {
    if (!may_send(segment.source, segment.destination, local)) return false;
    if (plain && !local) last_pair_ = pair;
  }
  const auto total = total_size(payload);
  const bool super = segment.gso_size != 0 && total > segment.gso_size;
  const std::size_t limit = local ? largest_packet : options_.mtu;
  const bool whole =
      local || (options_.transmit_segmentation_offload && options_.transmit_checksum_offload);
  if (plain && !local) {
    const auto headers = wire::plain_headers(segment);
    if (headers + (super ? segment.gso_size : total) > limit) return false;
    if (!super || (whole && headers + total <= largest_packet))
      return send_plain(segment, payload, total, super ? segment.gso_size : std::uint16_t{0}, ttl);
  }
  tcp_frame frame;
  frame.local = local;
  frame.route.source = segment.source;
  frame.route.destination = segment.destination;
  frame.route.protocol = wire::tcp_protocol;
  frame.route.ttl = ttl;
  frame.route.traffic_class =
      static_cast<std::uint8_t>((segment.traffic_class & 0xfcu) | (segment.ecn & 3u));
  frame.ip_length = ip_header_size(segment.source);
  frame.tcp_length =
      wire::emit_tcp_header(std::span(frame.header).subspan(frame.ip_length), segment);
  auto headers = frame.ip_length + frame.tcp_length;
  // RFC 1122 3.3.3: nothing larger than what fits, as nothing of TCP is fragmented here.
  if (headers + (super ? segment.gso_size : total) > limit) return false;
  if (super && (!whole || headers + total > largest_packet))
    return cut_tcp(frame, payload, total, segment.gso_size);
  std::copy(payload.begin(), payload.end(), frame.parts.from(1).begin());
  frame.part_count = payload.size();
  return emit_tcp(frame, total, super ? segment.gso_size : std::uint16_t{0});
}

// Unique within a datagram's lifetime and not to be guessed (RFC 6864 4.3, RFC 7739 5.3): a counter
// for each bucket of destinations, displaced by a keyed hash.
std::uint32_t ip_output::next_identification(const ip_route& route) {
  std::uint64_t words[5] = {};
  std::memcpy(words, route.source.bytes().data(), route.source.bytes().size());
  std::memcpy(words + 2, route.destination.bytes().data(), route.destination.bytes().size());
  words[4] = route.protocol;
  auto hash = siphash_words<2, 4>(identification_key_, words);
  auto& bucket = identifications_[(hash >> 32) % identifications_.size()];
  return static_cast<std::uint32_t>(hash) + bucket++;
}

bool ip_output::send_fragments(const ip_route& route, part_list parts, std::size_t total,
                               std::size_t mtu) {
  bool v6 = route.source.is_v6();
  auto headers = v6 ? wire::ipv6_header + wire::fragment_header_size : wire::min_ipv4_header;
  if (mtu < headers + 8) return false;
  auto room = (mtu - headers) / 8 * 8;
  auto identification = next_identification(route);
  std::array<std::byte, wire::ipv6_header + wire::fragment_header_size> header;
  part_room<ip_layer::max_parts + 2> pieces;
  part_cursor cursor(parts);
  transmit_meta meta;
  meta.header_length = static_cast<std::uint16_t>(headers);
  meta.family = route.source.family();
  for (std::size_t done = 0; done < total;) {
    auto piece = std::min(room, total - done);
    bool more = done + piece < total;
    if (v6) {
      auto outer = route;
      outer.protocol = wire::fragment_header;
      emit_ip_header(header.data(), outer, piece + wire::fragment_header_size);
      wire::emit_ipv6_fragment(header.data() + wire::ipv6_header, route.protocol,
                               static_cast<std::uint16_t>(done), more, identification);
    } else {
      wire::ipv4_fields fields;
      fields.source = route.source;
      fields.destination = route.destination;
      fields.protocol = route.protocol;
      fields.ttl = std::max<std::uint8_t>(route.ttl, 1);
      fields.traffic_class = route.traffic_class;
      fields.identification = static_cast<std::uint16_t>(identification);
      fields.total_length = static_cast<std::uint16_t>(headers + piece);
      fields.dont_fragment = false;
      fields.more_fragments = more;
      fields.fragment_offset = static_cast<std::uint16_t>(done);
      wire::emit_ipv4(header.data(), fields);
    }
    pieces[0] = {header.data(), headers};
    auto count = cursor.take(piece, pieces.from(1));
    if (!transmit(pieces.first(count + 1), headers + piece, meta)) return false;
    done += piece;
  }
  return true;
}

bool ip_output::send_datagram(const ip_route& route, std::span<std::byte> transport,
                              part_list payload, std::size_t mtu, std::uint16_t checksum_at) {
  assert(payload.size() <= ip_layer::max_parts && transport.size() <= 8);
  if (payload.size() > ip_layer::max_parts || transport.size() > 8) return false;
  bool local = false;
  if (!may_send(route.source, route.destination, local)) return false;
  auto ip_length = ip_header_size(route.source);
  auto total = transport.size() + total_size(payload);
  if (total + (route.source.is_v4() ? ip_length : 0) > largest_packet) return false;
  bool fits = local || ip_length + total <= mtu;
  transmit_meta meta;
  meta.family = route.source.family();
  meta.header_length = static_cast<std::uint16_t>(ip_length + transport.size());
  if (checksum_at != 0) {
    wire::internet_sum sum;
    sum.add_pseudo(route.source, route.destination, route.protocol,
                   static_cast<std::uint32_t>(total));
    meta.needs_checksum = fits && !local && options_.transmit_checksum_offload;
    meta.checksum_start =
        meta.needs_checksum ? static_cast<std::uint16_t>(ip_length) : std::uint16_t{0};
    meta.checksum_offset = meta.needs_checksum ? checksum_at : std::uint16_t{0};
    if (!meta.needs_checksum) {
      sum.add(transport);
      for (const auto& part : payload) sum.add(part);
    }
    auto value = meta.needs_checksum ? sum.folded() : sum.checksum();
    // RFC 768: a computed zero is sent as all ones, zero means none.
    wire::put16(transport.data() + checksum_at,
                value == 0 && !meta.needs_checksum ? 0xffff : value);
  }
  part_room<ip_layer::max_parts + 2> parts;
  parts[1] = transport;
  std::copy(payload.begin(), payload.end(), parts.from(2).begin());
  if (!fits) return send_fragments(route, parts.first(payload.size() + 2).subspan(1), total, mtu);
  std::array<std::byte, wire::ipv6_header> header;
  emit_ip_header(header.data(), route, total);
  parts[0] = {header.data(), ip_length};
  auto all = parts.first(payload.size() + 2);
  if (!local) return transmit(all, ip_length + total, meta);
  if (looped_.push(all, {.checksum_good = true, .gso_size = 0})) return true;
  counters_.add(counter::device_full);
  return false;
}

}  // namespace weir::stack
