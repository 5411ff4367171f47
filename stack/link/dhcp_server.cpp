// The pool's leases and what is answered of them.
#include "stack/link/dhcp_server.hpp"

namespace weir::stack {
namespace {

// RFC 2131 4.2: the identifier where there is one, else the hardware type and address.
std::string client_of(const wire::dhcp_query& query) {
  if (!query.client_id.empty())
    return {reinterpret_cast<const char*>(query.client_id.data()), query.client_id.size()};
  std::string out(1, '\1');
  out.append(reinterpret_cast<const char*>(query.mac.bytes.data()), query.mac.bytes.size());
  return out;
}

}  // namespace

dhcp_server::dhcp_server(const dhcp_pool& pool, link_counters& counters)
    : pool_(pool), counters_(counters), leases_(pool.addresses) {}

std::optional<wire::dhcp_answer> dhcp_server::answer(instant now, const wire::dhcp_query& query) {
  using kind = wire::dhcp_type;
  switch (query.type) {
    case kind::discover: return offer(now, query);
    case kind::request: return request(now, query);
    case kind::inform: return inform(query);
    case kind::decline: give_back(now, query, true); return std::nullopt;
    case kind::release: give_back(now, query, false); return std::nullopt;
    default: return std::nullopt;
  }
}

ip_address dhcp_server::address_of(const lease_table::lease& l) const {
  return ip_address::v4(pool_.first.to_v4_number() + leases_.index_of(l));
}

lease_table::lease* dhcp_server::lease_of(const ip_address& address) {
  return leases_.at(address.to_v4_number() - pool_.first.to_v4_number());
}

std::optional<wire::dhcp_answer> dhcp_server::offer(instant now, const wire::dhcp_query& query) {
  const auto client = client_of(query);
  auto* l = leases_.choose(now, client, query.wanted ? lease_of(*query.wanted) : nullptr);
  if (l == nullptr) {
    counters_.add(link_counter::drop_dhcp_pool_empty);
    return std::nullopt;
  }
  leases_.offer(now, *l, client);
  counters_.add(link_counter::dhcp_offers);
  auto out = reply(query, wire::dhcp_type::offer);
  out.yours = address_of(*l);
  return out;
}

std::optional<wire::dhcp_answer> dhcp_server::request(instant now, const wire::dhcp_query& query) {
  const auto client = client_of(query);
  if (query.server && *query.server != pool_.server.address) {
    // Another server's offer was chosen: ours is free again (4.3.2).
    leases_.withdraw_offer(client);
    counters_.add(link_counter::drop_dhcp_not_for_us);
    return std::nullopt;
  }
  const auto asked = query.wanted.value_or(query.own);
  auto* l = lease_of(asked);
  if (l == nullptr) return refuse(query);
  // A free address is given to whoever remembers it from an earlier life of this server: there is
  // no other server to know better.
  const bool theirs = l->client == client && l->state != lease_state::declined;
  if (!theirs && !l->is_free(now)) return refuse(query);
  leases_.give(now, *l, client, pool_.lease);
  counters_.add(link_counter::dhcp_acks);
  auto out = reply(query, wire::dhcp_type::ack);
  out.yours = asked;
  return out;
}

// 4.3.5: an address of its own making; it gets the options, no lease.
std::optional<wire::dhcp_answer> dhcp_server::inform(const wire::dhcp_query& query) {
  if (!pool_.server.contains(query.own)) {
    counters_.add(link_counter::drop_dhcp_unknown_client);
    return std::nullopt;
  }
  counters_.add(link_counter::dhcp_acks);
  auto out = reply(query, wire::dhcp_type::ack);
  out.lease_s = 0;
  return out;
}

void dhcp_server::give_back(instant now, const wire::dhcp_query& query, bool declined) {
  auto* l = lease_of(declined ? query.wanted.value_or(ip_address()) : query.own);
  if (query.server.value_or(ip_address()) != pool_.server.address ||
      !leases_.give_back(now, l, client_of(query), declined))
    return counters_.add(link_counter::drop_dhcp_unknown_client);
  counters_.add(declined ? link_counter::dhcp_declines : link_counter::dhcp_releases);
}

wire::dhcp_answer dhcp_server::reply(const wire::dhcp_query& query, wire::dhcp_type type) const {
  wire::dhcp_answer out;
  out.type = type;
  out.transaction = query.transaction;
  out.wants_broadcast = query.wants_broadcast;
  out.own = query.own;
  out.mac = query.mac;
  out.server = pool_.server.address;
  out.lease_s = static_cast<std::uint32_t>(pool_.lease.count());
  out.prefix_length = pool_.server.length;
  out.router = pool_.router.value_or(pool_.server.address);
  out.name_servers = pool_.name_servers;
  out.mtu = pool_.mtu;
  return out;
}

wire::dhcp_answer dhcp_server::refuse(const wire::dhcp_query& query) {
  counters_.add(link_counter::dhcp_naks);
  auto out = reply(query, wire::dhcp_type::nak);
  out.own = {};
  return out;
}

}  // namespace weir::stack
