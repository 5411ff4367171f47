// The stack's side of UDP sockets on a dedicated stack.
#include "runtime/transport/stack/dedicated/datagram_service.hpp"

#include <cassert>
#include <utility>

#include "runtime/transport/stack/datagram_calls.hpp"
#include "runtime/transport/stack/stack_transport.hpp"

namespace weir::detail {

datagram_service::datagram_service(stack_transport& stack)
    : transport_(stack), host_(stack.host()) {}

std::error_code datagram_service::open(channel& c, dedicated_datagram_socket& s,
                                       const endpoint& local, const endpoint* remote,
                                       const udp_options& options) {
  if (device_error_) return device_error_;
  const auto id = open_datagrams(host_, local, remote, options);
  if (!id) return id.error();
  s.stack.home = &c;
  s.stack.id = *id;
  s.local = host_.local_endpoint(*id);
  host_.set_user(*id, &s);
  all_.push_front(s.stack);
  return {};
}

std::error_code datagram_service::connect(dedicated_datagram_socket& s, const endpoint& remote) {
  if (auto error = host_.udp_connect(s.stack.id, remote)) return error;
  s.local = host_.local_endpoint(s.stack.id);
  s.stack.failure = {};
  return {};
}

void datagram_service::close(dedicated_datagram_socket& s) {
  end(s);
  tell_later(s.stack, tell::gone);
}

void datagram_service::end(dedicated_datagram_socket& s) {
  auto& h = s.stack;
  give_back(s, h.put - h.back);
  host_.close(transport_.time(), std::exchange(h.id, stack::socket_id::none));
  all_.remove(h);
  h.told = h.put;
  h.failure = {};
  h.tells = 0;
}

void datagram_service::leave(const channel& c) {
  for (auto* h = all_.front(); h != nullptr;) {
    auto* next = all_.after(*h);
    if (h->home == &c) end(static_cast<dedicated_datagram_socket&>(*h->of));
    h = next;
  }
}

// --- What a shard asks.

void datagram_service::carry_out(dedicated_datagram_socket& s, const up_note& note) {
  if ((note.bits & ask::consume) != 0) {
    give_back(s, note.count);
    tell_later(s.stack, tell::look);
  }
  if ((note.bits & ask::send) != 0) send(s);
}

/// In the order of showing.
void datagram_service::give_back(dedicated_datagram_socket& s, std::uint32_t count) {
  auto& h = s.stack;
  assert(count <= h.put - h.back);
  for (; count > 0; --count) host_.udp_give_back(h.id, s.shown[h.back++ % s.window].token);
}

void datagram_service::send(dedicated_datagram_socket& s) {
  for (auto* op = s.handed.front(); op != nullptr; op = s.handed.after(*op))
    op->scratch.as<std::error_code>() =
        device_error_ ? device_error_ : send_datagrams(host_, transport_.time(), s.stack.id, *op);
  tell_later(s.stack, tell::sent);
}

// --- What a shard is told.

void datagram_service::handle(const stack::event& what) {
  auto& s = *static_cast<dedicated_datagram_socket*>(what.user);
  assert(s.stack.id == what.socket);
  tell_later(s.stack, tell::look);
}

void datagram_service::fail_everything(std::error_code error) {
  device_error_ = error;
  for (auto* h = all_.front(); h != nullptr; h = all_.after(*h)) tell_later(*h, tell::end);
}

void datagram_service::fill(dedicated_datagram_socket& s, down_note& note) {
  auto& h = s.stack;
  const bool look = (h.tells & tell::look) != 0 && h.id != stack::socket_id::none;
  while (look && h.put - h.back < s.window) {
    const auto got = host_.udp_lend(h.id);
    if (got) {
      s.shown[h.put++ % s.window] = *got;
    } else {
      if (got.error() == std::errc::operation_would_block || h.failure) break;
      h.failure = got.error();
    }
  }
  note.count = h.put - h.told;
  if (note.count != 0) note.bits |= tell::data;
  if (!h.failure) return;
  note.bits |= tell::failed;
  note.error = static_cast<std::uint16_t>(h.failure.value());
}

void datagram_service::told(dedicated_datagram_socket& s, const down_note& note) {
  s.stack.told += note.count;
  s.stack.failure = {};
}

void datagram_service::observe(shard_snapshot& into, const snapshot_bounds& bounds) const {
  into.udp_sockets_total += all_.size();
  for (auto* h = all_.front(); h != nullptr; h = all_.after(*h)) {
    if (into.udp_sockets.size() >= bounds.udp_sockets) return;
    show_datagrams(host_, h->id, {}, into);  // who waits is the shard's to know
  }
}

}  // namespace weir::detail
