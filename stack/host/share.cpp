// Several hosts on one device: which shard a segment belongs to, and how connections and handshakes
// move from one shard to another. A segment is handed on once; only where its target left the group
// meanwhile, or its flow moved on, a second time. Whoever gets a segment of a flow that is said to
// be its own and is not there drops it: the flow is on its way, and the peer repeats. What moves
// names its group, not only the address: where that group has gone, it is given up rather than
// handed to whoever listens there now. See host/impl.hpp.
#include <algorithm>

#include "host/impl.hpp"

namespace weir::stack {
namespace {

constexpr unsigned max_hops = 2;
constexpr auto nobody = share::flow_directory::none;

}  // namespace

const share::snapshot& host::impl::view() {
  if (view_ == nullptr || share_->version() != view_version_)
    view_ = share_->current(view_version_);
  return *view_;
}

listener_info host::impl::info_of(const listener& l) {
  auto out = l.info();
  const auto* where = share_ == nullptr ? nullptr : view().find(l.local);
  if (where != nullptr) out.members = static_cast<std::uint32_t>(where->members.size());
  return out;
}

std::error_code host::impl::join_group(const endpoint& local, const listen_options& options) {
  return share_->join(shard_, local, options);
}

// --- Where flows live.

/// A flow begins here: whose it is now, which is another's where that shard was faster. Those that
/// anybody finds by their hash need no entry. Nobody's: it needs one, and there is no room.
unsigned host::impl::claim_flow(const flow_key& flow, bool places_freely) {
  if (share_ == nullptr) return shard_;
  const auto hash = share_->hash(flow);
  const bool at_home = share_->home(hash) == shard_;
  if (at_home && !places_freely) return shard_;
  const auto owner = share_->directory().claim(hash, shard_);
  if (owner != nobody) return owner;
  counters_.add(counter::flow_directory_full);
  return at_home ? shard_ : nobody;
}

void host::impl::forget_flow(const flow_key& flow) {
  if (share_ != nullptr) share_->directory().erase(share_->hash(flow), shard_);
}

// --- Segments.

unsigned host::impl::member_for(const share::placement& where, std::uint64_t hash) {
  const auto wanted = share_->pick(where, hash);
  const auto home = share_->home(hash);
  if (wanted == home || share_->directory().has_room(hash)) return wanted;
  // No entry could be made for it: it goes where it is found without one.
  counters_.add(counter::flow_directory_full);
  return share::table::pick_by_hash(where, hash);
}

/// False: it is this shard's; `listener_index` says whose, if anybody's.
bool host::impl::hand_over(instant now, const flow_key& flow, const wire::tcp_segment& segment,
                           unsigned hops, std::uint32_t& listener_index) {
  share_clock_ = now;
  const auto hash = share_->hash(flow);
  const bool opening = segment.has(wire::syn) && !segment.has(wire::ack);
  const auto owner = share_->directory().find(hash);
  if (owner != nobody && owner != shard_) {
    if (forward(owner, segment, hops)) return true;
    share_->directory().erase(hash, owner);  // that shard has gone
  } else if (owner == shard_ && !opening) {
    counters_.add(counter::handovers_early);
    return true;
  }
  const auto* where = view().match(flow.local);
  auto target = shard_;
  if (opening) {
    if (where == nullptr) return false;
    const bool mine = where->has(shard_) && (hops > 0 || owner == shard_);
    if (!mine) target = member_for(*where, hash);
  } else if (hops == 0) {
    target = share_->home(hash);
    if (where != nullptr && !where->has(target) && cookie_is_good(now, *where, flow, segment))
      target = share::table::pick_by_hash(*where, hash);
  }
  if (opening && target == shard_) {
    const auto has_it = claim_flow(flow, where->of->places_freely());
    if (has_it != shard_) {
      // Without an entry it is found at home; if nobody listens there, the client tries again.
      const auto to = has_it == nobody ? share_->home(hash) : has_it;
      const bool found = has_it != nobody || where->has(to);
      if (!found || !forward(to, segment, hops)) counters_.add(counter::handovers_dropped);
      return true;
    }
  }
  if (target != shard_ && forward(target, segment, hops)) return true;
  if (where != nullptr && where->has(shard_)) listener_index = listeners_.exact(where->of->local);
  return false;
}

/// False: there is no such shard any more.
bool host::impl::forward(unsigned target, const wire::tcp_segment& segment, unsigned hops) {
  if (hops >= max_hops) {
    counters_.add(counter::handovers_dropped);
    return true;
  }
  share::handover item;
  item.what = share::handover::kind::segment;
  item.hops = static_cast<std::uint8_t>(hops + 1);
  item.segment = segment;
  item.segment.payload = {};
  switch (share_->inbox_of(target).post(std::move(item), segment.payload)) {
    case share::posted::closed: return false;
    case share::posted::full: counters_.add(counter::handovers_dropped); return true;
    case share::posted::yes: break;
  }
  counters_.add(segment.has(wire::syn) ? counter::syns_handed_over : counter::segments_handed_over);
  return true;
}

bool host::impl::hand_over(const icmp_report& report, unsigned hops) {
  if (hops > 0) return false;
  const auto hash = share_->hash({report.local, report.remote});
  auto owner = share_->directory().find(hash);
  if (owner == nobody) owner = share_->home(hash);
  if (owner == shard_) return false;
  share::handover item;
  item.what = share::handover::kind::icmp;
  item.hops = 1;
  item.report = report;
  if (share_->inbox_of(owner).post(std::move(item)) != share::posted::yes) return false;
  counters_.add(counter::segments_handed_over);
  return true;
}

// --- Cookies: any member may have sent one, and any may be answered.

void host::impl::note_cookie(instant now, listener& l) {
  l.cookie_at = now;
  ++l.cookies_sent;
  if (l.group) l.group->cookie_ns.store(now.ns(), std::memory_order_relaxed);
}

bool host::impl::cookies_recently(instant now, const listener& l) const {
  constexpr duration lifetime(2 * syn_cookies::period_ns);
  if (!l.group) return l.cookies_sent > 0 && now - l.cookie_at < lifetime;
  const auto sent = l.group->cookie_ns.load(std::memory_order_relaxed);
  return sent >= 0 && now.ns() - sent < lifetime.count();
}

bool host::impl::cookie_is_good(instant now, const share::placement& where, const flow_key& flow,
                                const wire::tcp_segment& segment) const {
  if (!segment.has(wire::ack) || segment.has(wire::syn) || segment.has(wire::rst)) return false;
  const auto sent = where.of->cookie_ns.load(std::memory_order_relaxed);
  if (sent < 0 || now.ns() - sent >= 2 * syn_cookies::period_ns) return false;
  return cookies_
      .check(now, flow, tcp::seq(segment.sequence) - 1, tcp::seq(segment.acknowledgment) - 1)
      .has_value();
}

// --- What others handed to this shard.

void host::impl::take_handovers(instant now) {
  if (share_ == nullptr) return;
  share_clock_ = std::max(share_clock_, now);
  share_->inbox_of(shard_).take(handed_over_);
  for (auto& item : handed_over_.items) take(now, item);
  handed_over_.clear();
}

void host::impl::take(instant now, share::handover& item) {
  using enum share::handover::kind;
  counters_.add(counter::handovers_taken);
  switch (item.what) {
    case segment:
      item.segment.payload = std::span<const std::byte>(handed_over_.bytes)
                                 .subspan(item.payload_at, item.payload_size);
      on_segment(now, item.segment, item.hops);
      return;
    case datagram:
      item.datagram.payload = std::span<const std::byte>(handed_over_.bytes)
                                  .subspan(item.payload_at, item.payload_size);
      on_datagram(now, item.datagram, item.hops);
      return;
    case icmp: on_icmp(now, item.report, item.hops); return;
    case connection: adopt_connection(now, item); return;
    case half_open: adopt_half_open(now, item); return;
    case want:
    case unwant:
    case forget: on_want(now, item); return;
  }
}

// --- Moving.

/// Takes a connection that nobody accepted out of this host and sends it to a member of its group.
void host::impl::move_connection(std::uint32_t index, const share::group& of, unsigned target,
                                 bool answer) {
  auto& s = sockets_[index];
  share::handover item;
  item.what = share::handover::kind::connection;
  item.listener = of.local;
  item.group = of.id;
  item.answers_want = answer;
  item.connection = std::make_unique<share::moved_connection>(std::move(s.connection));
  auto& moved = *item.connection;
  moved.attached = s.attached;
  moved.queued_at = s.queued.since;
  moved.connection.rehome({});
  const auto flow = moved.connection.flow();
  if (s.attached) flows_.erase(flow, {flow_ref::kind::connection, index});
  wheel_.disarm(s.timer);
  pool_.account().release(moved.connection.charged());
  sockets_.erase(index);
  counters_.add(counter::connections_handed_over);
  send_moved(std::move(item), target, flow);
}

void host::impl::move_half_open(std::uint32_t index, const share::group& of, unsigned target) {
  auto& e = half_open_[index];
  share::handover item;
  item.what = share::handover::kind::half_open;
  item.listener = of.local;
  item.group = of.id;
  item.half_open = std::make_unique<share::moved_half_open>();
  item.half_open->fires = tcp::timer_wheel::fires_at(e.timer);
  item.half_open->entry = e;
  item.half_open->entry.timer = {};
  const auto flow = e.flow;
  unlink_half_open(index);
  send_moved(std::move(item), target, flow);
}

// The directory says where it is before it is there: what arrives meanwhile finds nothing and is
// dropped rather than answered with a reset.
void host::impl::send_moved(share::handover&& item, unsigned target, const flow_key& flow) {
  const bool found_by_segments = item.connection == nullptr || item.connection->attached;
  const auto hash = share_->hash(flow);
  if (found_by_segments && !share_->directory().assign(hash, target))
    counters_.add(counter::flow_directory_full);
  if (target == shard_) return take(share_clock_, item);
  if (share_->inbox_of(target).post(std::move(item)) != share::posted::closed) return;
  // That shard went in this very moment, and has left its groups before: the next choice is
  // another. A closed inbox takes nothing: the item is still whole.
  const auto* where = view().find(item.listener, item.group);  // NOLINT(bugprone-use-after-move)
  send_moved(std::move(item), where == nullptr ? shard_ : member_for(*where, hash), flow);
}

/// A SYN of the past that came between may have made a handshake: the connection is what counts.
void host::impl::make_way(const flow_key& flow) {
  const auto there = find_flow(flow);
  if (there.what() == flow_ref::kind::half_open) unlink_half_open(there.index());
  if (there.what() == flow_ref::kind::time_wait) drop_time_wait(there.index());
  if (there && !share_->directory().assign(share_->hash(flow), shard_))
    counters_.add(counter::flow_directory_full);
}

void host::impl::adopt_connection(instant now, share::handover& item) {
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
  const bool affordable = pool_.account().adopt(charged);
  moved.taken = true;
  const auto here = listeners_.exact(item.listener);
  moved.connection.rehome(here == listener_table::none ? accepted_options_ : listeners_[here].tcp);
  const auto index = sockets_.emplace(std::move(moved.connection));
  auto& s = sockets_[index];
  s.timer.index = index;
  s.attached = moved.attached;
  s.queued = {none, moved.queued_at};
  if (s.attached) flows_.insert(flow, {flow_ref::kind::connection, index});
  counters_.add(counter::connections_taken_over);
  const bool room = sockets_.size() <= options_.limits.connections;
  if (where == nullptr || !affordable || !room) {
    counters_.add(where == nullptr ? counter::handovers_outdated
                                   : counter::connections_refused_limit);
    if (where != nullptr) where->of->unaccepted.fetch_sub(1, std::memory_order_relaxed);
    auto ctx = context(now);
    s.connection.abort(ctx);
    settle(index, now);
    // The wish that it answered went with it: whoever made it waits on.
    if (where == nullptr || !item.answers_want) return;
    const auto& l = listeners_[here];
    if (l.shared->asked > 0) send_want(wish(share::handover::kind::want, l));
    return;
  }
  auto& l = listeners_[here];
  append_accepted(here, index);
  if (s.attached) wheel_.arm_by(s.timer, s.connection.deadline());
  want_flush(index);
  if (!l.shared) return;
  if (item.answers_want && l.shared->asked > 0)
    answer_here(here);
  else
    serve_shared(now, here);
}

void host::impl::adopt_half_open(instant now, share::handover& item) {
  const auto* where = view().find(item.listener, item.group);
  const auto flow = item.half_open->entry.flow;
  if (where != nullptr && !where->has(shard_)) {
    send_moved(std::move(item), member_for(*where, share_->hash(flow)), flow);
    return;
  }
  if (find_flow(flow)) return;  // the SYN came again and was faster
  if (where == nullptr) {
    // The last listener went meanwhile: it is in no listener's queue, and nobody will take it.
    counters_.add(counter::handovers_outdated);
    forget_flow(flow);
    return refuse(now, item.half_open->entry);
  }
  const auto index = half_open_.emplace(item.half_open->entry);
  auto& e = half_open_[index];
  e.timer.index = index;
  e.timer.owner = tcp::timer_owner::half_open;
  link_half_open(index, listeners_.exact(item.listener));
  wheel_.arm(e.timer, item.half_open->fires);
}

// --- Leaving.

/// The listener goes: what it holds goes to those who stay.
void host::impl::leave_group(instant now, std::uint32_t index) {
  share_clock_ = now;
  auto& l = listeners_[index];
  const auto& of = *l.group;
  const bool had_queue = has_queue(l);
  share_->leave(shard_, of.local);
  const auto* where = view().find(of.local, of.id);
  if (where == nullptr) return;
  // A copy: what is sent may bring a newer view.
  const auto stay = *where;
  while (l.accept_head != none) {
    const auto i = take_accepted(index);
    const auto hash = share_->hash(sockets_[i].connection.flow());
    move_connection(i, of, member_for(stay, hash), false);
  }
  while (l.syn_head != none) {
    const auto hash = share_->hash(half_open_[l.syn_head].flow);
    move_half_open(l.syn_head, of, member_for(stay, hash));
  }
  if (l.shared) leave_queue(l, had_queue);
}

/// The host goes.
void host::impl::leave_all(instant now) {
  gone_ = true;  // and sends nothing any more: whoever gives up its sockets before is heard
  auto& all = listeners_.all();
  for (std::uint32_t i = 0; i < all.capacity(); ++i)
    if (all.live(i)) leave_group(now, i);
  udp_.for_each([&](const udp_socket& s) { shards_->datagrams().leave(shard_, s.bound); });
  share_->inbox_of(shard_).open(false);
  take_handovers(now);  // what came before that belongs to others
  for (std::uint32_t i = 0; i < sockets_.capacity(); ++i)
    if (sockets_.live(i) && sockets_[i].attached) forget_flow(sockets_[i].connection.flow());
  for (std::uint32_t i = 0; i < time_wait_.capacity(); ++i)
    if (time_wait_.live(i)) forget_flow(time_wait_[i].flow);
  for (std::uint32_t i = 0; i < half_open_.capacity(); ++i)
    if (half_open_.live(i)) forget_flow(half_open_[i].flow);
  share_->publish(shard_, 0, 0);
}

}  // namespace weir::stack
