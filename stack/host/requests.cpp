// Requests to connect: at a listener that asks, a SYN waits in the SYN queue until its user has
// said what becomes of it, and nothing is answered before. Its id stays good until it has become a
// connection, was refused, or ended by itself and that was told.
#include <algorithm>

#include "stack/host/passive_opens.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack {

void passive_opens::ask(instant now, std::uint32_t entry) {
  auto& e = flows_.handshake(entry);
  auto& l = listeners_[e.listener];
  core_.counters.add(counter::syn_asked);
  e.request = request_state::untold;
  (l.untold_tail == none ? l.untold_head : flows_.handshake(l.untold_tail).next_untold) = entry;
  l.untold_tail = entry;
  core_.wheel.arm(e.timer, now + l.options.answer_within);
  post(e.listener, ready::acceptable);
}

/// Before the answer: true, the segment is done with. The same SYN again changes nothing; the peer
/// can give up what it began with a reset of the number that follows it (RFC 9293 3.10.7.3); what
/// claims to answer our SYN-ACK is wrong.
bool passive_opens::await_answer(half_open& e, const wire::tcp_segment& segment) {
  if (e.request != request_state::untold && e.request != request_state::told) return false;
  const auto entry = e.timer.index;
  if (segment.has(wire::rst)) {
    const bool exact = tcp::seq(segment.sequence) == e.irs + 1;
    core_.counters.add(exact ? counter::resets_received : counter::drop_tcp_reset_ignored);
    if (exact) drop(entry);
    return true;
  }
  core_.counters.add(segment.has(wire::syn) ? counter::drop_tcp_old_duplicate
                                            : counter::drop_tcp_bad_ack);
  return true;
}

socket_id passive_opens::next_request(std::uint32_t index) {
  auto& l = listeners_[index];
  const auto entry = l.untold_head;
  if (entry == none) return socket_id::none;
  forget_untold(entry);
  flows_.handshake(entry).request = request_state::told;
  return request_id(entry);
}

/// It is no longer in its listener's list. Nearly always it is the first.
void passive_opens::forget_untold(std::uint32_t entry) {
  auto& e = flows_.handshake(entry);
  auto& l = listeners_[e.listener];
  auto before = none;
  for (auto i = l.untold_head; i != entry; i = flows_.handshake(i).next_untold) before = i;
  (before == none ? l.untold_head : flows_.handshake(before).next_untold) = e.next_untold;
  if (l.untold_tail == entry) l.untold_tail = before;
  e.next_untold = none;
}

half_open* passive_opens::find_request(socket_id id) {
  if (!is_request(id)) return nullptr;
  auto* e =
      flows_.find_handshake(static_cast<std::uint32_t>(id) & ~request_bits, generation_of(id));
  return e != nullptr && e->request >= request_state::told ? e : nullptr;
}

void passive_opens::accept_request(instant now, socket_id id) {
  auto& e = *find_request(id);
  const auto& how = *listeners_[e.listener].tcp;
  e.request = request_state::accepted;
  e.sent = now;
  send_syn_ack(now, e, how);
  core_.wheel.arm(e.timer, now + how.initial_rto);
}

void passive_opens::refuse_request(instant now, socket_id id, refusal why) {
  std::erase_if(ended_, [id](const event& what) { return what.socket == id; });
  auto* e = find_request(id);
  if (e == nullptr) return;
  core_.counters.add(counter::syn_asked_refused);
  const bool answered = e->request == request_state::accepted;
  if (why == refusal::reset || (answered && why != refusal::silence))
    refuse(now, *e);
  else if (why != refusal::silence)
    core_.ip.send_unreachable(
        now, {e->flow.remote, e->flow.local, wire::tcp_protocol, e->irs.raw(), why});
  e->user = nullptr;
  drop(e->timer.index);
}

/// The entry goes; whoever knows of it is told.
void passive_opens::end_request(std::uint32_t entry) {
  const auto& e = flows_.handshake(entry);
  if (e.request == request_state::untold) forget_untold(entry);
  if (e.request >= request_state::told && e.user != nullptr)
    ended_.push_back({request_id(entry), e.user, ready::failed});
}

bool passive_opens::next_ended(event& out) {
  if (ended_.empty()) return false;
  out = ended_.back();
  ended_.pop_back();
  return true;
}

void passive_opens::hand_to_user(void* user, std::uint32_t connection) {
  auto& s = flows_[connection];
  s.owned = true;
  s.user = user;
  flows_.post(connection, ready::connected | s.connection.readiness());
}

}  // namespace weir::stack
