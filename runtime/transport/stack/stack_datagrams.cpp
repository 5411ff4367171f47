// See stack_datagrams.hpp.
#include "transport/stack/stack_datagrams.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "transport/stack/stack_settings.hpp"
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
  stack::udp_options how;
  if (options.sharing == sharing::sharded) how.sharing = stack::sharing_mode::sharded;
  if (options.receive_buffer) how.receive_buffer = *options.receive_buffer;
  if (options.dscp) how.traffic_class = static_cast<std::uint8_t>(*options.dscp << 2);
  if (options.ttl) how.ttl = *options.ttl;
  how.allow_wildcard = options.allow_wildcard.value_or(false);
  auto id = remote == nullptr ? host_.udp_bind(local, how) : host_.udp_connect(*remote, local, how);
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
    const auto info = host_.info_udp(s->id);
    if (!info) continue;
    auto& out = into.udp_sockets.emplace_back();
    out.local = info->local;
    if (info->connected) out.remote = info->remote;
    out.receive_queued = info->queued_bytes;
    out.receive_limit = info->queued_bytes_limit;
    out.datagrams_queued = info->queued;
    out.datagrams_limit = info->queued_limit;
    out.received = info->received;
    out.sent = info->sent;
    out.dropped = info->dropped;
    out.icmp_errors = info->icmp_errors;
    out.read_waits = s->receiver != nullptr;
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
    slot.segment = 0;
    slot.from = got->from;
    slot.to = {got->to, 0};
    slot.mark = static_cast<ecn_mark>(got->ecn);
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

std::error_code stack_datagrams::send_segments(const socket& s, const outgoing_datagram& what) {
  if (what.from.interface != 0) return std::make_error_code(std::errc::no_such_device);
  if (what.to.address.zone() != 0 || what.from.address.zone() != 0)
    return std::make_error_code(std::errc::operation_not_supported);
  const stack::udp_header_choice header{what.from.address, static_cast<std::uint8_t>(what.mark)};
  auto left = what.bytes;
  do {
    const auto one =
        left.first(what.segment == 0 ? left.size() : std::min(left.size(), what.segment));
    left = left.subspan(one.size());
    const auto sent =
        host_.udp_send(clock(), s.id, s.connected ? nullptr : &what.to, std::span(&one, 1), header);
    if (!sent) return sent.error();
  } while (!left.empty());
  return {};
}

void stack_datagrams::start_send(send_datagram_operation& op) {
  const auto& s = static_cast<const socket&>(*op.socket);
  if (device_error_) return op.complete(device_error_);
  if (op.to.address.zone() != 0)
    return op.complete(std::make_error_code(std::errc::operation_not_supported));
  if (!op.batch.empty()) {
    std::error_code error;
    while (op.sent < op.batch.size() && !(error = send_segments(s, op.batch[op.sent]))) ++op.sent;
    return op.complete(error);
  }
  auto sent =
      host_.udp_send(clock(), s.id, op.to_remote ? nullptr : &op.to, std::span(&op.bytes, 1));
  op.complete(sent ? std::error_code() : sent.error());
}

}  // namespace weir::detail
