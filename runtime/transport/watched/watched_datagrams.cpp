// Unix datagram sockets: made, adopted, sent to, received from, given up.
#include "runtime/transport/watched/watched_datagrams.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "runtime/backend/watch.hpp"
#include "runtime/transport/kernel/adopted.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"
#include "runtime/transport/watched/passed_descriptors.hpp"
#include "runtime/transport/watched/unix_address.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

struct watched_datagrams::socket final : datagram_socket, watch_client, stack::list_link<> {
  void readable() override {
    maybe_readable = true;
    auto* op = std::exchange(receiver, nullptr);
    if (op != nullptr && !home->try_receive(*this, *op)) {
      receiver = op;
      waits->want_readable();
    }
  }
  void writable() override { home->go_on_sending(*this); }

  watched_datagrams* home = nullptr;
  unique_fd fd;
  std::unique_ptr<watch> waits;
  bool maybe_readable = true;  // false once the kernel had nothing
  unix_endpoint name, peer;
  bound_path path;
  unix_credentials paired_with;  // of a pair
  passed_descriptors passed;
  stack::intrusive_queue<send_datagram_operation> senders;  // wait for room
};

namespace {

/// From now on each datagram tells who sent it.
std::error_code show_senders(int fd) {
  constexpr int on = 1;
  return ::setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0 ? std::error_code()
                                                                        : kernel::last_error();
}

unix_credentials credentials_of(const ucred& who) { return {who.pid, who.uid, who.gid}; }

/// Of a pair: whoever made it.
unix_credentials peer_of(int fd) {
  ucred who{};
  socklen_t size = sizeof who;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 ? credentials_of(who)
                                                                     : unix_credentials();
}

std::optional<unix_credentials> credentials_in(const msghdr& message) {
  auto& of = const_cast<msghdr&>(message);
  for (auto* said = CMSG_FIRSTHDR(&of); said != nullptr; said = CMSG_NXTHDR(&of, said)) {
    if (said->cmsg_level != SOL_SOCKET || said->cmsg_type != SCM_CREDENTIALS) continue;
    ucred who;
    std::memcpy(&who, CMSG_DATA(said), sizeof who);
    return credentials_of(who);
  }
  return std::nullopt;
}

unique_fd new_socket() {
  return unique_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

watched_datagrams::~watched_datagrams() {
  while (auto* s = all_.front()) close(*s);
}

// --- Made and given up.

result<watched_datagrams::socket*> watched_datagrams::add(unique_fd& fd) {
  auto made = std::make_unique<socket>();
  auto waits = driver_.watch_descriptor(fd.get(), *made);
  if (!waits) return waits.error();
  made->at = this;
  made->owner = owner_;
  made->named = true;
  made->home = this;
  made->waits = std::move(*waits);
  made->fd = std::move(fd);
  made->name = unix_name_of(made->fd.get(), false);
  made->peer = unix_name_of(made->fd.get(), true);
  all_.push_front(*made);
  return made.release();
}

result<datagram_socket*> watched_datagrams::make(const unix_endpoint& local,
                                                 const unix_endpoint* remote,
                                                 const unix_datagram_options& options) {
  if (options.mode && !local.is_path()) return std::errc::invalid_argument;
  auto fd = new_socket();
  if (!fd) return kernel::last_error();
  if (options.send_buffer) {
    const auto bytes = static_cast<int>(std::min<std::uint32_t>(*options.send_buffer, INT_MAX / 2));
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) != 0)
      return kernel::last_error();
  }
  if (auto error = show_senders(fd.get())) return error;
  if (auto error = bind_to(fd.get(), local, options.mode)) return error;
  bound_path path;
  path.note(local);
  if (remote != nullptr) {
    const unix_address to(*remote);
    if (::connect(fd.get(), to.data(), to.size) != 0) return kernel::last_error();
  }
  auto added = add(fd);
  if (!added) {
    path.remove(local);
    return added.error();
  }
  (*added)->path = path;
  (*added)->connected = remote != nullptr;
  return static_cast<datagram_socket*>(*added);
}

result<std::pair<datagram_socket*, datagram_socket*>> watched_datagrams::make_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    return kernel::last_error();
  unique_fd a(ends[0]), b(ends[1]);
  auto first = add(a);
  if (!first) return first.error();
  auto second = add(b);
  if (!second) {
    close(**first);
    return second.error();
  }
  for (auto* s : {*first, *second}) {
    s->connected = true;
    s->paired_with = peer_of(s->fd.get());
  }
  return std::pair<datagram_socket*, datagram_socket*>(*first, *second);
}

