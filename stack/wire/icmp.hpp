// ICMP and ICMPv6 messages: types, the eight bytes that all of them share, checksums (RFC 792, RFC
// 4443). What a message leads to is ip/'s.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/wire/tcp.hpp"
#include "weir/stack/address.hpp"

namespace weir::stack::wire {

inline constexpr std::size_t icmp_header = 8;

namespace icmp4 {  // message types
inline constexpr std::uint8_t echo_reply = 0;
inline constexpr std::uint8_t unreachable = 3;
inline constexpr std::uint8_t source_quench = 4;
inline constexpr std::uint8_t redirect = 5;
inline constexpr std::uint8_t echo_request = 8;
inline constexpr std::uint8_t time_exceeded = 11;
inline constexpr std::uint8_t parameter_problem = 12;
}  // namespace icmp4

namespace icmp6 {  // message types
inline constexpr std::uint8_t unreachable = 1;
inline constexpr std::uint8_t packet_too_big = 2;
inline constexpr std::uint8_t time_exceeded = 3;
inline constexpr std::uint8_t parameter_problem = 4;
inline constexpr std::uint8_t first_informational = 128;
inline constexpr std::uint8_t echo_request = 128;
inline constexpr std::uint8_t echo_reply = 129;
inline constexpr std::uint8_t redirect = 137;
}  // namespace icmp6

struct icmp_message {
  std::uint8_t type = 0, code = 0;
  std::uint32_t rest = 0;           ///< the second word: echo id and number, pointer, MTU
  std::span<const std::byte> body;  ///< what follows the eight bytes
};

/// The family of the addresses decides whether the checksum covers the pseudo header (RFC
/// 4443 2.3).
parse_status parse_icmp(std::span<const std::byte> bytes, const ip_address& source,
                        const ip_address& destination, icmp_message& out);

/// Writes the eight bytes, checksum over them and `body` included.
void emit_icmp(std::byte* into, const icmp_message& message, const ip_address& source,
               const ip_address& destination);

/// Whether a message of this type is an error: never answered with another (RFC 1122 3.2.2, RFC
/// 4443 2.4 e.1, e.2).
constexpr bool is_icmp_error(bool v6, std::uint8_t type) {
  if (v6) return type < icmp6::first_informational || type == icmp6::redirect;
  return type == icmp4::unreachable || type == icmp4::source_quench || type == icmp4::redirect ||
         type == icmp4::time_exceeded || type == icmp4::parameter_problem;
}

}  // namespace weir::stack::wire
