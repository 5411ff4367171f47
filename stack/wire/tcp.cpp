// TCP parse and emit: see tcp.hpp. RFC 9293 3.1 and 3.2; options of RFC 7323, 2018, 5482.
#include "stack/wire/tcp.hpp"

#include <algorithm>

#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack::wire {
namespace {

enum option_kind : std::uint8_t {
  end_of_options = 0,
  no_operation = 1,
  maximum_segment_size = 2,
  window_scale_option = 3,
  sack_permitted_option = 4,
  sack_option = 5,
  timestamps_option = 8,
  user_timeout_option = 28
};

constexpr std::size_t sack_block_size = 8;
constexpr std::uint32_t nop_nop_timestamps = 0x0101080a;

void parse_sack(const std::byte* at, std::size_t length, tcp_option_set& out) {
  auto blocks = std::min<std::size_t>((length - 2) / sack_block_size, out.sack.size());
  for (std::size_t i = 0; i < blocks; ++i) {
    out.sack[i].left = get32(at + 2 + i * sack_block_size);
    out.sack[i].right = get32(at + 6 + i * sack_block_size);
  }
  out.sack_count = static_cast<std::uint8_t>(blocks);
}

// One option with its length octet checked against the room. A known kind whose length is not its
// own says nothing.
bool parse_option(const std::byte* at, std::size_t length, tcp_option_set& out) {
  switch (get8(at)) {
    case maximum_segment_size:
      if (length != 4) return false;
      out.mss = get16(at + 2);
      return true;
    case window_scale_option:
      if (length != 3) return false;
      out.window_scale = get8(at + 2);
      return true;
    case sack_permitted_option:
      if (length != 2) return false;
      out.sack_permitted = true;
      return true;
    case sack_option:
      if (length < 2 + sack_block_size || (length - 2) % sack_block_size != 0) return false;
      parse_sack(at, length, out);
      return true;
    case timestamps_option:
      if (length != 10) return false;
      out.timestamps = tcp_timestamps{get32(at + 2), get32(at + 6)};
      return true;
    case user_timeout_option:
      if (length != 4) return false;
      out.user_timeout = get16(at + 2);
      return true;
    default: return true;  // MUST-6: skipped by its length
  }
}

std::size_t sack_blocks_that_fit(const tcp_option_set& options, std::size_t used) {
  auto room = max_tcp_options - used;
  if (room < 4 + sack_block_size) return 0;
  auto most = std::min<std::size_t>((room - 4) / sack_block_size, options.sack.size());
  return std::min<std::size_t>(options.sack_count, most);
}

// The bytes of everything but SACK blocks.
std::size_t fixed_options_length(const tcp_option_set& options) {
  std::size_t length = 0;
  if (options.mss) length += 4;
  if (options.timestamps) length += 12;
  if (options.sack_permitted && !options.timestamps) length += 4;
  if (options.window_scale) length += 4;
  if (options.user_timeout) length += 4;
  return length;
}

std::byte* put_option(std::byte* at, std::uint8_t kind, std::uint8_t length) {
  put8(at, kind);
  put8(at + 1, length);
  return at + 2;
}

std::byte* put_nops(std::byte* at) {
  put8(at, no_operation);
  put8(at + 1, no_operation);
  return at + 2;
}

void emit_options(std::byte* at, const tcp_option_set& options, std::size_t sack_blocks) {
  if (options.mss) {
    at = put_option(at, maximum_segment_size, 4);
    put16(at, *options.mss);
    at += 2;
  }
  if (options.sack_permitted) {
    if (!options.timestamps) at = put_nops(at);
    at = put_option(at, sack_permitted_option, 2);
  }
  if (options.timestamps) {
    if (!options.sack_permitted) at = put_nops(at);
    at = put_option(at, timestamps_option, 10);
    put32(at, options.timestamps->value);
    put32(at + 4, options.timestamps->echo);
    at += 8;
  }
  if (options.window_scale) {
    put8(at, no_operation);
    at = put_option(at + 1, window_scale_option, 3);
    put8(at, *options.window_scale);
    at += 1;
  }
  if (sack_blocks > 0) {
    at = put_nops(at);
    at = put_option(at, sack_option, static_cast<std::uint8_t>(2 + sack_blocks * sack_block_size));
    for (std::size_t i = 0; i < sack_blocks; ++i, at += sack_block_size) {
      put32(at, options.sack[i].left);
      put32(at + 4, options.sack[i].right);
    }
  }
  if (options.user_timeout) {
    at = put_option(at, user_timeout_option, 4);
    put16(at, *options.user_timeout);
  }
}

bool only_timestamps(const tcp_option_set& options) {
  return options.timestamps && options.sack_count == 0 && !options.mss && !options.window_scale &&
         !options.sack_permitted && !options.user_timeout;
}

// The 20 bytes that every segment has, for a header of `length` bytes.
void emit_fixed_part(std::byte* at, const tcp_segment& fields, std::size_t length) {
  put32(at, std::uint32_t{fields.source_port} << 16 | fields.destination_port);
  put32(at + 4, fields.sequence);
  put32(at + 8, fields.acknowledgment);
  put32(at + 12, static_cast<std::uint32_t>(length) << 26 | std::uint32_t{fields.flags} << 16 |
                     fields.window);
  put32(at + 16, fields.urgent);  // and a checksum of zero
}

}  // namespace