result<datagram_socket*> watched_datagrams::adopt(unique_fd& bound) {
  if (auto error = kernel::check_adopted(bound.get(), kernel::adopted::unix_datagrams))
    return error;
  auto added = add(bound);
  if (!added) return added.error();
  auto& s = **added;
  socklen_t size = sizeof(sockaddr_un);
  sockaddr_un peer;
  s.connected = ::getpeername(s.fd.get(), reinterpret_cast<sockaddr*>(&peer), &size) == 0;
  if (s.connected) s.paired_with = peer_of(s.fd.get());
  return static_cast<datagram_socket*>(&s);
}

void watched_datagrams::close(datagram_socket& of) noexcept {
  auto& s = static_cast<socket&>(of);
  all_.remove(s);
  s.path.remove(s.name);
  delete &s;  // ends the watch first, then closes
}

// --- Receiving.

/// True when the operation is over.
bool watched_datagrams::try_receive(socket& s, receive_datagram_operation& op) {
  sockaddr_un from;
  control_room control;
  iovec part{op.into.data(), op.into.size()};
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  // Without room for descriptors the kernel closes what comes.
  message.msg_controllen =
      s.passed.expected() == 0 ? control_room::credentials : sizeof control.bytes;
  ssize_t n;
  do n = ::recvmsg(s.fd.get(), &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) {
    s.maybe_readable = false;
    return false;
  }
  if (n < 0) {
    op.complete(kernel::last_error());
    return true;
  }
  s.passed.keep(message);
  *op.who = {unix_name_in(from, message.msg_namelen),
             credentials_in(message).value_or(s.paired_with)};
  op.size = static_cast<std::size_t>(n);
  owner_->spend_budget_on(op.size);
  op.complete();
  return true;
}

void watched_datagrams::start_receive(receive_datagram_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  if (s.maybe_readable && try_receive(s, op)) return;
  s.receiver = &op;
  s.waits->want_readable();
}

void watched_datagrams::cancel_receive(receive_datagram_operation& op) noexcept {
  op.socket->receiver = nullptr;
  op.complete(canceled_error());
}

// --- Sending.

bool watched_datagrams::try_send(socket& s, send_datagram_operation& op) {
  control_room control;
  iovec part{const_cast<std::byte*>(op.bytes.data()), op.bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  unix_address to(op.name != nullptr ? *op.name : unix_endpoint());
  if (op.name != nullptr) {
    message.msg_name = &to.storage;
    message.msg_namelen = to.size;
  }
  if (!op.descriptors.empty()) pass(op.descriptors, control, message);
  ssize_t n;
  do n = ::sendmsg(s.fd.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return false;
  owner_->spend_budget_on(op.bytes.size());
  // A remote that has gone is told once by the kernel, and forgotten.
  const int number = n < 0 ? errno : 0;
  op.complete(number == 0 ? std::error_code()
                          : kernel::error_from(number == ENOTCONN ? ECONNREFUSED : number));
  return true;
}

void watched_datagrams::start_send(send_datagram_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  // Whoever is sent to from an unconnected socket does not wait for another's room.
  if ((!s.connected || s.senders.empty()) && try_send(s, op)) return;
  s.senders.push_back(op);
  ++s.sends;
  wait_for_room(s);
}

void watched_datagrams::wait_for_room(socket& s) {
  constexpr duration pause = std::chrono::milliseconds(1);
  if (s.connected) return s.waits->want_writable();
  if (!again_.armed()) owner_->arm(again_, owner_->now() + pause);
}

void watched_datagrams::go_on_sending(socket& s) {
  for (auto left = s.senders.size(); left > 0; --left) {
    auto& op = *s.senders.pop_front();
    --s.sends;
    if (try_send(s, op)) continue;
    ++s.sends;
    if (!s.connected) {
      s.senders.push_back(op);
      continue;
    }
    s.senders.push_front(op);
    break;
  }
  if (!s.senders.empty()) wait_for_room(s);
}

void watched_datagrams::send_again(timer_node& node) noexcept {
  auto& self = *static_cast<clock&>(node).of;
  for (auto* s = self.all_.front(); s != nullptr; s = self.all_.after(*s))
    if (!s->connected && !s->senders.empty()) self.go_on_sending(*s);
}

void watched_datagrams::cancel_send(send_datagram_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.socket);
  s.senders.remove(op);
  --s.sends;
  op.complete(canceled_error());
}

// --- Small things.

unix_endpoint watched_datagrams::local_name(const datagram_socket& s) const {
  return static_cast<const socket&>(s).name;
}
unix_endpoint watched_datagrams::remote_name(const datagram_socket& s) const {
  return static_cast<const socket&>(s).peer;
}
void watched_datagrams::expect_descriptors(datagram_socket& s, std::size_t most) {
  static_cast<socket&>(s).passed.expect(most);
}
std::vector<unique_fd> watched_datagrams::take_descriptors(datagram_socket& s) {
  return static_cast<socket&>(s).passed.take();
}
int watched_datagrams::native_handle(const datagram_socket& s) const noexcept {
  return static_cast<const socket&>(s).fd.get();
}

}  // namespace weir::detail
