// Which messages are answered (RFC 8415 16), and how (18.3).
#include "stack/link/dhcpv6_server.hpp"

#include <algorithm>

#include "stack/wire/bytes.hpp"

namespace weir::stack {
namespace {

using wire::dhcpv6_status;
using kind = wire::dhcpv6_type;

constexpr std::size_t last_word = 12;  // of an address: what the pool's differ in

std::uint32_t last_word_of(const ip_address& address) {
  const auto b = address.bytes();
  return std::uint32_t{b[12]} << 24 | std::uint32_t{b[13]} << 16 | std::uint32_t{b[14]} << 8 |
         std::uint32_t{b[15]};
}

std::string client_of(const wire::dhcpv6_query& query) {
  return {reinterpret_cast<const char*>(query.client_id.data()), query.client_id.size()};
}

wire::dhcpv6_assignment nothing(std::uint32_t id, dhcpv6_status why) {
  wire::dhcpv6_assignment out;
  out.id = id;
  out.status = why;
  return out;
}

std::span<const ip_address> addresses_in(const wire::dhcpv6_association& asked) {
  return std::span(asked.addresses).first(asked.count);
}

}  // namespace

dhcpv6_server::dhcpv6_server(const dhcpv6_pool& pool, const wire::mac_address& own,
                             link_counters& counters)
    : pool_(pool), own_(own), counters_(counters), leases_(pool.addresses) {}

std::optional<wire::dhcpv6_answer> dhcpv6_server::answer(instant now,
                                                         const wire::dhcpv6_query& query,
                                                         bool to_group) {
  if (const auto fault = fault_of(query, to_group)) {
    counters_.add(*fault);
    return std::nullopt;
  }
  answer_for out;
  if (to_group) {
    out = respond(now, query);
  } else {  // we never told it that it may (18.4)
    out = reply(query, kind::reply);
    out->status = dhcpv6_status::use_multicast;
  }
  if (out)
    counters_.add(out->type == kind::advertise ? link_counter::dhcpv6_advertises
                                               : link_counter::dhcpv6_replies);
  return out;
}

/// Why it is no message that a server answers; nothing where it is one.
std::optional<link_counter> dhcpv6_server::fault_of(const wire::dhcpv6_query& query,
                                                    bool to_group) const {
  const auto own = wire::dhcpv6_id_of(own_);
  const bool names_a_server = !query.server_id.empty();
  const bool names_us = std::ranges::equal(query.server_id, own);
  switch (query.type) {
    case kind::solicit:
    case kind::confirm:
    case kind::rebind:
      if (names_a_server || query.client_id.empty() || !to_group)
        return link_counter::drop_dhcp_malformed;
      return std::nullopt;
    case kind::request:
    case kind::renew:
    case kind::release:
    case kind::decline:
      if (!names_a_server || query.client_id.empty()) return link_counter::drop_dhcp_malformed;
      if (!names_us) return link_counter::drop_dhcp_not_for_us;
      return std::nullopt;
    case kind::information_request:
      if (query.wants || query.other_count != 0 || !to_group)
        return link_counter::drop_dhcp_malformed;
      if (names_a_server && !names_us) return link_counter::drop_dhcp_not_for_us;
      return std::nullopt;
    default: return link_counter::drop_dhcp_malformed;  // a server's, or nobody's
  }
}

std::optional<wire::dhcpv6_answer> dhcpv6_server::respond(instant now,
                                                          const wire::dhcpv6_query& query) {
  switch (query.type) {
    case kind::solicit: return solicit(now, query);
    case kind::request: return request(now, query);
    case kind::confirm: return confirm(query);
    case kind::renew:
    case kind::rebind: return renew(now, query);
    case kind::release:
    case kind::decline: return give_back(now, query);
    default: return reply(query, kind::reply);  // an information-request: the options are all of it
  }
}

// 18.3.1, 18.3.9.
std::optional<wire::dhcpv6_answer> dhcpv6_server::solicit(instant now,
                                                          const wire::dhcpv6_query& query) {
  auto out = reply(query, kind::advertise);
  if (!query.wants) return out;
  const auto client = client_of(query);
  auto* l = kept_for(now, client, *query.wants);
  if (l == nullptr) {
    counters_.add(link_counter::drop_dhcp_pool_empty);
    out.given = nothing(query.wants->id, dhcpv6_status::no_addresses);
  } else if (query.rapid_commit) {
    out.type = kind::reply;
    out.rapid_commit = true;
    out.given = give(now, client, query.wants->id, *l);
  } else {
    leases_.offer(now, *l, client);
    out.given = assigned(query.wants->id, *l);
  }
  return out;
}

// 18.3.2.
std::optional<wire::dhcpv6_answer> dhcpv6_server::request(instant now,
                                                          const wire::dhcpv6_query& query) {
  auto out = reply(query, kind::reply);
  if (!query.wants) return out;
  const auto client = client_of(query);
  if (!is_on_link(*query.wants)) {
    out.given = nothing(query.wants->id, dhcpv6_status::not_on_link);
  } else if (auto* l = kept_for(now, client, *query.wants)) {
    out.given = give(now, client, query.wants->id, *l);
  } else {
    counters_.add(link_counter::drop_dhcp_pool_empty);
    out.given = nothing(query.wants->id, dhcpv6_status::no_addresses);
  }
  return out;
}

// 18.3.3: whether its addresses are of this link still, which says nothing of leases.
std::optional<wire::dhcpv6_answer> dhcpv6_server::confirm(const wire::dhcpv6_query& query) {
  if (!query.wants || query.wants->count == 0) {
    counters_.add(link_counter::drop_dhcp_unknown_client);
    return std::nullopt;
  }
  auto out = reply(query, kind::reply);
  out.other_count = 0;
  out.status = is_on_link(*query.wants) ? dhcpv6_status::success : dhcpv6_status::not_on_link;
  return out;
}

// 18.3.4, 18.3.5. A free address is given to whoever remembers it from an earlier life of this
// server; whatever else it believes to have is to be used no longer.
std::optional<wire::dhcpv6_answer> dhcpv6_server::renew(instant now,
                                                        const wire::dhcpv6_query& query) {
  auto out = reply(query, kind::reply);
  if (!query.wants) return out;
  const auto client = client_of(query);
  const auto asked = addresses_in(*query.wants);
  auto* l = leases_.held_by(now, client);
  for (auto at = asked.begin(); l == nullptr && at != asked.end(); ++at) {
    auto* const theirs = lease_of(*at);
    if (theirs != nullptr && theirs->is_free(now)) l = theirs;
  }
  auto& given = out.given.emplace();
  given.id = query.wants->id;
  if (l != nullptr) given = give(now, client, given.id, *l);
  for (const auto& each : asked)
    if ((l != nullptr && each != address_of(*l)) || !pool_.network.contains(each))
      given.addresses[given.count++] = {each, 0, 0};
  if (given.count != 0) return out;
  if (query.type == kind::rebind) {  // another server may know
    counters_.add(link_counter::drop_dhcp_unknown_client);
    return std::nullopt;
  }
  given.status = dhcpv6_status::no_binding;
  return out;
}

// 18.3.7, 18.3.8.
std::optional<wire::dhcpv6_answer> dhcpv6_server::give_back(instant now,
                                                            const wire::dhcpv6_query& query) {
  auto out = reply(query, kind::reply);
  out.other_count = 0;
  out.status = dhcpv6_status::success;
  if (!query.wants) return out;
  const bool declined = query.type == kind::decline;
  const auto client = client_of(query);
  bool any = false;
  for (const auto& each : addresses_in(*query.wants))
    any |= leases_.give_back(now, lease_of(each), client, declined);
  if (!any) {
    counters_.add(link_counter::drop_dhcp_unknown_client);
    out.given = nothing(query.wants->id, dhcpv6_status::no_binding);
  } else {
    counters_.add(declined ? link_counter::dhcp_declines : link_counter::dhcp_releases);
  }
  return out;
}

/// The client's own, else one that it asks for, else any. Null: none is free.
lease_table::lease* dhcpv6_server::kept_for(instant now, const std::string& client,
                                            const wire::dhcpv6_association& asked) {
  lease_table::lease* wanted = nullptr;
  for (const auto& each : addresses_in(asked))
    if (wanted == nullptr) wanted = lease_of(each);
  return leases_.choose(now, client, wanted);
}

lease_table::lease* dhcpv6_server::lease_of(const ip_address& address) {
  if (!address.is_v6() ||
      !std::ranges::equal(address.bytes().first(last_word), pool_.first.bytes().first(last_word)))
    return nullptr;
  return leases_.at(last_word_of(address) - last_word_of(pool_.first));
}

ip_address dhcpv6_server::address_of(const lease_table::lease& l) const {
  std::array<std::uint8_t, 16> bytes;
  std::ranges::copy(pool_.first.bytes(), bytes.begin());
  const auto word = last_word_of(pool_.first) + leases_.index_of(l);
  for (unsigned i = 0; i < 4; ++i)
    bytes[last_word + i] = static_cast<std::uint8_t>(word >> (24 - 8 * i));
  return ip_address::v6(bytes);
}

bool dhcpv6_server::is_on_link(const wire::dhcpv6_association& asked) const {
  return std::ranges::all_of(addresses_in(asked),
                             [&](const ip_address& each) { return pool_.network.contains(each); });
}

wire::dhcpv6_assignment dhcpv6_server::give(instant now, const std::string& client,
                                            std::uint32_t id, lease_table::lease& l) {
  leases_.give(now, l, client, pool_.valid);
  return assigned(id, l);
}

wire::dhcpv6_assignment dhcpv6_server::assigned(std::uint32_t id,
                                                const lease_table::lease& l) const {
  wire::dhcpv6_assignment out;
  out.id = id;
  out.addresses[0] = {address_of(l), static_cast<std::uint32_t>(pool_.preferred.count()),
                      static_cast<std::uint32_t>(pool_.valid.count())};
  out.count = 1;
  return out;
}

wire::dhcpv6_answer dhcpv6_server::reply(const wire::dhcpv6_query& query,
                                         wire::dhcpv6_type type) const {
  wire::dhcpv6_answer out;
  out.type = type;
  out.transaction = query.transaction;
  out.client_id = query.client_id;
  out.server = own_;
  out.others = query.others;
  out.other_count = query.other_count;
  out.name_servers = pool_.name_servers;
  return out;
}

}  // namespace weir::stack
