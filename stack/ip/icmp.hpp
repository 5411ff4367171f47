// ICMP and ICMPv6 of one host: answers echo requests, turns errors into reports for the transports,
// and sends errors within RFC 1122 3.2.2's and RFC 4443 2.4's rules and a rate limit. Decides
// nothing about connections.
#pragma once

#include <cstdint>
#include <span>

#include "stack/ip/addresses.hpp"
#include "stack/ip/ip_layer.hpp"
#include "stack/ip/output.hpp"
#include "stack/ip/path_mtu.hpp"
#include "stack/ip/token_bucket.hpp"
#include "stack/wire/icmp.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack {

/// An error to send: type, code and second word of the family of the packet that it is about.
struct icmp_error {
  std::uint8_t type = 0, code = 0;
  std::uint32_t rest = 0;
  bool even_if_multicast = false;  ///< RFC 4443 2.4 e.3: the exceptions
};

class icmp_handler {
 public:
  icmp_handler(const host_options& options, const address_set& addresses,
               const path_mtu_cache& path_mtu, ip_output& output, host_counters& counters);

  /// A message that came in `header`; what it says about one of our packets, or nothing.
  delivery input(instant now, const wire::ip_header& header);
  bool send_echo_reply(instant now, const echo_request& reply);
  /// Sends an error about `packet`, unless a rule forbids it. Counted either way.
  void send_error(instant now, std::span<const std::byte> packet, const icmp_error& error);

 private:
  void answer_echo(instant now, const wire::ip_header& header, const wire::icmp_message& message);
  delivery report(const wire::ip_header& header, const wire::icmp_message& message);
  bool may_answer(const wire::quoted_packet& about, const icmp_error& error) const;

  const address_set& addresses_;
  const path_mtu_cache& path_mtu_;
  ip_output& output_;
  host_counters& counters_;
  token_bucket bucket_;
};

}  // namespace weir::stack
