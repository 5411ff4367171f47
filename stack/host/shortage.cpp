// How a shortage of memory is relieved, and how patiently.
#include "stack/host/shortage.hpp"

#include <algorithm>

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

void shortage_relief::relieve(instant now) {
  const auto policy = core_.options.limits.shortage;
  const auto level = core_.pool.account().level();
  if (level == buffer::shortage::none || policy == shortage_policy::refuse) {
    next_ = instant::never();
    return;
  }
  if (!next_.is_never() && now < next_) return;
  const bool reserve_goes = level != buffer::shortage::bulk;
  next_ = now + (reserve_goes ? short_interval : relieve_interval);
  reset_orphans(now, reserve_goes ? duration(0) : orphan_patience);
  if (policy != shortage_policy::reset_stalled || core_.pool.account().relieved()) return;
  const auto patience = core_.options.limits.stalled_after;
  reset_fullest(now, reserve_goes ? patience / 10 : patience, buffer::shortage::none);
  // Nearly nothing is left: those that only just stopped go too, and if all of them move, the
  // fullest.
  if (core_.pool.account().level() == buffer::shortage::critical)
    reset_fullest(now, patience / 50, buffer::shortage::none);
  if (core_.pool.account().level() == buffer::shortage::critical)
    reset_fullest(now, duration(0), buffer::shortage::reserve);
}

void shortage_relief::reset_orphans(instant now, duration stalled) {
  auto next = flows_.oldest_orphan();
  for (std::size_t n = 0; next != flows::none && n < most_reset && !core_.pool.account().relieved();
       ++n) {
    const auto index = next;
    next = flows_.orphan_after(index);
    const auto& c = flows_[index].connection;
    if (c.charged() == 0 || c.stalled_for(now) < stalled) continue;
    core_.counters.add(counter::shortage_orphans_reset);
    flows_.reset(now, index);
  }
}

/// Of those that have been stalled for so long, until no more than `enough` is short.
void shortage_relief::reset_fullest(instant now, duration stalled, buffer::shortage enough) {
  stalled_.clear();
  const auto places = flows_.capacity();
  for (std::uint32_t n = 0; n < std::min(places, most_looked_at); ++n) {
    looked_to_ = looked_to_ + 1 < places ? looked_to_ + 1 : 0;
    if (!flows_.live(looked_to_)) continue;
    const auto& s = flows_[looked_to_];
    const auto charged = s.connection.charged();
    if (!s.attached || s.orphan || charged == 0 || s.connection.stalled_for(now) < stalled)
      continue;
    stalled_.push_back({looked_to_, charged});
  }
  std::sort(stalled_.begin(), stalled_.end(),
            [](const queue_size& a, const queue_size& b) { return a.charged > b.charged; });
  if (stalled_.size() > most_reset) stalled_.resize(most_reset);
  for (const auto& fullest : stalled_) {
    const auto& memory = core_.pool.account();
    if (enough == buffer::shortage::none ? memory.relieved() : memory.level() <= enough) return;
    core_.counters.add(counter::shortage_stalled_reset);
    flows_.give_up(now, fullest.index);
  }
}

}  // namespace weir::stack
