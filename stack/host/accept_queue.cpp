// Accept queues: connections in the order in which they completed, through their sockets.
#include <algorithm>

#include "stack/host/passive_opens.hpp"
#include "stack/share/group_table.hpp"

namespace weir::stack {

/// What the members of a shared group have queued together is bounded as one queue is.
bool passive_opens::accept_full(const listener& l) const {
  if (l.accept_full()) return true;
  return l.group != nullptr && l.group->sharing == sharing_mode::shared &&
         l.group->unaccepted.load(std::memory_order_relaxed) >= l.options.backlog;
}

void passive_opens::append(std::uint32_t index, std::uint32_t connection) {
  auto& l = listeners_[index];
  auto& s = flows_[connection];
  s.queued.next = none;
  if (l.accept_tail != none)
    flows_[l.accept_tail].queued.next = connection;
  else
    l.accept_head = connection;
  l.accept_tail = connection;
  ++l.accept_count;
  ++unaccepted_;
  l.accept_peak = std::max(l.accept_peak, l.accept_count);
  if (l.accept_count == 1) post(index, ready::acceptable);
}

std::uint32_t passive_opens::accepted_at(std::uint32_t index, std::uint32_t position) const {
  auto at = listeners_.all()[index].accept_head;
  for (; position > 0; --position) at = flows_[at].queued.next;
  return at;
}

std::uint32_t passive_opens::take(std::uint32_t index, std::uint32_t position) {
  auto& l = listeners_[index];
  const auto before = position == 0 ? none : accepted_at(index, position - 1);
  const auto out = before == none ? l.accept_head : flows_[before].queued.next;
  auto& s = flows_[out];
  (before == none ? l.accept_head : flows_[before].queued.next) = s.queued.next;
  if (l.accept_tail == out) l.accept_tail = before;
  --l.accept_count;
  --unaccepted_;
  return out;
}

std::uint32_t passive_opens::accept(instant now, std::uint32_t index) {
  auto& l = listeners_[index];
  ++l.accepted;
  const auto out = take(index);
  auto waited = flows_[out].queued.since.since(now);
  // Shards read their clocks apart: who took over a connection may be behind who queued it.
  if (waited > std::chrono::hours(24)) waited = duration{};
  l.accept_wait += waited;
  l.accept_wait_longest = std::max(l.accept_wait_longest, waited);
  return out;
}

}  // namespace weir::stack
