// The TCP header and its options as values: parsed from hostile bytes without exceptions,
// allocation or reading past the end, and emitted in the option order that Linux uses (RFC 9293 3.1
// and 3.2, RFC 7323, RFC 2018, RFC 5482). It knows nothing of connections: a field is reported as
// it stands, its meaning is the tcp folder's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "weir/stack/address.hpp"

namespace weir::stack::wire {

inline constexpr std::size_t min_tcp_header = 20;
inline constexpr std::size_t max_tcp_header = 60;
inline constexpr std::size_t max_tcp_options = 40;

/// RFC 7323 3.2: TSval and TSecr.
struct tcp_timestamps {
  std::uint32_t value = 0;
  std::uint32_t echo = 0;
  bool operator==(const tcp_timestamps&) const = default;
};

/// RFC 2018 3: [left, right) in sequence space.
struct sack_block {
  std::uint32_t left = 0;
  std::uint32_t right = 0;
  bool operator==(const sack_block&) const = default;
};

/// The options that this stack knows. What the segment lacks is empty; unknown ones are skipped
/// (MUST-6).
struct tcp_option_set {
  std::optional<std::uint16_t> mss;
  std::optional<std::uint8_t> window_scale;  ///< as received, also above 14 (RFC 7323 2.3)
  bool sack_permitted = false;
  std::optional<tcp_timestamps> timestamps;
  std::array<sack_block, 4> sack{};
  std::uint8_t sack_count = 0;
  std::optional<std::uint16_t> user_timeout;  ///< RFC 5482 3: G bit and 15 bits of value, raw
  bool malformed = false;  ///< MUST-7: an illegal length; options from there on are ignored, or
                           ///< that one option where only its kind's own length was wrong
  bool operator==(const tcp_option_set&) const = default;
};

enum tcp_flag : std::uint8_t {
  fin = 1,
  syn = 2,
  rst = 4,
  psh = 8,
  ack = 16,
  urg = 32,
  ece = 64,
  cwr = 128
};

/// The two ECN bits of the IP header (RFC 3168 5).
enum class ecn_mark : std::uint8_t { not_ect = 0, ect1 = 1, ect0 = 2, ce = 3 };

/// One segment, or a super-segment that stands for several of `gso_size` bytes.
struct tcp_segment {
  ip_address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint32_t sequence = 0, acknowledgment = 0;
  std::uint8_t flags = 0;
  std::uint16_t window = 0;  ///< as it stands in the header, unscaled
  std::uint16_t urgent = 0;
  std::uint8_t ecn = 0;            ///< the IP header's two ECN bits, see ecn_mark
  std::uint8_t traffic_class = 0;  ///< the DSCP in its place (bits 2-7); the ECN bits are in ecn
  /// Received: receive_meta's; sent: cut the payload into this; 0 if single.
  std::uint16_t gso_size = 0;
  tcp_option_set options;
  std::span<const std::byte> payload;  ///< into the packet; unused when sending

  bool has(tcp_flag flag) const { return (flags & flag) != 0; }
  /// Octets of sequence space: payload, SYN and FIN (RFC 9293 3.4).
  std::uint32_t sequence_length() const {
    return static_cast<std::uint32_t>(payload.size()) + (has(syn) ? 1u : 0u) + (has(fin) ? 1u : 0u);
  }
  /// How many segments this one stands for, at least 1.
  std::uint32_t segment_count() const {
    if (gso_size == 0 || payload.size() <= gso_size) return 1;
    return static_cast<std::uint32_t>((payload.size() + gso_size - 1) / gso_size);
  }
};

enum class parse_status : std::uint8_t { ok, malformed, bad_checksum };

/// Parses the transport part of a packet; `out.source` and `out.destination` are set already, as
/// the checksum covers them. `verify` false: the device vouches for the checksum. `out.payload`
/// points into `bytes`.
parse_status parse_tcp(std::span<const std::byte> bytes, bool verify, tcp_segment& out);

/// Parses an option area by itself (no more than 40 bytes); total on any bytes.
void parse_tcp_options(std::span<const std::byte> bytes, tcp_option_set& out);

/// The options' length on the wire, padding included: a multiple of 4, at most 40. SACK blocks that
/// do not fit are not counted.
std::size_t tcp_options_length(const tcp_option_set& options);

/// Writes header and options with a checksum of zero; returns the header's length, or 0 when `into`
/// is too small for it. Order: MSS, SACK-permitted, timestamps, NOP, window scale; NOP NOP
/// timestamps without SACK-permitted; NOP NOP SACK with as many blocks as fit; user timeout last.
std::size_t emit_tcp_header(std::span<std::byte> into, const tcp_segment& fields);

}  // namespace weir::stack::wire
