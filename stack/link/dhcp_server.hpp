// A small DHCPv4 server (RFC 2131): a pool of addresses of one network, leased to whoever asks.
// A query in, an answer or none out; bounded by the pool. It is the network's only server and says
// so: what is wrong is refused (NAK). Reads no clock and sends nothing itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "stack/link/counters.hpp"
#include "stack/link/lease_table.hpp"
#include "stack/wire/dhcp.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

struct dhcp_pool {
  ip_prefix server;             ///< its own address and the network
  ip_address first;             ///< of the pool
  std::uint32_t addresses = 1;  ///< one after the other; at most lease_table::most_leases
  std::chrono::seconds lease = std::chrono::hours(1);
  std::optional<ip_address> router;  ///< the server itself where none is given
  std::vector<ip_address> name_servers;
  std::uint16_t mtu = 0;  ///< 0: none is told
};

class dhcp_server {
 public:
  dhcp_server(const dhcp_pool& pool, link_counters& counters);

  std::optional<wire::dhcp_answer> answer(instant now, const wire::dhcp_query& query);
  /// Addresses that are leased, offered or declined now.
  std::size_t taken(instant now) const { return leases_.taken(now); }

 private:
  std::optional<wire::dhcp_answer> offer(instant now, const wire::dhcp_query& query);
  std::optional<wire::dhcp_answer> request(instant now, const wire::dhcp_query& query);
  std::optional<wire::dhcp_answer> inform(const wire::dhcp_query& query);
  void give_back(instant now, const wire::dhcp_query& query, bool declined);
  lease_table::lease* lease_of(const ip_address& address);
  ip_address address_of(const lease_table::lease& l) const;
  wire::dhcp_answer reply(const wire::dhcp_query& query, wire::dhcp_type type) const;
  wire::dhcp_answer refuse(const wire::dhcp_query& query);

  dhcp_pool pool_;
  link_counters& counters_;
  lease_table leases_;
};

}  // namespace weir::stack
