// Connections and handshakes that move because their listener goes, or because somebody on another
// shard waits. What moves names its group, not only the address: where that group has gone, it is
// given up rather than handed to whoever listens there now.
#include "stack/host/shard_link.hpp"

namespace weir::stack {

void shard_link::leave(instant now, std::uint32_t index) {
  clock_ = now;
  auto& l = opens_[index];
  const auto& of = *l.group;
  const bool had_queue = has_queue(l);
  share_->leave(shard_, of.local);
  const auto* where = view().find(of.local, of.id);
  if (where == nullptr) return;
  // A copy: what is sent may bring a newer view.
  const auto stay = *where;
  while (l.accept_head != none) {
    const auto i = opens_.take(index);
    const auto hash = share_->hash(flows_[i].connection.flow());
    move_connection(i, of, member_for(stay, hash), false);
  }
  while (l.syn_head != none) {
    const auto hash = share_->hash(flows_.handshake(l.syn_head).flow);
    move_half_open(l.syn_head, of, member_for(stay, hash));
  }
  if (l.shared) leave_queue(l, had_queue);
}

void shard_link::leave_all(handover_receiver& receiver) {
  if (share_ == nullptr) return;
  core_.silent = true;  // whoever gives up its sockets before is heard
  for (std::uint32_t i = 0; i < opens_.capacity(); ++i) {
    if (!opens_.live(i)) continue;
    leave(clock_, i);
    // The last member's handshakes stay: an acknowledgement that waits in the inbox must find none.
    opens_.close(clock_, i);
  }
  share_->inbox_of(shard_).open(false);
  take_handovers(clock_, receiver);  // what came before that belongs to others
  flows_.forget_all();
  share_->publish(shard_, 0, 0);
}

/// Takes a connection that nobody accepted out of this host and sends it to a member of its group.
void shard_link::move_connection(std::uint32_t index, const share::group& of, unsigned target,
                                 bool answer) {
  const auto& s = flows_[index];
  share::handover item;
  item.what = share::handover::kind::connection;
  item.listener = of.local;
  item.group = of.id;
  item.answers_want = answer;
  const bool attached = s.attached;
  const auto queued_at = s.queued.since;
  item.connection = std::make_unique<share::moved_connection>(flows_.take_out(index));
  item.connection->attached = attached;
  item.connection->queued_at = queued_at;
  item.connection->connection.rehome({});
  const auto flow = item.connection->connection.flow();
  core_.counters.add(counter::connections_handed_over);
  send_moved(std::move(item), target, flow);
}

void shard_link::move_half_open(std::uint32_t index, const share::group& of, unsigned target) {
  auto& e = flows_.handshake(index);
  share::handover item;
  item.what = share::handover::kind::half_open;
  item.listener = of.local;
  item.group = of.id;
  item.half_open = std::make_unique<share::moved_half_open>();
  item.half_open->fires = tcp::timer_wheel::fires_at(e.timer);
  item.half_open->entry = e;
  item.half_open->entry.timer = {};
  const auto flow = e.flow;
  opens_.unlink(index);
  send_moved(std::move(item), target, flow);
}

// The directory says where it is before it is there: what arrives meanwhile finds nothing and is
// dropped rather than answered with a reset.
void shard_link::send_moved(share::handover&& item, unsigned target, const flow_key& flow) {
  const bool found_by_segments = item.connection == nullptr || item.connection->attached;
  const auto hash = share_->hash(flow);
  if (found_by_segments && !share_->directory().assign(hash, target))
    core_.counters.add(counter::flow_directory_full);
  if (target == shard_) return adopt(clock_, item);
  if (share_->inbox_of(target).post(std::move(item)) != share::posted::closed) return;
  // That shard went in this very moment, and has left its groups before: the next choice is
  // another. A closed inbox takes nothing: the item is still whole.
  const auto* where = view().find(item.listener, item.group);  // NOLINT(bugprone-use-after-move)
  send_moved(std::move(item), where == nullptr ? shard_ : member_for(*where, hash), flow);
}

void shard_link::adopt(instant now, share::handover& item) {
  if (item.connection != nullptr)
    adopt_connection(now, item);
  else
    adopt_half_open(now, item);
}

/// A SYN of the past that came between may have made a handshake: the connection is what counts.
void shard_link::make_way(const flow_key& flow) {
  const auto there = flows_.find(flow);
  if (there.what() == flow_ref::kind::half_open) opens_.unlink(there.index());
  if (there.what() == flow_ref::kind::time_wait) flows_.drop_time_wait(there.index());
  if (there && !share_->directory().assign(share_->hash(flow), shard_))
    core_.counters.add(counter::flow_directory_full);
}

void shard_link::adopt_connection(instant now, share::handover& item) {
  const auto* where = view().find(item.listener, item.group);
  const auto flow = item.connection->connection.flow();
  if (where != nullptr && !where->has(shard_)) {
    item.answers_want = false;
    send_moved(std::move(item), member_for(*where, share_->hash(flow)), flow);
    return;
  }
  auto& moved = *item.connection;
  if (moved.attached) make_way(flow);
  const auto charged = moved.connection.charged();
  const bool affordable = core_.pool.account().adopt(charged);
  moved.taken = true;
  const auto here = opens_.exact(item.listener);
  moved.connection.rehome(here == none ? opens_.usual_options() : opens_[here].tcp);
  const auto index = flows_.adopt(std::move(moved.connection), moved.attached);
  flows_[index].queued = {none, moved.queued_at};
  core_.counters.add(counter::connections_taken_over);
  const bool room = flows_.size() <= core_.options.limits.connections;
  if (where == nullptr || !affordable || !room) {
    core_.counters.add(where == nullptr ? counter::handovers_outdated
                                        : counter::connections_refused_limit);
    if (where != nullptr) where->of->unaccepted.fetch_sub(1, std::memory_order_relaxed);
    flows_.reset(now, index);
    // The wish that it answered went with it: whoever made it waits on.
    if (where == nullptr || !item.answers_want) return;
    const auto& l = opens_[here];
    if (l.shared->asked > 0) send_want(wish(share::handover::kind::want, l));
    return;
  }
  queue_adopted(now, index, here, item.answers_want);
}

// Into the accept queue of the listener that it came for.
void shard_link::queue_adopted(instant now, std::uint32_t connection, std::uint32_t listener,
                               bool answers_want) {
  opens_.append(listener, connection);
  auto& s = flows_[connection];
  if (s.attached) core_.wheel.arm_by(s.timer, s.connection.deadline());
  flows_.want_flush(connection);
  auto& l = opens_[listener];
  if (!l.shared) return;
  if (answers_want && l.shared->asked > 0)
    answer_here(listener);
  else
    serve_shared(now, listener);
}

void shard_link::adopt_half_open(instant now, share::handover& item) {
  const auto* where = view().find(item.listener, item.group);
  const auto flow = item.half_open->entry.flow;
  if (where != nullptr && !where->has(shard_)) {
    send_moved(std::move(item), member_for(*where, share_->hash(flow)), flow);
    return;
  }
  if (flows_.find(flow)) return;  // the SYN came again and was faster
  if (where == nullptr) {
    // The last listener went meanwhile: it is in no listener's queue, and nobody will take it.
    core_.counters.add(counter::handovers_outdated);
    claims_.forget(flow);
    return opens_.refuse(now, item.half_open->entry);
  }
  const auto index = flows_.add(item.half_open->entry);
  opens_.link(index, opens_.exact(item.listener));
  core_.wheel.arm(flows_.handshake(index).timer, item.half_open->fires);
}

}  // namespace weir::stack
