// A small DHCPv6 server (RFC 8415): a pool of addresses of one network, one for each client, and
// the network's name servers. A query in, an answer or none out; bounded by the pool. It is the
// network's only server. No prefixes, temporary addresses, relays, authentication or reconfiguring.
// Reads no clock and sends nothing itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "stack/link/counters.hpp"
#include "stack/link/lease_table.hpp"
#include "stack/wire/dhcpv6.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

struct dhcpv6_pool {
  ip_prefix network;            ///< the link's
  ip_address first;             ///< of the pool
  std::uint32_t addresses = 1;  ///< one after the other; at most lease_table::most_leases
  std::chrono::seconds preferred = std::chrono::hours(1);
  std::chrono::seconds valid = std::chrono::hours(2);
  std::vector<ip_address> name_servers;
};

class dhcpv6_server {
 public:
  /// `own`: the card by which it is known.
  dhcpv6_server(const dhcpv6_pool& pool, const wire::mac_address& own, link_counters& counters);

  /// `to_group`: it was sent to all servers. The answer refers to bytes of the query.
  std::optional<wire::dhcpv6_answer> answer(instant now, const wire::dhcpv6_query& query,
                                            bool to_group);
  /// Addresses that are leased, offered or declined now.
  std::size_t taken(instant now) const { return leases_.taken(now); }

 private:
  using answer_for = std::optional<wire::dhcpv6_answer>;

  std::optional<link_counter> fault_of(const wire::dhcpv6_query& query, bool to_group) const;
  answer_for respond(instant now, const wire::dhcpv6_query& query);
  answer_for solicit(instant now, const wire::dhcpv6_query& query);
  answer_for request(instant now, const wire::dhcpv6_query& query);
  answer_for confirm(const wire::dhcpv6_query& query);
  answer_for renew(instant now, const wire::dhcpv6_query& query);
  answer_for give_back(instant now, const wire::dhcpv6_query& query);
  lease_table::lease* kept_for(instant now, const std::string& client,
                               const wire::dhcpv6_association& asked);
  lease_table::lease* lease_of(const ip_address& address);
  ip_address address_of(const lease_table::lease& l) const;
  bool is_on_link(const wire::dhcpv6_association& asked) const;
  wire::dhcpv6_assignment give(instant now, const std::string& client, std::uint32_t id,
                               lease_table::lease& l);
  wire::dhcpv6_assignment assigned(std::uint32_t id, const lease_table::lease& l) const;
  wire::dhcpv6_answer reply(const wire::dhcpv6_query& query, wire::dhcpv6_type type) const;

  dhcpv6_pool pool_;
  wire::mac_address own_;
  link_counters& counters_;
  lease_table leases_;
};

}  // namespace weir::stack
