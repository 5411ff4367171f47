// The neighbours' states and the packets that wait for them.
#include "stack/link/neighbours.hpp"

#include <algorithm>
#include <utility>

namespace weir::stack {

neighbour_table::neighbour_table(const neighbour_limits& limits, neighbour_owner& owner,
                                 link_counters& counters)
    : limits_(limits), owner_(owner), counters_(counters) {
  entries_.reserve(std::min<std::size_t>(limits.neighbours, 16));
}

neighbour_table::entry* neighbour_table::look_up(const ip_address& who) {
  if (recent_ < entries_.size() && entries_[recent_].address == who) return &entries_[recent_];
  for (std::size_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].address == who) {
      recent_ = i;
      return &entries_[i];
    }
  return nullptr;
}

const wire::mac_address* neighbour_table::card_of(const ip_address& who) const {
  for (const auto& e : entries_)
    if (e.address == who && e.state != neighbour_state::incomplete) return &e.mac;
  return nullptr;
}

const neighbour_state* neighbour_table::state_of(const ip_address& who) const {
  for (const auto& e : entries_)
    if (e.address == who) return &e.state;
  return nullptr;
}

const wire::mac_address* neighbour_table::find(instant now, const ip_address& next_hop) {
  auto* e = look_up(next_hop);
  if (e == nullptr || e->state == neighbour_state::incomplete) return nullptr;
  e->used = now;
  if (e->state == neighbour_state::stale) {
    e->state = neighbour_state::delay;
    set_deadline(*e, now + delay_first_probe);
  }
  return &e->mac;
}

bool neighbour_table::keep_waiting(instant now, const ip_address& next_hop,
                                   std::span<const std::span<const std::byte>> parts,
                                   const transmit_meta& meta) {
  std::size_t size = 0;
  for (const auto& part : parts) size += part.size();
  auto* e = look_up(next_hop);
  if (e == nullptr) {
    e = add(now, next_hop);
    if (e == nullptr) return false;
    question(now, *e);
  }
  if (e->waiting.size() >= limits_.waiting_each || size > limits_.waiting_bytes - waiting_bytes_) {
    counters_.add(link_counter::drop_waiting_full);
    return false;
  }
  waiting_packet packet;
  packet.meta = meta;
  packet.bytes.reserve(size);
  for (const auto& part : parts) packet.bytes.insert(packet.bytes.end(), part.begin(), part.end());
  waiting_bytes_ += size;
  e->waiting.push_back(std::move(packet));
  return true;
}

void neighbour_table::heard(instant now, const ip_address& who, const wire::mac_address& mac) {
  auto* e = look_up(who);
  if (e == nullptr) e = add(now, who);
  if (e == nullptr) return;
  if (e->state == neighbour_state::incomplete || e->mac != mac)
    learn(now, *e, mac, neighbour_state::stale);
}

void neighbour_table::heard_if_known(instant now, const ip_address& who,
                                     const wire::mac_address& mac) {
  if (look_up(who) != nullptr) heard(now, who, mac);
}

// RFC 4861 7.2.5.
bool neighbour_table::answered(instant now, const ip_address& who, const answer& what) {
  auto* e = look_up(who);
  if (e == nullptr) return false;
  const bool known = e->state != neighbour_state::incomplete;
  const bool differs = !known || e->mac != what.mac;
  if (known && differs && !what.replaces) {
    if (e->state == neighbour_state::reachable) {
      e->state = neighbour_state::stale;
      set_deadline(*e, instant::never());
    }
    return true;
  }
  if (what.solicited || differs)
    learn(now, *e, what.mac, what.solicited ? neighbour_state::reachable : neighbour_state::stale);
  return true;
}

void neighbour_table::learn(instant now, entry& e, const wire::mac_address& mac,
                            neighbour_state state) {
  e.mac = mac;
  e.state = state;
  e.questions = 0;
  set_deadline(e, state == neighbour_state::reachable ? now + reachable_time : instant::never());
  const auto waiting = std::exchange(e.waiting, {});
  if (waiting.empty()) return;
  // It is in use: a guess is verified soon.
  if (state == neighbour_state::stale) {
    e.state = neighbour_state::delay;
    set_deadline(e, now + delay_first_probe);
  }
  for (const auto& packet : waiting) {
    waiting_bytes_ -= packet.bytes.size();
    owner_.send_waiting(mac, packet.bytes, packet.meta);
  }
}

neighbour_table::entry* neighbour_table::add(instant now, const ip_address& who) {
  if (entries_.size() >= limits_.neighbours && !evict()) {
    counters_.add(link_counter::drop_neighbours_full);
    return nullptr;
  }
  recent_ = entries_.size();
  auto& e = entries_.emplace_back();
  e.address = who;
  e.used = now;
  return &e;
}

// The one that was used longest ago, of those that nothing waits for: who forges senders gains
// nothing but questions.
bool neighbour_table::evict() {
  std::size_t oldest = entries_.size();
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].state != neighbour_state::stale) continue;
    if (oldest == entries_.size() || entries_[i].used < entries_[oldest].used) oldest = i;
  }
  if (oldest == entries_.size()) return false;
  remove(oldest);
  counters_.add(link_counter::neighbours_evicted);
  return true;
}

void neighbour_table::remove(std::size_t index) {
  for (const auto& packet : entries_[index].waiting) waiting_bytes_ -= packet.bytes.size();
  if (index + 1 != entries_.size()) entries_[index] = std::move(entries_.back());
  entries_.pop_back();
}

void neighbour_table::question(instant now, entry& e) {
  ++e.questions;
  set_deadline(e, now + between_questions);
  const bool known = e.state != neighbour_state::incomplete;
  owner_.ask(e.address, known ? &e.mac : nullptr);
}

void neighbour_table::set_deadline(entry& e, instant when) {
  e.deadline = when;
  next_ = std::min(next_, when);
}

// Removes the entry where it is given up: the last one then stands in its place.
void neighbour_table::expire(instant now, std::size_t index) {
  auto& e = entries_[index];
  switch (e.state) {
    case neighbour_state::reachable:
      e.state = neighbour_state::stale;
      return set_deadline(e, instant::never());
    case neighbour_state::stale: return set_deadline(e, instant::never());
    case neighbour_state::delay: e.state = neighbour_state::probe; return question(now, e);
    case neighbour_state::probe:
    case neighbour_state::incomplete: break;
  }
  if (e.questions < most_questions) return question(now, e);
  counters_.add(link_counter::neighbours_lost);
  counters_.add(link_counter::drop_unresolved, e.waiting.size());
  remove(index);
}

void neighbour_table::advance(instant now) {
  if (now < next_) return;
  for (std::size_t i = 0; i < entries_.size();) {
    const auto before = entries_.size();
    if (entries_[i].deadline <= now) expire(now, i);
    if (entries_.size() == before) ++i;
  }
  next_ = instant::never();
  for (const auto& e : entries_) next_ = std::min(next_, e.deadline);
}

}  // namespace weir::stack
