// Flows of others' addresses in the table of sockets: found by both endpoints, and kept in the
// order of their last use where they began, so that those that are idle for longest are known.
#include <algorithm>

#include "stack/udp/udp_sockets.hpp"

namespace weir::stack {

bool udp_sockets::conflicts(const any_destination& where, bool echo) const {
  return std::any_of(any_.begin(), any_.end(), [&](auto i) {
    return sockets_[i].flow_options.echo == echo && sockets_[i].any->conflicts(where);
  });
}

std::uint32_t udp_sockets::add_any(const any_destination& where, const udp_flow_options& options) {
  const auto i = sockets_.emplace();
  auto& s = sockets_[i];
  s.local = s.bound = {where.network.address, 0};
  s.any = where;
  s.flow_options = options;
  const auto behind = std::find_if(any_.begin(), any_.end(),
                                   [&](auto j) { return where.before(*sockets_[j].any); });
  any_.insert(behind, i);
  return i;
}

std::uint32_t udp_sockets::match_any(const endpoint& local, bool echo) const {
  const auto found = std::find_if(any_.begin(), any_.end(), [&](auto i) {
    const auto& s = sockets_[i];
    if (s.flow_options.echo != echo) return false;
    // An identifier is no port.
    return s.any->contains(echo ? endpoint{local.address, s.any->ports.first} : local);
  });
  return found == any_.end() ? none : *found;
}

std::uint32_t udp_sockets::flow(const endpoint& local, const endpoint& remote, bool echo) const {
  if (flow_index_.size() == 0) return none;
  return flow_index_.find(flow_key{local, remote}.hash<1, 3>(key_), [&](std::uint32_t i) {
    return sockets_[i].local == local && sockets_[i].remote == remote && sockets_[i].echo == echo;
  });
}

std::uint32_t udp_sockets::add_flow(std::uint32_t any, instant now, const endpoint& local,
                                    const endpoint& remote) {
  const auto i = sockets_.emplace();
  auto& s = sockets_[i];
  auto& of = sockets_[any];
  s.local = s.bound = local;
  s.remote = remote;
  s.options = of.flow_options.each;
  s.connected = s.is_flow = true;
  s.echo = of.flow_options.echo;
  s.begun_at = any;
  s.used = now;
  s.older = of.youngest;
  (of.youngest == none ? of.oldest : sockets_[of.youngest].younger) = i;
  of.youngest = i;
  ++of.flows;
  (of.unaccepted_tail == none ? of.unaccepted_head : sockets_[of.unaccepted_tail].next_unaccepted) =
      i;
  of.unaccepted_tail = i;
  flow_index_.insert(flow_key{local, remote}.hash<1, 3>(key_), i);
  return i;
}

std::uint32_t udp_sockets::take_unaccepted(std::uint32_t any) {
  const auto i = sockets_[any].unaccepted_head;
  if (i == none) return none;
  forget_unaccepted(i);
  sockets_[i].accepted = true;
  return i;
}

/// Nearly always it is the first.
void udp_sockets::forget_unaccepted(std::uint32_t i) {
  auto& s = sockets_[i];
  auto& of = sockets_[s.begun_at];
  auto before = none;
  for (auto j = of.unaccepted_head; j != i; j = sockets_[j].next_unaccepted) before = j;
  (before == none ? of.unaccepted_head : sockets_[before].next_unaccepted) = s.next_unaccepted;
  if (of.unaccepted_tail == i) of.unaccepted_tail = before;
  s.next_unaccepted = none;
}

void udp_sockets::drop_unaccepted(std::uint32_t any) {
  while (sockets_[any].unaccepted_head != none) {
    const auto i = sockets_[any].unaccepted_head;
    forget_unaccepted(i);
    remove(i);
  }
}

void udp_sockets::touch_flow(std::uint32_t i, instant now) {
  auto& s = sockets_[i];
  s.used = now;
  if (s.begun_at == none || s.younger == none) return;
  auto& of = sockets_[s.begun_at];
  sockets_[s.younger].older = s.older;
  (s.older == none ? of.oldest : sockets_[s.older].younger) = s.younger;
  s.older = of.youngest;
  s.younger = none;
  sockets_[of.youngest].younger = i;
  of.youngest = i;
}

/// It counts no longer, and no datagram finds it.
void udp_sockets::leave_any(std::uint32_t i) {
  auto& s = sockets_[i];
  if (!s.over) flow_index_.erase(flow_key{s.local, s.remote}.hash<1, 3>(key_), i);
  if (s.begun_at == none) return;
  auto& of = sockets_[s.begun_at];
  (s.younger == none ? of.youngest : sockets_[s.younger].older) = s.older;
  (s.older == none ? of.oldest : sockets_[s.older].younger) = s.younger;
  --of.flows;
  s.begun_at = s.older = s.younger = none;
}

/// What was accepted lives on, for as long as its user likes.
void udp_sockets::forget_any(std::uint32_t index) {
  for (auto i = sockets_[index].oldest; i != none;) {
    const auto next = sockets_[i].younger;
    sockets_[i].begun_at = sockets_[i].older = sockets_[i].younger = none;
    i = next;
  }
  std::erase(any_, index);
}

std::uint32_t udp_sockets::take_expired(instant now) {
  for (const auto any : any_) {
    const auto& of = sockets_[any];
    if (of.oldest == none || now - sockets_[of.oldest].used < of.flow_options.idle) continue;
    const auto i = of.oldest;
    if (!sockets_[i].accepted) return i;
    leave_any(i);
    return i;
  }
  return none;
}

instant udp_sockets::next_deadline() const {
  auto next = instant::never();
  for (const auto any : any_) {
    const auto& of = sockets_[any];
    if (of.oldest != none) next = std::min(next, sockets_[of.oldest].used + of.flow_options.idle);
  }
  return next;
}

}  // namespace weir::stack
