// Whom a shortage of memory costs his connection. Large queues stop growing at seven eighths of the
// host's memory (buffer::memory_account); the rest keeps handshakes, what arrives and small sends
// going. So that peers who take nothing cannot hold that state for good, a host that is short
// resets connections, until an eighth of what large queues may use is free again: first those that
// were closed by their users, the oldest first, then the fullest of those whose queues made no
// progress. How patient it is depends on how short it is; whether it resets at all is the policy's
// to say. Connections that were closed are also bounded in number. See host/impl.hpp.
#include <algorithm>

#include "host/impl.hpp"

namespace weir::stack {
namespace {

/// A shortage is looked at this often: what was freed must show, and readers get their turn.
constexpr duration relieve_interval = std::chrono::milliseconds(100);
constexpr duration short_interval = std::chrono::milliseconds(20);
/// Orphans that are left alone while the reserve is whole: their peers took something just now.
constexpr duration orphan_patience = std::chrono::seconds(1);
/// At one time: sockets that are looked at, and those that are reset. A flood of stalled
/// connections must not hold the turn.
constexpr std::uint32_t most_looked_at = 16384;
constexpr std::size_t most_reset = 2048;

}  // namespace

void host::impl::add_orphan(std::uint32_t index) {
  auto& s = sockets_[index];
  s.orphan = true;
  s.closed = {youngest_orphan_, none};
  (youngest_orphan_ == none ? oldest_orphan_ : sockets_[youngest_orphan_].closed.younger) = index;
  youngest_orphan_ = index;
  ++orphans_;
}

void host::impl::remove_orphan(std::uint32_t index) {
  const auto [older, younger] = sockets_[index].closed;
  (older == none ? oldest_orphan_ : sockets_[older].closed.younger) = younger;
  (younger == none ? youngest_orphan_ : sockets_[younger].closed.older) = older;
  sockets_[index].orphan = false;
  --orphans_;
}

void host::impl::reset_orphan(instant now, std::uint32_t index) {
  auto ctx = context(now);
  sockets_[index].connection.abort(ctx);
  settle(index, now);
}

void host::impl::relieve_shortage(instant now) {
  const auto policy = options_.limits.shortage;
  const auto level = pool_.account().level();
  if (level == buffer::shortage::none || policy == shortage_policy::refuse) {
    relieve_at_ = instant::never();
    return;
  }
  if (!relieve_at_.is_never() && now < relieve_at_) return;
  const bool reserve_goes = level != buffer::shortage::bulk;
  relieve_at_ = now + (reserve_goes ? short_interval : relieve_interval);
  reset_orphans(now, reserve_goes ? duration(0) : orphan_patience);
  if (policy != shortage_policy::reset_stalled || pool_.account().relieved()) return;
  const auto patience = options_.limits.stalled_after;
  reset_fullest(now, reserve_goes ? patience / 10 : patience, buffer::shortage::none);
  // Nearly nothing is left: those that only just stopped go too, and if all of them move, the
  // fullest.
  if (pool_.account().level() == buffer::shortage::critical)
    reset_fullest(now, patience / 50, buffer::shortage::none);
  if (pool_.account().level() == buffer::shortage::critical)
    reset_fullest(now, duration(0), buffer::shortage::reserve);
}

void host::impl::reset_orphans(instant now, duration stalled) {
  auto next = oldest_orphan_;
  for (std::size_t n = 0; next != none && n < most_reset && !pool_.account().relieved(); ++n) {
    const auto index = next;
    next = sockets_[index].closed.younger;
    const auto& c = sockets_[index].connection;
    if (c.charged() == 0 || c.stalled_for(now) < stalled) continue;
    counters_.add(counter::shortage_orphans_reset);
    reset_orphan(now, index);
  }
}

/// Of those that have been stalled for so long, until no more than `enough` is short.
void host::impl::reset_fullest(instant now, duration stalled, buffer::shortage enough) {
  stalled_.clear();
  const auto places = static_cast<std::uint32_t>(sockets_.capacity());
  for (std::uint32_t n = 0; n < std::min(places, most_looked_at); ++n) {
    looked_to_ = looked_to_ + 1 < places ? looked_to_ + 1 : 0;
    if (!sockets_.live(looked_to_)) continue;
    const auto& s = sockets_[looked_to_];
    const auto charged = s.connection.charged();
    if (!s.attached || s.orphan || charged == 0 || s.connection.stalled_for(now) < stalled)
      continue;
    stalled_.push_back({looked_to_, charged});
  }
  std::sort(stalled_.begin(), stalled_.end(),
            [](const queue_size& a, const queue_size& b) { return a.charged > b.charged; });
  if (stalled_.size() > most_reset) stalled_.resize(most_reset);
  for (const auto& fullest : stalled_) {
    const auto& memory = pool_.account();
    if (enough == buffer::shortage::none ? memory.relieved() : memory.level() <= enough) return;
    counters_.add(counter::shortage_stalled_reset);
    auto ctx = context(now);
    sockets_[fullest.index].connection.give_up(ctx, std::errc::no_buffer_space);
    settle(fullest.index, now);
  }
}

}  // namespace weir::stack
