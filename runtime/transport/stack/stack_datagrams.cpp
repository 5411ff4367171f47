// See stack_datagrams.hpp.
#include "transport/stack/stack_datagrams.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "weir/options.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

struct stack_datagrams::socket final : datagram_socket, stack::list_link<> {
  stack::socket_id id = stack::socket_id::none;
};

stack_datagrams::~stack_datagrams() {
  while (!all_.empty()) close(*all_.front());
}

result<datagram_socket*> stack_datagrams::open(const endpoint& local, const endpoint* remote,
                                               const udp_options& options) {
  if (device_error_) return device_error_;
  // As on kernel sockets, one socket for several shards is not offered.
  const auto share =
      options.sharing.value_or(remote == nullptr ? defaults_.sharing : sharing::exclusive);
  if (share == sharing::shared && owner_->settings().shard_count() != 1)
    return std::errc::operation_not_supported;
  stack::udp_options how;
  if (share == sharing::sharded) how.sharing = stack::sharing_mode::sharded;
  if (options.receive_buffer) how.receive_buffer = *options.receive_buffer;
  how.allow_wildcard = options.allow_wildcard.value_or(defaults_.allow_wildcard);
  auto id = remote == nullptr ? host_.udp_bind(local, how) : host_.udp_connect(*remote, local, how);
  if (!id) return id.error();
  auto& s = *new socket;
  s.owner = owner_;
  s.id = *id;
  s.local = host_.local_endpoint(s.id);
  all_.push_front(s);
  host_.set_user(*id, &s);
  return static_cast<datagram_socket*>(&s);
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

// --- Receiving.

// True when the operation is over.
bool stack_datagrams::try_receive(const socket& s, receive_datagram_operation& op) {
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
  auto sent =
      host_.udp_send(clock(), s.id, op.to_remote ? nullptr : &op.to, std::span(&op.bytes, 1));
  op.complete(sent ? std::error_code() : sent.error());
}

}  // namespace weir::detail
