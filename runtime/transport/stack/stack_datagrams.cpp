// See stack_datagrams.hpp.
#include "runtime/transport/stack/stack_datagrams.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "runtime/transport/stack/datagram_calls.hpp"
#include "runtime/transport/stack/stack_settings.hpp"
#include "weir/options.hpp"
#include "weir/shard.hpp"
#include "weir/udp.hpp"

namespace weir::detail {

struct stack_datagrams::socket final : datagram_socket, stack::list_link<> {
  stack::socket_id id = stack::socket_id::none;
};

struct stack_datagrams::flow_listener final : flow_listener_socket, stack::list_link<> {
  stack::socket_id id = stack::socket_id::none;
};

stack_datagrams::~stack_datagrams() {
  while (!flow_listeners_.empty()) close_listener(*flow_listeners_.front());
  while (!all_.empty()) close(*all_.front());
}

result<datagram_socket*> stack_datagrams::open(const endpoint& local, const endpoint* remote,
                                               const udp_options& options) {
  if (device_error_) return device_error_;
  const auto id = open_datagrams(host_, local, remote, options);
  if (!id) return id.error();
  return static_cast<datagram_socket*>(&add(*id));
}

stack_datagrams::socket& stack_datagrams::add(stack::socket_id id) {
  auto& s = *new socket;
  s.at = this;
  s.owner = owner_;
  s.id = id;
  s.local = host_.local_endpoint(id);
  all_.push_front(s);
  host_.set_user(id, &s);
  return s;
}

std::error_code stack_datagrams::connect(datagram_socket& socket_of_user, const endpoint& remote) {
  auto& s = static_cast<socket&>(socket_of_user);
  if (auto error = host_.udp_connect(s.id, remote)) return error;
  s.local = host_.local_endpoint(s.id);
  return {};
}

void stack_datagrams::close(datagram_socket& socket_of_user) noexcept {
  auto& s = static_cast<socket&>(socket_of_user);
  all_.remove(s);
  host_.close(instant{}, s.id);  // a UDP socket has nothing left to do with time
  delete &s;
}

void stack_datagrams::observe(shard_snapshot& into, const snapshot_bounds& bounds) const {
  into.udp_sockets_total += all_.size();
  for (const auto* s = all_.front(); s != nullptr; s = all_.after(*s)) {
    if (into.udp_sockets.size() >= bounds.udp_sockets) return;
    show_datagrams(host_, s->id, s->receiver != nullptr, into);
  }
}

// --- Flows to others' addresses.

result<flow_listener_socket*> stack_datagrams::listen_any(const any_destination& where,
                                                          const udp_flow_options& options) {
  if (device_error_) return device_error_;
  stack::udp_flow_options how;
  how.flows = options.flows;
  how.echo = options.echo;
  how.idle = std::max(options.idle, duration(0));
  if (options.receive_buffer) how.each.receive_buffer = *options.receive_buffer;
  auto id = host_.udp_bind_any(where, how);
  if (!id) return id.error();
  auto& l = *new flow_listener;
  l.at = this;
  l.owner = owner_;
  l.id = *id;
  flow_listeners_.push_front(l);
  host_.set_user(*id, &l);
  return static_cast<flow_listener_socket*>(&l);
}

void stack_datagrams::start_accept(accept_flow_operation& op) {
  auto& l = static_cast<flow_listener&>(*op.socket);
  if (!device_error_) return serve(l);
  l.acceptors.remove(op);
  op.complete(device_error_);
}

void stack_datagrams::serve(flow_listener& l) {
  while (!l.acceptors.empty()) {
    const auto id = host_.udp_accept(l.id);
    if (!id) return;
    auto& s = add(*id);
    s.remote = host_.remote_endpoint(*id);
    s.connected = true;
    s.family = s.local.address.family();
    auto* op = l.acceptors.pop_front();
    op->accepted = &s;
    op->complete();
  }
}

void stack_datagrams::close_listener(flow_listener_socket& listener) noexcept {
  auto& l = static_cast<flow_listener&>(listener);
  flow_listeners_.remove(l);
  host_.close(instant{}, l.id);
  delete &l;
}

void stack_datagrams::refuse(datagram_socket& socket_of_user, std::error_code why) noexcept {
  host_.udp_refuse(clock(), static_cast<const socket&>(socket_of_user).id,
                   refusal_for(why, stack::refusal::port_unreachable));
}

void stack_datagrams::tell_too_long(datagram_socket& socket_of_user, std::uint16_t mtu) noexcept {
  host_.udp_tell_too_long(clock(), static_cast<const socket&>(socket_of_user).id, mtu);
}

// --- Receiving.

result<std::size_t> stack_datagrams::receive_batch(const socket& s,
                                                   std::span<incoming_datagram> into) {
  std::size_t came = 0;
  for (auto& slot : into.first(std::min(into.size(), udp_socket::max_batch))) {
    const auto got = host_.udp_receive(s.id, slot.buffer);
    if (!got && came == 0) return got.error();
    if (!got) break;  // an error keeps its place: it is told before what comes behind it
    slot.n = got->copied;
    slot.size = got->size;
    describe(*got, slot);
    ++came;
  }
  return came;
}

// True when the operation is over.
bool stack_datagrams::try_receive(const socket& s, receive_datagram_operation& op) {
  if (!op.batch.empty()) {
    const auto came = receive_batch(s, op.batch);
    if (!came && came.error() == std::errc::operation_would_block) return false;
    if (came) op.size = *came;
    op.complete(came ? std::error_code() : came.error());
    return true;
  }
  auto got = host_.udp_receive(s.id, op.into);
  if (!got) {
    if (got.error() == std::errc::operation_would_block) return false;
    op.complete(got.error());
    return true;
  }
  op.size = got->size;
  op.from = got->from;
  op.complete();
  return true;
}

void stack_datagrams::start_receive(receive_datagram_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  if (try_receive(s, op)) return;
  if (device_error_) return op.complete(device_error_);
  s.receiver = &op;
}

void stack_datagrams::handle(const stack::event& what) {
  if (any(what.what, stack::ready::acceptable))
    return serve(*static_cast<flow_listener*>(what.user));
  auto& s = *static_cast<socket*>(what.user);
  assert(s.id == what.socket);
  auto* op = std::exchange(s.receiver, nullptr);  // before the completion: it waits no longer
  if (op != nullptr && !try_receive(s, *op)) s.receiver = op;
}

void stack_datagrams::cancel_receive(receive_datagram_operation& op) noexcept {
  op.socket->receiver = nullptr;
  op.complete(canceled_error());
}

void stack_datagrams::fail_everything(std::error_code error) {
  device_error_ = error;
  for (auto* l = flow_listeners_.front(); l != nullptr; l = flow_listeners_.after(*l))
    while (auto* op = l->acceptors.pop_front()) op->complete(error);
  for (auto* s = all_.front(); s != nullptr; s = all_.after(*s))
    if (auto* op = std::exchange(s->receiver, nullptr)) op->complete(error);
}

// --- Sending.

instant stack_datagrams::clock() {
  now_ = std::max(now_, owner_->now());
  return now_;
}

void stack_datagrams::start_send(send_datagram_operation& op) {
  const auto& s = static_cast<const socket&>(*op.socket);
  if (device_error_) return op.complete(device_error_);
  op.complete(send_datagrams(host_, clock(), s.id, op));
}

}  // namespace weir::detail
