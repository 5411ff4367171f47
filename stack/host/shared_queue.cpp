// One accept queue for several shards (sharing_mode::shared). It stands on the group's first
// member: wishes to accept wait there in order, and the oldest connection moves to the shard of the
// one that waited longest. A connection that completes on another member moves to the queue at
// once; where the directory of flows has no room for it, it stays where its segments find it, for
// an acceptor of that shard. A member counts which of its connections answer a wish of its own
// (`reserved`).
#include <algorithm>

#include "stack/host/shard_link.hpp"

namespace weir::stack {

bool shard_link::has_queue(const listener& l) {
  return view().find(l.local)->members.front() == shard_;
}

void shard_link::accept_wanted(instant now, std::uint32_t index) {
  auto& l = opens_[index];
  if (!l.shared) return;
  clock_ = now;
  ++l.shared->asked;
  if (!has_queue(l) && l.accept_count > l.shared->reserved) return answer_here(index);
  send_want(wish(share::handover::kind::want, l));
}

void shard_link::accept_unwanted(instant now, std::uint32_t index) {
  auto& l = opens_[index];
  if (!l.shared) return;
  clock_ = now;
  if (l.shared->asked > 0) {
    --l.shared->asked;
    return send_want(wish(share::handover::kind::unwant, l));
  }
  // The answer is here already, and nobody takes it.
  if (l.shared->reserved > 0) --l.shared->reserved;
  serve_shared(now, index);
}

share::handover shard_link::wish(share::handover::kind what, const listener& l) const {
  share::handover out;
  out.what = what;
  out.listener = l.local;
  out.group = l.group->id;
  out.from = static_cast<std::uint16_t>(shard_);
  return out;
}

/// To the shard that has the queue, which may be this one.
void shard_link::send_want(share::handover&& item) {
  for (;;) {
    // A closed inbox took nothing: the item is still whole. Its shard has left the group before.
    // NOLINTNEXTLINE(bugprone-use-after-move)
    const auto* where = view().find(item.listener, item.group);
    if (where == nullptr) return core_.counters.add(counter::handovers_outdated);
    const auto first = where->members.front();
    if (first == shard_) return on_want(clock_, item);
    if (share_->inbox_of(first).post(std::move(item)) != share::posted::closed) return;
  }
}

void shard_link::on_want(instant now, share::handover& item) {
  const auto* where = view().find(item.listener, item.group);
  if (where == nullptr) return core_.counters.add(counter::handovers_outdated);
  if (where->members.front() != shard_) return send_want(std::move(item));
  const auto index = opens_.exact(item.listener);
  auto& wants = opens_[index].shared->wants;
  switch (item.what) {
    case share::handover::kind::want:
      wants.push_back(item.from);
      // This shard's own are served at the end of its turn: else it would empty the queue before
      // the others have heard of it.
      if (item.from == shard_ && where->members.size() > 1)
        wants_due_.push_back(opens_.id_of(index));
      else
        serve_wants(now, index);
      return;
    case share::handover::kind::unwant:
      // The one that waited least: whoever remains keeps his place.
      if (const auto last = std::find(wants.rbegin(), wants.rend(), item.from);
          last != wants.rend())
        wants.erase(std::next(last).base());
      return;
    default: std::erase(wants, item.from); return;
  }
}

/// The member goes: its wishes are forgotten, and those that waited on it wait on the next.
void shard_link::leave_queue(const listener& l, bool had_queue) {
  if (!had_queue) return send_want(wish(share::handover::kind::forget, l));
  for (const auto from : l.shared->wants) {
    if (from == shard_) continue;
    auto passed = wish(share::handover::kind::want, l);
    passed.from = from;
    send_want(std::move(passed));
  }
}

void shard_link::serve_due_wants(instant now) {
  while (!wants_due_.empty()) {
    const auto id = wants_due_.back();
    wants_due_.pop_back();
    if (opens_.find(id) != nullptr) serve_wants(now, index_of(id));
  }
}

bool shard_link::may_accept(const listener& l) {
  if (!l.shared || l.shared->reserved > 0) return true;
  return !has_queue(l) || view().find(l.local)->members.size() == 1;
}

void shard_link::note_accepted(listener& l) {
  l.group->unaccepted.fetch_sub(1, std::memory_order_relaxed);
  if (l.shared->reserved > 0) {
    --l.shared->reserved;
  } else if (l.shared->asked > 0) {
    --l.shared->asked;
    send_want(wish(share::handover::kind::unwant, l));
  }
}

/// A connection of this member's queue is for an acceptor of this shard, who waits.
void shard_link::answer_here(std::uint32_t index) {
  auto& mine = *opens_[index].shared;
  if (mine.asked > 0) --mine.asked;
  ++mine.reserved;
  opens_.post(index, ready::acceptable);
}

/// The oldest connection to whoever waited longest.
void shard_link::serve_wants(instant now, std::uint32_t index) {
  auto& l = opens_[index];
  auto& mine = *l.shared;
  clock_ = now;
  while (!mine.wants.empty() && l.accept_count > mine.reserved) {
    const auto oldest = opens_.accepted_at(index, mine.reserved);
    const auto who = std::find_if(mine.wants.begin(), mine.wants.end(), [&](unsigned shard) {
      return shard == shard_ || may_move(oldest, shard);
    });
    if (who == mine.wants.end()) return;
    const auto target = *who;
    mine.wants.erase(who);
    if (target == shard_)
      answer_here(index);
    else
      move_connection(opens_.take(index, mine.reserved), *l.group, target, true);
  }
}

/// What lies in this member's queue and answers nobody here: to those who wait, or to the queue
/// that all share.
void shard_link::serve_shared(instant now, std::uint32_t index) {
  auto& l = opens_[index];
  if (has_queue(l)) return serve_wants(now, index);
  clock_ = now;
  while (l.accept_count > l.shared->reserved) {
    const auto first = view().find(l.local)->members.front();
    if (may_move(opens_.accepted_at(index, l.shared->reserved), first)) {
      move_connection(opens_.take(index, l.shared->reserved), *l.group, first, false);
    } else if (l.shared->asked > 0) {
      answer_here(index);
      send_want(wish(share::handover::kind::unwant, l));
    } else {
      return;
    }
  }
}

/// Whether segments will find this connection on that shard.
bool shard_link::may_move(std::uint32_t index, unsigned target) {
  const auto& s = flows_[index];
  if (!s.attached) return true;  // none are looked for any more
  const auto hash = share_->hash(s.connection.flow());
  if (share_->directory().assign(hash, target) || share_->home(hash) == target) return true;
  core_.counters.add(counter::flow_directory_full);
  return false;
}

}  // namespace weir::stack
