// DHCPv6 messages (RFC 8415 8, 21, RFC 3646 3): a client's, parsed from hostile bytes, and a
// server's, emitted. Total functions; who gets which address is link/'s.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "stack/wire/ethernet.hpp"
#include "weir/stack/address.hpp"

namespace weir::stack::wire {

inline constexpr std::uint16_t dhcpv6_server_port = 547;
inline constexpr std::uint16_t dhcpv6_client_port = 546;

enum class dhcpv6_type : std::uint8_t {
  none = 0,
  solicit = 1,
  advertise = 2,
  request = 3,
  confirm = 4,
  renew = 5,
  rebind = 6,
  reply = 7,
  release = 8,
  decline = 9,
  reconfigure = 10,
  information_request = 11,
  relay_forward = 12,
  relay_reply = 13
};

/// RFC 8415 21.13.
enum class dhcpv6_status : std::uint16_t {
  success = 0,
  no_addresses = 2,
  no_binding = 3,
  not_on_link = 4,
  use_multicast = 5,
  no_prefix = 6
};

/// What is asked for in one identity association. Of the addresses in it those beyond the first
/// most_dhcpv6_addresses are not looked at.
inline constexpr std::size_t most_dhcpv6_addresses = 4;
struct dhcpv6_association {
  std::uint32_t id = 0;
  std::array<ip_address, most_dhcpv6_addresses> addresses;
  std::size_t count = 0;
};

/// An association that gets nothing: a second one, one of temporary addresses, one of prefixes.
inline constexpr std::size_t most_dhcpv6_refusals = 4;
struct dhcpv6_refusal {
  std::uint16_t option = 0;
  std::uint32_t id = 0;
};

/// What a client says. Spans point into the message.
struct dhcpv6_query {
  dhcpv6_type type = dhcpv6_type::none;
  std::uint32_t transaction = 0;         ///< 24 bits
  std::span<const std::byte> client_id;  ///< empty: none
  std::span<const std::byte> server_id;
  bool rapid_commit = false;
  std::optional<dhcpv6_association> wants;  ///< the first of addresses that are not temporary
  std::array<dhcpv6_refusal, most_dhcpv6_refusals> others;  ///< as many as fit
  std::size_t other_count = 0;
};

/// A DUID is no longer than this (RFC 8415 11.1).
inline constexpr std::size_t max_dhcpv6_id = 130;

/// The UDP payload. Nothing when it is not a message of the form that clients' and servers' have
/// (a relay's has another). Of what kind it is, is not judged.
std::optional<dhcpv6_query> parse_dhcpv6(std::span<const std::byte> bytes);
/// Whether it is a relay's.
bool is_relayed_dhcpv6(std::span<const std::byte> bytes);

/// A DUID of the kind that is made of a card's address (RFC 8415 11.4).
inline constexpr std::size_t dhcpv6_card_id = 10;
std::array<std::byte, dhcpv6_card_id> dhcpv6_id_of(const mac_address& mac);

struct dhcpv6_assignment {
  struct address {
    ip_address value;
    std::uint32_t preferred_s = 0, valid_s = 0;  ///< 0: no longer to be used
  };

  std::uint32_t id = 0;                           ///< of the association
  dhcpv6_status status = dhcpv6_status::success;  ///< written where it is another
  std::array<address, most_dhcpv6_addresses + 1> addresses;
  std::size_t count = 0;
};

struct dhcpv6_answer {
  dhcpv6_type type = dhcpv6_type::none;
  std::uint32_t transaction = 0;
  std::span<const std::byte> client_id;  ///< empty: none is written
  mac_address server;
  bool rapid_commit = false;
  std::optional<dhcpv6_status> status;  ///< of the message
  std::optional<dhcpv6_assignment> given;
  std::array<dhcpv6_refusal, most_dhcpv6_refusals> others;
  std::size_t other_count = 0;
  /// As many as there are, at most most_dhcpv6_name_servers; valid during the emission.
  std::span<const ip_address> name_servers;
};

inline constexpr std::size_t most_dhcpv6_name_servers = 8;
inline constexpr std::size_t max_dhcpv6_answer = 640;

/// The UDP payload; gives its length.
std::size_t emit_dhcpv6(std::byte* into, const dhcpv6_answer& answer);

}  // namespace weir::stack::wire
