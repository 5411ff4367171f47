// IPv4 and IPv6 headers as values: parsed from hostile bytes with the verdict that RFC 1122 3.2.1,
// RFC 791 and RFC 8200 4 ask for, and emitted. Total functions: no exceptions, no allocation, no
// reading past the end. Reassembly, addresses and replies are ip/'s.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "stack/wire/bytes.hpp"
#include "weir/stack/address.hpp"

namespace weir::stack::wire {

/// Numbers of the protocol field and of IPv6 extension headers (RFC 5237, RFC 8200 4).
enum protocol : std::uint8_t {
  hop_by_hop = 0,
  icmp_v4 = 1,
  tcp_protocol = 6,
  udp_protocol = 17,
  routing_header = 43,
  fragment_header = 44,
  esp_header = 50,
  authentication_header = 51,
  icmp_v6 = 58,
  no_next_header = 59,
  destination_options = 60
};

inline constexpr std::size_t min_ipv4_header = 20;
inline constexpr std::size_t max_ipv4_header = 60;
inline constexpr std::size_t ipv6_header = 40;
inline constexpr std::size_t fragment_header_size = 8;

enum class ip_status : std::uint8_t {
  ok,
  bad_version,       ///< neither 4 nor 6, or empty
  malformed,         ///< truncated or lengths that contradict each other; no reply
  bad_checksum,      ///< IPv4 header checksum
  discard,           ///< RFC 8200 4.2: an option said "drop silently"
  parameter_problem  ///< drop and answer with problem_code and problem_pointer (RFC 8200 4, RFC
                     ///< 1122 3.2.2.5)
};

/// What a packet's IP header and extension headers say.
struct ip_header {
  ip_status status = ip_status::malformed;
  ip_address source, destination;
  std::uint8_t protocol = 0;       ///< of `payload`: the first header that is no extension header
  std::uint8_t ttl = 0;            ///< TTL or hop limit
  std::uint8_t traffic_class = 0;  ///< all 8 bits, ECN in the lowest two
  bool dont_fragment = false;
  /// More fragments follow, or the offset is not 0 (an IPv6 atomic one is not).
  bool is_fragment = false;
  bool more_fragments = false;
  /// IPv4: a source route that does not end here (RFC 1122 3.2.1.8).
  bool route_unfinished = false;
  std::uint32_t fragment_offset = 0;  ///< bytes
  std::uint32_t identification = 0;   ///< 16 bits in IPv4
  std::size_t header_length = 0;  ///< IP header with options or extension headers, up to `payload`
  /// The packet as its header says; trailing bytes of the frame are cut off.
  std::size_t total_length = 0;
  std::size_t unfragmentable_length = 0;  ///< IPv6 fragments: bytes before the fragment header
  std::size_t next_header_at = 0;         ///< IPv6: where the field lies that names `protocol`
  std::span<const std::byte> payload;     ///< what follows the headers, cut to total_length
  // With parameter_problem only:
  std::uint8_t problem_code = 0;
  std::uint32_t problem_pointer = 0;
  /// RFC 8200 4.2: option type 10 answers multicast too, 11 does not.
  bool problem_even_if_multicast = false;
};

/// Parses either family by the version field. `check` false leaves the IPv4 header checksum
/// unverified (for datagrams that were put together here).
ip_header parse_ip(std::span<const std::byte> packet, bool check = true);
ip_header parse_ipv4(std::span<const std::byte> packet, bool check = true);
ip_header parse_ipv6(std::span<const std::byte> packet);

/// A packet of which only the beginning may be there, as ICMP errors quote it, or one whose headers
/// are at fault.
struct quoted_packet {
  bool understood = false;  ///< false: not even the transport protocol can be told
  ip_address source, destination;
  std::uint8_t protocol = 0;
  bool later_fragment = false;           ///< not the first one: it has no transport header
  std::uint32_t total_length = 0;        ///< as its header says
  std::span<const std::byte> transport;  ///< as much of it as there is
};
quoted_packet parse_quoted(std::span<const std::byte> bytes);

/// IPv4 header fields to emit; no options are ever sent.
struct ipv4_fields {
  ip_address source, destination;
  std::uint8_t protocol = 0;
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
  std::uint16_t identification = 0;
  std::uint16_t total_length = 0;
  bool dont_fragment = true;
  bool more_fragments = false;
  std::uint16_t fragment_offset = 0;  ///< bytes, a multiple of 8
};
/// Writes 20 bytes, checksum included. `into` holds at least as many.
void emit_ipv4(std::byte* into, const ipv4_fields& fields);

struct ipv6_fields {
  ip_address source, destination;
  std::uint8_t next_header = 0;
  std::uint8_t hop_limit = 64;
  std::uint8_t traffic_class = 0;
  std::uint32_t flow_label = 0;
  std::uint16_t payload_length = 0;
};
/// Writes 40 bytes. `into` holds at least as many.
void emit_ipv6(std::byte* into, const ipv6_fields& fields);

/// Writes the 8 bytes of an IPv6 fragment header (RFC 8200 4.5).
void emit_ipv6_fragment(std::byte* into, std::uint8_t next_header, std::uint16_t offset, bool more,
                        std::uint32_t identification);

/// Reads an address out of a header.
inline ip_address read_v4(const std::byte* at) {
  // The bytes are the first member, and what follows the four is zero. As one vector, which goes
  // from register to memory whole: whoever copies or compares the address next reads it whole, and
  // parts that are still being written would have to be waited for.
  using four_words [[gnu::vector_size(16)]] = std::uint32_t;
  static_assert(std::is_trivially_copyable_v<ip_address> && std::is_standard_layout_v<ip_address> &&
                sizeof(ip_address) == 17);
  std::uint32_t v;
  std::memcpy(&v, at, sizeof v);
  const four_words words = {v, 0, 0, 0};
  ip_address out;
  std::memcpy(static_cast<void*>(&out), &words, sizeof words);
  return out;
}
ip_address read_v6(const std::byte* at);

}  // namespace weir::stack::wire
