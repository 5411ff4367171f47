// See listener_table.hpp.
#include "stack/listen/listener_table.hpp"

#include <algorithm>

namespace weir::stack {
namespace {

endpoint wildcard_of(const endpoint& e) {
  return {e.address.is_v4() ? ip_address() : ip_address::v6({}), e.port};
}

}  // namespace

listener_info listener::info() const {
  listener_info out;
  out.local = local;
  out.syn_queue = syn_count;
  out.syn_backlog = options.syn_backlog;
  out.accept_queue = accept_count;
  out.backlog = options.backlog;
  out.accept_queue_peak = accept_peak;
  out.accepted = accepted;
  out.syn_overflows = syn_overflows;
  out.accept_overflows = accept_overflows;
  out.syn_expired = syn_expired;
  out.cookies_sent = cookies_sent;
  out.syn_queue_peak = syn_peak;
  out.cookies_accepted = cookies_accepted;
  out.accept_wait = accept_wait;
  out.accept_wait_longest = accept_wait_longest;
  out.defer_accept = options.defer_accept;
  out.deferred = deferred;
  out.sharing = options.sharing;
  out.policy = options.policy;
  out.any = any;
  out.asks = options.ask;
  out.has_owner_key = options.owner_key != owner_key::none;
  return out;
}

std::uint32_t listener_table::exact(const endpoint& local) const {
  return index_.find(hash_endpoint<1, 3>(key_, local), [&](std::uint32_t i) {
    const auto& other = listeners_[i].local;
    return other.port == local.port && flow_key::same(other.address, local.address);
  });
}

std::uint32_t listener_table::match(const endpoint& local) const {
  const auto specific = match_specific(local);
  if (specific != none || any_.empty()) return specific;
  const auto found =
      std::find_if(any_.begin(), any_.end(), [&](auto i) { return listeners_[i].takes(local); });
  return found == any_.end() ? none : *found;
}

std::uint32_t listener_table::match_specific(const endpoint& local) const {
  if (listeners_.size() == any_.size()) return none;
  const auto specific = exact(local);
  return specific != none ? specific : exact(wildcard_of(local));
}

bool listener_table::conflicts(const any_destination& where) const {
  return std::any_of(any_.begin(), any_.end(),
                     [&](auto i) { return listeners_[i].any->conflicts(where); });
}

bool listener_table::conflicts(const endpoint& local, const listen_options& options) const {
  for (std::uint32_t i = 0; i < listeners_.capacity(); ++i) {
    if (!listeners_.live(i)) continue;
    const auto& other = listeners_[i];
    if (other.any) continue;
    if (other.local.port != local.port || other.local.address.family() != local.address.family())
      continue;
    if (other.local.address == local.address) return true;
    if (!other.local.address.is_unspecified() && !local.address.is_unspecified()) continue;
    const bool one_owner =
        options.owner_key != owner_key::none && options.owner_key == other.options.owner_key;
    if (!one_owner) return true;
  }
  return false;
}

std::uint32_t listener_table::add(const endpoint& local, const listen_options& options) {
  const auto i = listeners_.emplace();
  listeners_[i].local = local;
  listeners_[i].options = options;
  index_.insert(hash_endpoint<1, 3>(key_, local), i);
  return i;
}

std::uint32_t listener_table::add(const any_destination& where, const listen_options& options) {
  const auto i = listeners_.emplace();
  listeners_[i].local = {where.network.address, 0};
  listeners_[i].any = where;
  listeners_[i].options = options;
  const auto behind = std::find_if(any_.begin(), any_.end(),
                                   [&](auto j) { return where.before(*listeners_[j].any); });
  any_.insert(behind, i);
  return i;
}

void listener_table::remove(std::uint32_t i) {
  if (listeners_[i].any) {
    std::erase(any_, i);
    return listeners_.erase(i);
  }
  index_.erase(hash_endpoint<1, 3>(key_, listeners_[i].local), i);
  listeners_.erase(i);
}

}  // namespace weir::stack
