// IPv4 headers: RFC 791 3.1, RFC 1122 3.2.1. See ip.hpp.
#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack::wire {
namespace {

constexpr std::uint16_t flag_dont_fragment = 0x4000;
constexpr std::uint16_t flag_more_fragments = 0x2000;
constexpr std::uint16_t offset_mask = 0x1fff;

enum option_type : std::uint8_t {
  end_of_options = 0,
  no_operation = 1,
  loose_source_route = 131,
  strict_source_route = 137
};

void parameter_problem_at(ip_header& out, std::size_t at) {
  out.status = ip_status::parameter_problem;
  out.problem_code = 0;
  out.problem_pointer = static_cast<std::uint32_t>(at);
}

// Steps through the options: unknown ones are ignored (RFC 1122 3.2.1.8), lengths that leave the
// header are not.
void walk_options(std::span<const std::byte> header, ip_header& out) {
  std::size_t at = min_ipv4_header;
  while (at < header.size()) {
    auto type = get8(header.data() + at);
    if (type == end_of_options) return;
    if (type == no_operation) {
      ++at;
      continue;
    }
    auto room = header.size() - at;
    std::size_t length = room >= 2 ? get8(header.data() + at + 1) : 0;
    if (length < 2 || length > room) return parameter_problem_at(out, room >= 2 ? at + 1 : at);
    if (type == loose_source_route || type == strict_source_route) {
      if (length < 3) return parameter_problem_at(out, at + 1);
      auto pointer = get8(header.data() + at + 2);
      if (pointer < 4) return parameter_problem_at(out, at + 2);
      if (pointer <= length) out.route_unfinished = true;
    }
    at += length;
  }
}

}  // namespace

ip_header parse_ipv4(std::span<const std::byte> packet, bool check) {
  ip_header out;
  if (packet.size() < min_ipv4_header) return out;
  const auto* at = packet.data();
  out.header_length = (std::size_t{get8(at)} & 15) * 4;
  out.total_length = get16(at + 2);
  if (out.header_length < min_ipv4_header || out.header_length > out.total_length ||
      out.total_length > packet.size())
    return out;
  const auto sum = [&] {
    return out.header_length == min_ipv4_header ? checksum_of_20(at)
                                                : checksum_of(packet.first(out.header_length));
  };
  if (check && sum() != 0) {
    out.status = ip_status::bad_checksum;
    return out;
  }
  auto fragment = get16(at + 6);
  out.traffic_class = get8(at + 1);
  out.identification = get16(at + 4);
  out.dont_fragment = (fragment & flag_dont_fragment) != 0;
  out.more_fragments = (fragment & flag_more_fragments) != 0;
  out.fragment_offset = std::uint32_t{fragment} % (offset_mask + 1u) * 8;
  out.is_fragment = out.more_fragments || out.fragment_offset != 0;
  out.ttl = get8(at + 8);
  out.protocol = get8(at + 9);
  out.source = read_v4(at + 12);
  out.destination = read_v4(at + 16);
  out.next_header_at = 9;
  out.payload = packet.subspan(out.header_length, out.total_length - out.header_length);
  out.status = ip_status::ok;
  if (out.header_length > min_ipv4_header) walk_options(packet.first(out.header_length), out);
  return out;
}

void emit_ipv4(std::byte* into, const ipv4_fields& fields) {
  put8(into, 0x45);
  put8(into + 1, fields.traffic_class);
  put16(into + 2, fields.total_length);
  put16(into + 4, fields.identification);
  put16(into + 6, static_cast<std::uint16_t>((fields.dont_fragment ? flag_dont_fragment : 0) |
                                             (fields.more_fragments ? flag_more_fragments : 0) |
                                             fields.fragment_offset / 8));
  put8(into + 8, fields.ttl);
  put8(into + 9, fields.protocol);
  put16(into + 10, 0);
  std::memcpy(into + 12, fields.source.bytes().data(), 4);
  std::memcpy(into + 16, fields.destination.bytes().data(), 4);
  put16(into + 10, checksum_of_20(into));
}

}  // namespace weir::stack::wire
