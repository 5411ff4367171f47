// Sockets of a simulated host that carry datagrams: made, sent to, received from, given up.
#include "runtime/sim/sim_datagrams.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace weir::detail {

namespace {
std::error_code code(std::errc e) { return std::make_error_code(e); }

/// Process 1, user 0: a simulated host runs one program.
constexpr unix_credentials everybody{1, 0, 0};
}  // namespace

struct sim_datagrams::socket final : datagram_socket, stack::list_link<> {
  struct message {
    unix_endpoint from;
    std::vector<std::byte> bytes;
  };

  unix_endpoint name, peer_name;
  socket* peer = nullptr;  // of a connected one; null once it has gone
  std::deque<message> queue;
  stack::intrusive_queue<send_datagram_operation> senders;  // from anywhere, for room in this queue
};

sim_datagrams::~sim_datagrams() {
  while (auto* s = all_.front()) {
    all_.remove(*s);
    delete s;
  }
}

// --- Made and given up.

sim_datagrams::socket& sim_datagrams::add(const unix_endpoint& name) {
  auto& s = *new socket;
  s.at = this;
  s.owner = owner_;
  s.named = true;
  s.name = name;
  all_.push_front(s);
  return s;
}

sim_datagrams::socket* sim_datagrams::find(const unix_endpoint& name) {
  if (name.is_unnamed()) return nullptr;
  for (auto* s = all_.front(); s != nullptr; s = all_.after(*s))
    if (s->name == name) return s;
  return nullptr;
}

result<datagram_socket*> sim_datagrams::make(const unix_endpoint& local,
                                             const unix_endpoint* remote,
                                             const unix_datagram_options& options) {
  if (options.mode && !local.is_path()) return std::errc::invalid_argument;
  auto name = local;
  if (name.is_unnamed()) name = unix_endpoint("@datagrams-" + std::to_string(++names_drawn_));
  if (find(name) != nullptr) return std::errc::address_in_use;
  socket* to = remote == nullptr ? nullptr : find(*remote);
  if (remote != nullptr && to == nullptr)
    return remote->is_path() ? std::errc::no_such_file_or_directory : std::errc::connection_refused;
  auto& s = add(name);
  s.connected = remote != nullptr;
  s.peer = to;
  if (remote != nullptr) s.peer_name = *remote;
  return static_cast<datagram_socket*>(&s);
}

result<std::pair<datagram_socket*, datagram_socket*>> sim_datagrams::make_pair() {
  auto &first = add({}), &second = add({});
  first.peer = &second;
  second.peer = &first;
  first.connected = second.connected = true;
  return std::pair<datagram_socket*, datagram_socket*>(&first, &second);
}

void sim_datagrams::close(datagram_socket& of) noexcept {
  auto& s = static_cast<socket&>(of);
  all_.remove(s);
  for (auto* other = all_.front(); other != nullptr; other = all_.after(*other))
    if (other->peer == &s) other->peer = nullptr;
  while (auto* op = s.senders.pop_front()) {
    --op->socket->sends;
    op->complete(code(std::errc::connection_refused));
  }
  delete &s;
}

// --- Transfers.

bool sim_datagrams::try_receive(socket& s, receive_datagram_operation& op) {
  if (s.queue.empty()) return false;
  const auto& first = s.queue.front();
  op.size = first.bytes.size();
  std::copy_n(first.bytes.begin(), std::min(op.size, op.into.size()), op.into.begin());
  *op.who = {first.from, everybody};
  s.queue.pop_front();
  op.complete();
  if (auto* waiting = s.senders.pop_front()) {
    --waiting->socket->sends;
    start_send(*waiting);
  }
  return true;
}

void sim_datagrams::start_receive(receive_datagram_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  if (!try_receive(s, op)) s.receiver = &op;
}

void sim_datagrams::cancel_receive(receive_datagram_operation& op) noexcept {
  op.socket->receiver = nullptr;
  op.complete(canceled_error());
}

void sim_datagrams::start_send(send_datagram_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  if (!op.descriptors.empty()) return op.complete(code(std::errc::operation_not_supported));
  auto* to = op.name != nullptr ? find(*op.name) : s.peer;
  if (to == nullptr)
    return op.complete(code(op.name != nullptr && op.name->is_path()
                                ? std::errc::no_such_file_or_directory
                                : std::errc::connection_refused));
  if (to->connected && to->peer != &s) return op.complete(code(std::errc::permission_denied));
  if (op.bytes.size() > longest) return op.complete(code(std::errc::message_size));
  if (to->queue.size() >= queue_limit) {
    to->senders.push_back(op);
    ++s.sends;
    return;
  }
  to->queue.push_back({s.name, {op.bytes.begin(), op.bytes.end()}});
  op.complete();
  if (auto* receiver = std::exchange(to->receiver, nullptr)) (void)try_receive(*to, *receiver);
}

void sim_datagrams::cancel_send(send_datagram_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.socket);
  auto* to = op.name != nullptr ? find(*op.name) : s.peer;
  assert(to != nullptr && "what waits, waits in a queue that is there");
  to->senders.remove(op);
  --s.sends;
  op.complete(canceled_error());
}

unix_endpoint sim_datagrams::local_name(const datagram_socket& s) const {
  return static_cast<const socket&>(s).name;
}
unix_endpoint sim_datagrams::remote_name(const datagram_socket& s) const {
  return static_cast<const socket&>(s).peer_name;
}

}  // namespace weir::detail
