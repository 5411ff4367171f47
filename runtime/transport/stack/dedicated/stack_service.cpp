// See stack_service.hpp. Listeners are in stack_groups.cpp.
#include "runtime/transport/stack/dedicated/stack_service.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "runtime/transport/stack/stack_calls.hpp"
#include "runtime/transport/stack/stack_transport.hpp"
#include "weir/error.hpp"

namespace weir::detail {

stack_service::stack_service(stack_transport& stack)
    : transport_(stack), host_(stack.host()), datagrams_(stack) {
  std::memcpy(&hash_key_, host_.options().secret.data(), sizeof hash_key_);
  stack.give_sockets_to(*this);
}

stack_service::~stack_service() { assert(channels_.empty() && groups_.empty()); }

void stack_service::join(channel& c) { channels_.push_back(&c); }

void stack_service::leave(channel& c) {
  for (std::size_t g = groups_.size(); g-- > 0;)
    for (auto& m : groups_[g]->members)
      if (m->home == &c) {
        leave_group(*m);  // the group may be gone
        break;
      }
  while (c.connections != nullptr) end(*c.connections, true);
  datagrams_.leave(c);
  while (c.tells.pop_front() != nullptr) continue;
  std::erase(channels_, &c);
}

// --- Notes from a shard.

void stack_service::hear(channel& c) {
  c.up.take_all([&](const up_note& note) { carry_out(c, note); });
  if (c.up.room_made()) c.down_bell.ring(c.app);
}

void stack_service::carry_out(channel& c, const up_note& note) {
  if ((note.bits & ask::of_datagrams) != 0)
    return datagrams_.carry_out(static_cast<dedicated_datagram_socket&>(*note.of), note);
  auto& s = static_cast<dedicated_socket&>(*note.of);
  if ((note.bits & ask::consume) != 0) consume(s, note.count);
  if ((note.bits & ask::accept) != 0) start_accept(c, s);
  if ((note.bits & ask::connect) != 0) start_connect(c, s);
  if ((note.bits & ask::write) != 0) start_write(s);
  if ((note.bits & ask::cancel) != 0) cancel(s);
  // An error means that the connection is over, which its reader hears of.
  if ((note.bits & ask::shutdown) != 0) (void)host_.shutdown_send(transport_.time(), s.stack.id);
  if ((note.bits & ask::drop) != 0) {
    s.stack.drops = true;
    s.stack.shown = 0;
    (void)host_.shutdown_receive(transport_.time(), s.stack.id);
  }
  if ((note.bits & (ask::close | ask::abort)) != 0) {
    end(s, (note.bits & ask::abort) != 0);
    tell_later(s.stack, tell::gone);
  }
}

void stack_service::consume(dedicated_socket& s, std::uint32_t count) {
  if (s.stack.drops) return;  // with all that was there
  assert(count <= s.stack.shown);
  s.stack.shown -= count;
  host_.consume(transport_.time(), s.stack.id, count);
  if (s.stack.shown == 0) tell_later(s.stack, tell::look);
}

/// Whatever the shard asked last is over.
void stack_service::over(dedicated_socket& s, std::error_code outcome) {
  s.outcome = outcome;
  tell_later(s.stack, tell::done);
}

void stack_service::cancel(dedicated_socket& s) {
  auto& h = s.stack;
  if (h.waiting) {
    remove_waiting(s);
  } else if (h.opening) {
    end(s, true);
  } else if (h.writing != nullptr) {
    h.writing = nullptr;
  } else {
    return;  // it was over already, and was said to be
  }
  over(s, canceled_error());
}

// --- Connections.

void stack_service::link(channel& c, dedicated_socket& s, stack::socket_id id) {
  auto& h = s.stack;
  h.id = id;
  h.home = &c;
  h.previous = nullptr;
  h.next = c.connections;
  if (c.connections != nullptr) c.connections->stack.previous = &s;
  c.connections = &s;
  ++c.open;
  host_.set_user(id, &s);
}

void stack_service::unlink(dedicated_socket& s) {
  auto& h = s.stack;
  (h.previous != nullptr ? h.previous->stack.next : h.home->connections) = h.next;
  if (h.next != nullptr) h.next->stack.previous = h.previous;
  --h.home->open;
  h.id = stack::socket_id::none;
}

/// The connection is the host's alone from here on.
void stack_service::end(dedicated_socket& s, bool reset) {
  auto& h = s.stack;
  if (reset)
    host_.abort(transport_.time(), h.id);
  else
    host_.close(transport_.time(), h.id);
  unlink(s);
  h.opening = false;
  h.writing = nullptr;
  h.tells = 0;
}

void stack_service::start_connect(channel& c, dedicated_socket& s) {
  s.begin(c);
  if (device_error_) return over(s, device_error_);
  auto id = detail::connect(host_, transport_.time(), *s.connector);
  if (!id) return over(s, id.error());
  link(c, s, *id);
  s.stack.opening = true;
}

void stack_service::finish_connect(dedicated_socket& s, stack::ready what) {
  using enum stack::ready;
  if (any(what, failed)) {
    const auto why = why_not_connected(host_, s.stack.id);
    end(s, false);
    over(s, why);
  } else if (any(what, connected)) {
    s.stack.opening = false;
    s.local = host_.local_endpoint(s.stack.id);
    s.remote = host_.remote_endpoint(s.stack.id);
    tell_later(s.stack, tell::opened | tell::look);
  }
}

std::error_code stack_service::set_options(dedicated_socket& s, const stream_options& options) {
  return detail::set_options(host_, transport_.time(), s.stack.id, options);
}

// --- Writing, out of the memory of the writer, who waits.

void stack_service::start_write(dedicated_socket& s) {
  s.stack.writing = s.writer;
  if (device_error_) {
    s.stack.writing = nullptr;
    return over(s, device_error_);
  }
  pump(s);
}

void stack_service::pump(dedicated_socket& s) {
  if (s.stack.writing == nullptr) return;
  const auto outcome = write_more(host_, transport_.time(), s.stack.id, *s.stack.writing);
  if (outcome == std::errc::operation_would_block) return;
  s.stack.writing = nullptr;
  over(s, outcome);
}

// --- The host's events.

void stack_service::handle(const stack::event& what) {
  using enum stack::ready;
  if (stack::is_udp(what.socket)) return datagrams_.handle(what);
  if (any(what.what, acceptable)) return serve(*static_cast<dedicated_group*>(what.user));
  if (what.user == nullptr) return;  // waits for a listener: whoever gets it looks at its state
  auto& s = *static_cast<dedicated_socket*>(what.user);
  assert(s.stack.id == what.socket);
  if (s.stack.opening) return finish_connect(s, what.what);
  if (any(what.what, readable | failed)) tell_later(s.stack, tell::look);
  if (any(what.what, writable | failed)) pump(s);
}

void stack_service::fail_everything(std::error_code error) {
  device_error_ = error;
  failed_ = error.value();
  for (auto& g : groups_)
    for (auto& m : g->members)
      while (auto* s = m->first_waiting) {
        remove_waiting(*s);
        over(*s, error);
      }
  datagrams_.fail_everything(error);
  for (auto* c : channels_) {
    for (auto* s = c->connections; s != nullptr;) {
      auto* next = s->stack.next;
      const bool asked = s->stack.opening || std::exchange(s->stack.writing, nullptr) != nullptr;
      if (s->stack.opening) end(*s, true);
      if (asked) over(*s, error);
      tell_later(s->stack, tell::look);
      s = next;
    }
    c->down_bell.ring(c->app);  // whether it has anything here or not
  }
}

// --- Notes to a shard.

/// That the peer has ended, or the connection broken, is told once, with whatever is unread.
void stack_service::look_for_peer_over(dedicated_socket& s, down_note& note) {
  auto& h = s.stack;
  if (h.told_peer_over || h.id == stack::socket_id::none) return;
  const auto why = device_error_ ? device_error_ : host_.error(h.id);
  if (!why && !host_.peer_ended(h.id)) return;
  s.peer_over_by = why;
  note.bits |= tell::peer_over;
}

/// What there is to read is shown when nothing that was shown is left, its end once, and last.
void stack_service::look(dedicated_socket& s, down_note& note) {
  auto& h = s.stack;
  if (h.shown != 0 || h.told_end || h.id == stack::socket_id::none) return;
  const auto chunk = host_.peek(h.id);
  if (!chunk.empty()) {
    note.bytes = chunk.data();
    note.count = static_cast<std::uint32_t>(std::min<std::size_t>(chunk.size(), UINT32_MAX));
    note.bits |= tell::data;
    return;
  }
  if (host_.at_end(h.id)) {
    note.bits |= tell::end;
  } else if (const auto why = device_error_ ? device_error_ : host_.error(h.id)) {
    s.ended_by = why;
    note.bits |= tell::failed;
  }
}

void stack_service::fill(dedicated_socket& s, down_note& note) {
  if ((s.stack.tells & tell::look) == 0) return;
  look(s, note);
  look_for_peer_over(s, note);
}

/// The note is in the ring.
void stack_service::told(dedicated_socket& s, const down_note& note) {
  auto& h = s.stack;
  if ((note.bits & (tell::end | tell::failed)) != 0) h.told_end = true;
  if ((note.bits & tell::peer_over) != 0) h.told_peer_over = true;
  h.shown += note.count;
}

void stack_service::tell_shard(channel& c) {
  if (c.tells.empty()) return;
  // What a note says that finds no room is as true later.
  const auto put = [&](auto& of, auto& record, const telling& t) {
    down_note note{t.of, nullptr, 0, static_cast<std::uint16_t>(t.tells & ~tell::look), 0};
    of.fill(record, note);
    if (note.bits != 0 && !c.down.put(note)) return false;
    of.told(record, note);
    return true;
  };
  while (auto* t = c.tells.front()) {
    const bool in_the_ring =
        t->datagrams ? put(datagrams_, static_cast<dedicated_datagram_socket&>(*t->of), *t)
                     : put(*this, static_cast<dedicated_socket&>(*t->of), *t);
    if (!in_the_ring) break;
    t->tells = 0;
    t->queued = false;
    c.tells.pop_front();
  }
  (void)c.down.depth();
  c.down_bell.ring(c.app);
}

void stack_service::end_turn() {
  for (auto* c : channels_) tell_shard(*c);
}

void stack_service::observe(shard_snapshot& into, const snapshot_bounds& bounds) {
  datagrams_.observe(into, bounds);
  std::uint64_t notes = 0, depth = 0, peak = 0, full = 0;
  for (auto* c : channels_) {
    notes += c->down.put_so_far();
    depth += c->down.depth();
    peak = std::max<std::uint64_t>(peak, c->down.deepest());
    full += c->down.times_full();
  }
  auto& counts = into.counts;
  counts.push_back(
      {"transport", "shards_served", "shards whose sockets are here", channels_.size(), true});
  counts.push_back({"transport", "shard_rings_notes", "notes put into the shards' rings", notes});
  counts.push_back(
      {"transport", "shard_rings_depth", "notes that the shards have not come to", depth, true});
  counts.push_back(
      {"transport", "shard_rings_peak", "most of them so far, in one ring", peak, true});
  counts.push_back(
      {"transport", "shard_rings_limit", "as many as one ring holds", channel::notes, true});
  counts.push_back({"transport", "shard_rings_full", "times a note had to wait for room", full});
}

}  // namespace weir::detail
