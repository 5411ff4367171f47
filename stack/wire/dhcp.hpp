// DHCPv4 messages (RFC 2131 2, RFC 2132): a client's, parsed from hostile bytes, and a server's,
// emitted. Total functions; who gets which address is link/'s.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "stack/wire/ethernet.hpp"
#include "weir/stack/address.hpp"

namespace weir::stack::wire {

inline constexpr std::uint16_t dhcp_server_port = 67;
inline constexpr std::uint16_t dhcp_client_port = 68;

enum class dhcp_type : std::uint8_t {
  none = 0,
  discover = 1,
  offer = 2,
  request = 3,
  decline = 4,
  ack = 5,
  nak = 6,
  release = 7,
  inform = 8
};

/// What a client says. Spans point into the message.
struct dhcp_query {
  dhcp_type type = dhcp_type::none;
  std::uint32_t transaction = 0;
  bool wants_broadcast = false;
  ip_address own;      ///< ciaddr: what it uses already
  ip_address relayed;  ///< giaddr: not unspecified, another network's
  mac_address mac;
  std::optional<ip_address> wanted;      ///< option 50
  std::optional<ip_address> server;      ///< option 54
  std::span<const std::byte> client_id;  ///< option 61, or empty
};

/// The UDP payload. Nothing when it is no client's message over Ethernet.
std::optional<dhcp_query> parse_dhcp(std::span<const std::byte> bytes);

struct dhcp_answer {
  dhcp_type type = dhcp_type::none;
  std::uint32_t transaction = 0;
  bool wants_broadcast = false;
  ip_address own;    ///< as the query's
  ip_address yours;  ///< what the client gets
  mac_address mac;
  ip_address server;
  std::uint32_t lease_s = 0;  ///< 0: none is told
  std::uint8_t prefix_length = 0;
  ip_address router;
  std::vector<ip_address> name_servers;  ///< most_dhcp_name_servers of them count
  std::uint16_t mtu = 0;
};

inline constexpr std::size_t most_dhcp_name_servers = 8;
inline constexpr std::size_t max_dhcp_answer = 400;

/// The UDP payload; gives its length.
std::size_t emit_dhcp(std::byte* into, const dhcp_answer& answer);

}  // namespace weir::stack::wire
