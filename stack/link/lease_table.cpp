// The rules of a pool of addresses.
#include "stack/link/lease_table.hpp"

#include <algorithm>

namespace weir::stack {

lease_table::lease_table(std::uint32_t addresses)
    : leases_(std::clamp<std::uint32_t>(addresses, 1, most_leases)) {}

lease_table::lease* lease_table::held_by(instant now, const std::string& client) {
  for (auto& l : leases_)
    if (l.state == lease_state::leased && l.client == client && !l.is_free(now)) return &l;
  return nullptr;
}

lease_table::lease* lease_table::choose(instant now, const std::string& client, lease* wanted) {
  for (auto& l : leases_)
    if (l.client == client && (l.state != lease_state::declined || l.is_free(now))) return &l;
  if (wanted != nullptr && wanted->is_free(now)) return wanted;
  lease* oldest = nullptr;
  for (auto& l : leases_) {
    if (!l.is_free(now)) continue;
    if (l.state == lease_state::unused && l.client.empty()) return &l;
    if (oldest == nullptr || l.until < oldest->until) oldest = &l;
  }
  return oldest;
}

void lease_table::offer(instant now, lease& l, const std::string& client) {
  if (!l.is_free(now) && l.state == lease_state::leased) return;
  l.state = lease_state::offered;
  l.client = client;
  l.until = now + offer_time;
}

void lease_table::withdraw_offer(const std::string& client) {
  for (auto& l : leases_)
    if (l.client == client && l.state == lease_state::offered) l.state = lease_state::unused;
}

void lease_table::give(instant now, lease& l, const std::string& client, duration time) {
  for (auto& other : leases_)
    if (&other != &l && other.client == client && other.state != lease_state::declined) other = {};
  l.state = lease_state::leased;
  l.client = client;
  l.until = now + time;
}

bool lease_table::give_back(instant now, lease* l, const std::string& client, bool declined) {
  if (l == nullptr || l->client != client || l->is_free(now) || l->state == lease_state::declined)
    return false;
  l->state = declined ? lease_state::declined : lease_state::unused;
  l->until = declined ? now + declined_time : now;
  if (declined) l->client.clear();
  return true;
}

std::size_t lease_table::taken(instant now) const {
  return static_cast<std::size_t>(std::count_if(leases_.begin(), leases_.end(),
                                                [&](const lease& l) { return !l.is_free(now); }));
}

}  // namespace weir::stack
