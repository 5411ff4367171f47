// How shards' listeners share an address on a dedicated stack. The host has one listener for each
// address; what it completes is dealt out here: to whoever waits first (exclusive, shared), or by
// the policy into a queue for each member (sharded). A member that leaves hands its queue on.
#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "runtime/transport/stack/dedicated/stack_service.hpp"
#include "runtime/transport/stack/stack_transport.hpp"
#include "stack/base/flow_key.hpp"
#include "weir/error.hpp"

namespace weir::detail {

dedicated_group* stack_service::find(const endpoint& local) {
  const auto at = std::find_if(groups_.begin(), groups_.end(),
                               [&](const auto& g) { return g->local == local; });
  return at == groups_.end() ? nullptr : at->get();
}

// All shards are of one program: without a key they have its key.
std::error_code stack_service::join_group(dedicated_group& g, const stack::listen_options& options,
                                          const channel& c) const {
  const bool member =
      std::any_of(g.members.begin(), g.members.end(), [&](const auto& m) { return m->home == &c; });
  return stack::refusal_to_join({g.options.owner_key, g.options.sharing, g.options.policy},
                                {options.owner_key, options.sharing, options.policy}, member);
}

std::error_code stack_service::listen(channel& c, dedicated_listener& record, const endpoint& local,
                                      const stack::listen_options& options) {
  if (device_error_) return device_error_;
  auto* g = local.port == 0 ? nullptr : find(local);
  if (g != nullptr) {
    if (auto error = join_group(*g, options, c)) return error;
  } else {
    auto id = host_.listen(local, options);
    if (!id) return id.error();
    g = groups_.emplace_back(std::make_unique<dedicated_group>()).get();
    g->id = *id;
    g->local = host_.local_endpoint(*id);
    g->options = options;
    host_.set_user(*id, g);
  }
  auto& m = *g->members.emplace_back(std::make_unique<dedicated_member>());
  m.home = &c;
  m.group = g;
  record.member = &m;
  record.local = g->local;
  return {};
}

void stack_service::close_listener(dedicated_listener& record) {
  leave_group(*std::exchange(record.member, nullptr));
}

bool stack_service::successor_listens() const noexcept { return transport_.successor_listens(); }

bool stack_service::leave_to_others(channel& c, const dedicated_listener& record) {
  const auto& m = *record.member;
  const bool over = transport_.leave_to_others(m.group->id) && m.queue.empty();
  tell_shard(c);
  return over && c.tells.empty();
}

void stack_service::leave_group(dedicated_member& m) {
  auto& g = *m.group;
  while (auto* s = m.first_waiting) {
    remove_waiting(*s);
    over(*s, canceled_error());
  }
  const auto queue = std::move(m.queue);
  std::erase_if(g.members, [&](const auto& other) { return other.get() == &m; });
  if (!g.members.empty()) {
    for (auto id : queue) place(g, id);
    return serve(g);
  }
  for (auto id : queue) host_.abort(transport_.time(), id);
  host_.close(transport_.time(), g.id);
  std::erase_if(groups_, [&](const auto& other) { return other.get() == &g; });
}

// --- Who waits.

void stack_service::start_accept(channel& c, dedicated_socket& s) {
  auto* m = s.listener->member;
  s.begin(c);
  if (device_error_) return over(s, device_error_);
  assert(m != nullptr && m->home == &c);
  auto& h = s.stack;
  h.member = m;
  h.waiting = true;
  h.turn = ++waits_;
  h.previous = m->last_waiting;
  (m->first_waiting == nullptr ? m->first_waiting : m->last_waiting->stack.next) = &s;
  m->last_waiting = &s;
  serve(*m->group);
}

void stack_service::remove_waiting(dedicated_socket& s) {
  auto& h = s.stack;
  auto& m = *h.member;
  (h.previous == nullptr ? m.first_waiting : h.previous->stack.next) = h.next;
  (h.next == nullptr ? m.last_waiting : h.next->stack.previous) = h.previous;
  h.previous = h.next = nullptr;
  h.waiting = false;
}

dedicated_member* stack_service::oldest_waiting(dedicated_group& g) {
  dedicated_member* oldest = nullptr;
  for (auto& m : g.members) {
    if (m->first_waiting == nullptr) continue;
    if (oldest == nullptr || m->first_waiting->stack.turn < oldest->first_waiting->stack.turn)
      oldest = m.get();
  }
  return oldest;
}

// --- Who gets what.

void stack_service::serve(dedicated_group& g) {
  if (g.sharded()) return deal(g);
  while (auto* m = oldest_waiting(g)) {
    auto id = host_.accept(transport_.time(), g.id);
    if (!id) return;
    hand_out(*m, *id);
  }
}

void stack_service::deal(dedicated_group& g) {
  const auto has_room = [&](const auto& m) {
    return m->first_waiting != nullptr || m->queue.size() < g.options.backlog;
  };
  for (;;) {
    for (auto& m : g.members)
      while (m->first_waiting != nullptr && !m->queue.empty()) {
        const auto id = m->queue.front();
        m->queue.pop_front();
        hand_out(*m, id);
      }
    // Beyond the members' queues they wait in the listener's own, which overflows as it always
    // does.
    if (std::none_of(g.members.begin(), g.members.end(), has_room)) return;
    auto id = host_.accept(transport_.time(), g.id);
    if (!id) return;
    place(g, *id);
  }
}

/// Into the queue of the member that the policy names, or of the next one that has room. What a
/// member left behind goes in even where none has.
void stack_service::place(dedicated_group& g, stack::socket_id id) {
  const auto count = g.members.size();
  std::size_t wanted = 0;
  switch (g.options.policy) {
    case stack::sharding_policy::round_robin: wanted = g.turn++ % count; break;
    case stack::sharding_policy::least_loaded: {
      const auto load = [](const auto& m) { return m->home->open + m->queue.size(); };
      for (std::size_t i = 1; i < count; ++i)
        if (load(g.members[i]) < load(g.members[wanted])) wanted = i;
      break;
    }
    case stack::sharding_policy::hash: {
      const stack::flow_key flow{host_.local_endpoint(id), host_.remote_endpoint(id)};
      wanted = flow.hash<1, 3>(hash_key_) % count;
      break;
    }
  }
  auto chosen = wanted;
  for (std::size_t i = 0; i < count; ++i) {
    auto& m = *g.members[(wanted + i) % count];
    if (m.first_waiting == nullptr && m.queue.size() >= g.options.backlog) continue;
    chosen = (wanted + i) % count;
    break;
  }
  g.members[chosen]->queue.push_back(id);
}

void stack_service::hand_out(dedicated_member& m, stack::socket_id id) {
  auto& s = *m.first_waiting;
  remove_waiting(s);
  s.stack.member = nullptr;
  link(*m.home, s, id);
  s.local = host_.local_endpoint(id);
  s.remote = host_.remote_endpoint(id);
  tell_later(s.stack, tell::opened | tell::look);
}

}  // namespace weir::detail