void parse_tcp_options(std::span<const std::byte> bytes, tcp_option_set& out) {
  // Nearly every segment of a connection carries just this: NOP NOP timestamps.
  if (bytes.size() == 12 && get32(bytes.data()) == nop_nop_timestamps) {
    out.timestamps = tcp_timestamps{get32(bytes.data() + 4), get32(bytes.data() + 8)};
    return;
  }
  std::size_t at = 0;
  while (at < bytes.size()) {
    auto kind = get8(bytes.data() + at);
    if (kind == end_of_options) return;  // MUST-69: what follows is padding
    if (kind == no_operation) {
      ++at;
      continue;
    }
    auto room = bytes.size() - at;
    std::size_t length = room >= 2 ? get8(bytes.data() + at + 1) : 0;  // MUST-68
    if (length < 2 || length > room) {                                 // MUST-7
      out.malformed = true;
      return;
    }
    if (!parse_option(bytes.data() + at, length, out)) out.malformed = true;
    at += length;
  }
}

parse_status parse_tcp(std::span<const std::byte> bytes, bool verify, tcp_segment& out) {
  if (bytes.size() < min_tcp_header) return parse_status::malformed;
  const auto* at = bytes.data();
  std::size_t header = std::size_t{get8(at + 12)} >> 4 << 2;
  if (header < min_tcp_header || header > bytes.size()) return parse_status::malformed;
  if (verify) {  // MUST-3
    internet_sum sum;
    sum.add_pseudo(out.source, out.destination, tcp_protocol,
                   static_cast<std::uint32_t>(bytes.size()));
    sum.add(bytes);
    if (sum.checksum() != 0) return parse_status::bad_checksum;
  }
  out.source_port = get16(at);
  out.destination_port = get16(at + 2);
  out.sequence = get32(at + 4);
  out.acknowledgment = get32(at + 8);
  out.flags = get8(at + 13);
  out.window = get16(at + 14);
  out.urgent = get16(at + 18);
  out.options = {};
  if (header > min_tcp_header)
    parse_tcp_options(bytes.subspan(min_tcp_header, header - min_tcp_header), out.options);
  out.payload = bytes.subspan(header);
  return parse_status::ok;
}

std::size_t tcp_options_length(const tcp_option_set& options) {
  auto length = fixed_options_length(options);
  auto blocks = sack_blocks_that_fit(options, length);
  return blocks == 0 ? length : length + 4 + blocks * sack_block_size;
}

std::size_t emit_tcp_header(std::span<std::byte> into, const tcp_segment& fields) {
  if (only_timestamps(fields.options) && into.size() >= min_tcp_header + 12) {
    // Nearly every segment of a connection: a fixed layout.
    emit_fixed_part(into.data(), fields, min_tcp_header + 12);
    put32(into.data() + 20, nop_nop_timestamps);
    put32(into.data() + 24, fields.options.timestamps->value);
    put32(into.data() + 28, fields.options.timestamps->echo);
    return min_tcp_header + 12;
  }
  auto fixed = fixed_options_length(fields.options);
  auto blocks = sack_blocks_that_fit(fields.options, fixed);
  auto length = min_tcp_header + fixed + (blocks == 0 ? 0 : 4 + blocks * sack_block_size);
  if (into.size() < length) return 0;
  auto* at = into.data();
  emit_fixed_part(at, fields, length);
  emit_options(at + min_tcp_header, fields.options, blocks);
  return length;
}

}  // namespace weir::stack::wire
