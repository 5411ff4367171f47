// See uring_datagrams.hpp. A cancellation may come when its request has ended and the next one has
// not been submitted: each request remembers that it was asked to end.
#include "runtime/transport/uring/uring_datagrams.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <new>
#include <utility>

#include "runtime/transport/kernel/adopted.hpp"
#include "runtime/transport/kernel/datagram_batch.hpp"
#include "runtime/transport/kernel/kernel_datagram.hpp"
#include "runtime/transport/kernel/kernel_info.hpp"
#include "runtime/transport/uring/uring_transport.hpp"
#include "weir/udp.hpp"

namespace weir::detail {

struct uring_datagrams::socket final : datagram_socket, stack::list_link<> {
  uring_datagrams* home = nullptr;
  int fd = -1;
  bool maybe_readable = true;  // false: a batch took all that was there
};

struct uring_datagrams::receive_request final : ring_client {
  explicit receive_request(receive_datagram_operation& o)
      : ring_client(&uring_datagrams::received), op(&o) {}
  socket& of() const { return static_cast<socket&>(*op->socket); }

  receive_datagram_operation* op;
  msghdr header;
  iovec part;
  sockaddr_in6 from;  // large enough for IPv4 too
  bool canceled = false;
};

struct uring_datagrams::send_request final : ring_client {
  explicit send_request(send_datagram_operation& o) : ring_client(&uring_datagrams::sent), op(&o) {}
  socket& of() const { return static_cast<socket&>(*op->socket); }

  send_datagram_operation* op;
  msghdr header;
  iovec part;
  sockaddr_in6 to;
  bool canceled = false;
};

uring_datagrams::~uring_datagrams() {
  // Sockets that outlived their shard's coroutines; nothing is under way on them.
  while (!all_.empty()) drop(*all_.front());
}

result<datagram_socket*> uring_datagrams::open(const endpoint& local, const endpoint* remote,
                                               const udp_options& options) {
  auto fd = kernel::open_datagram(local, remote, options, kernel::mode::blocking);
  driver_.count_system_calls(6);
  if (!fd) return fd.error();
  return static_cast<datagram_socket*>(&add(std::move(*fd)));
}

uring_datagrams::socket& uring_datagrams::add(unique_fd fd) {
  auto& s = *new socket;
  s.owner = owner_;
  s.home = this;
  s.fd = fd.release();
  s.local = kernel::local_endpoint_of(s.fd);
  all_.push_front(s);
  return s;
}

result<datagram_socket*> uring_datagrams::adopt(unique_fd& bound) {
  if (auto error = kernel::check_adopted(bound.get(), kernel::adopted::udp_socket)) return error;
  if (auto error = kernel::set_mode(bound.get(), kernel::mode::blocking)) return error;
  auto& s = add(std::move(bound));
  kernel::fill_adopted(s.fd, s);
  return static_cast<datagram_socket*>(&s);
}

int uring_datagrams::native_handle(const datagram_socket& s) const noexcept {
  return static_cast<const socket&>(s).fd;
}

void uring_datagrams::observe(shard_snapshot& into, const snapshot_bounds& bounds) const {
  into.udp_sockets_total += all_.size();
  for (const auto* s = all_.front(); s != nullptr; s = all_.after(*s)) {
    if (into.udp_sockets.size() >= bounds.udp_sockets) return;
    auto& out = into.udp_sockets.emplace_back();
    driver_.count_system_calls(kernel::observe_datagram(s->fd, out));
    if (s->connected) out.remote = s->remote;
    out.read_waits = s->receiver != nullptr;
  }
}

std::error_code uring_datagrams::connect(datagram_socket& socket_of_user, const endpoint& remote) {
  auto& s = static_cast<socket&>(socket_of_user);
  driver_.count_system_calls(2);
  if (auto error = kernel::connect_datagram(s.fd, remote)) return error;
  s.local = kernel::local_endpoint_of(s.fd);
  return {};
}

void uring_datagrams::close(datagram_socket& s) noexcept {
  drop(static_cast<socket&>(s));
  home_.descriptor_freed();
}

void uring_datagrams::drop(socket& s) noexcept {
  all_.remove(s);
  // At once and not through the ring: whoever binds this port next must find it free.
  driver_.count_system_calls();
  ::close(s.fd);
  delete &s;
}

// --- Receiving.

void uring_datagrams::start_receive(receive_datagram_operation& op) {
  auto& r = *::new (static_cast<void*>(op.scratch.bytes)) receive_request(op);
  if (!op.batch.empty() && r.of().maybe_readable && try_batch(r)) return;
  op.socket->receiver = &op;
  submit(r);
}

// Of a batch, which the ring has no request for: plain calls move it, and the ring tells when they
// can. True when the operation is over.
template <class Request>
bool uring_datagrams::try_batch(Request& r) noexcept {
  const auto step = kernel::go_on(r.of().fd, *r.op);
  driver_.count_system_calls(step.calls);
  owner_->spend_budget_on(step.bytes);
  if (step.over) finish_batch(r, step.error);
  return step.over;
}

template <class Request>
void uring_datagrams::wait_for(Request& r, std::uint32_t events) noexcept {
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_POLL_ADD;
  entry.fd = r.of().fd;
  entry.poll32_events = events;
  entry.user_data = r.user_data(0);
}

/// Its poll has ended. Where it did not, and nobody has asked it to end, it goes on.
template <class Request>
void uring_datagrams::polled(Request& r, std::int32_t result) noexcept {
  const bool failed = result < 0 && result != -EINTR && result != -EAGAIN;
  if (failed)
    finish_batch(r, result == -ECANCELED ? canceled_error() : kernel::error_from(-result));
  else if (try_batch(r))
    return;
  else if (r.canceled)
    finish_batch(r, canceled_error());
  else
    submit(r);
}

void uring_datagrams::finish_batch(receive_request& r, std::error_code error) noexcept {
  auto& op = *r.op;
  r.of().receiver = nullptr;
  r.of().maybe_readable = error || op.size == std::min(op.batch.size(), udp_socket::max_batch);
  op.complete(error);
}

void uring_datagrams::finish_batch(send_request& r, std::error_code error) noexcept {
  --r.of().sends;
  r.op->complete(error);
}

void uring_datagrams::submit(receive_request& r) noexcept {
  if (!r.op->batch.empty()) return wait_for(r, POLLIN);
  r.part = {r.op->into.data(), r.op->into.size()};
  r.header = {};
  r.header.msg_name = &r.from;
  r.header.msg_namelen = sizeof r.from;
  r.header.msg_iov = &r.part;
  r.header.msg_iovlen = 1;
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_RECVMSG;
  entry.fd = r.of().fd;
  entry.addr = reinterpret_cast<std::uint64_t>(&r.header);
  entry.len = 1;
  entry.msg_flags = MSG_TRUNC;  // the result is the datagram's true size
  entry.user_data = r.user_data(0);
}

void uring_datagrams::received(ring_client& c, unsigned, std::int32_t result,
                               std::uint32_t) noexcept {
  auto& r = static_cast<receive_request&>(c);
  auto& op = *r.op;
  auto& s = r.of();
  if (!op.batch.empty()) return s.home->polled(r, result);
  if (result >= 0) {
    op.from = kernel::endpoint_from(r.from);
    // What was queued from others before connect(2) is not this socket's any more.
    if (!s.connected || op.from == s.remote) {
      op.size = static_cast<std::size_t>(result);
      s.receiver = nullptr;
      return op.complete();
    }
  }
  const bool again = result >= 0 || result == -EINTR || result == -EAGAIN;
  if (again && !r.canceled) return s.home->submit(r);
  s.receiver = nullptr;
  op.complete(again || result == -ECANCELED ? canceled_error() : kernel::error_from(-result));
}

void uring_datagrams::cancel_receive(receive_datagram_operation& op) noexcept {
  auto& r = op.scratch.as<receive_request>();
  r.canceled = true;
  driver_.cancel(r.user_data(0));
}

// --- Sending.

void uring_datagrams::start_send(send_datagram_operation& op) {
  auto& r = *::new (static_cast<void*>(op.scratch.bytes)) send_request(op);
  ++op.socket->sends;
  if (!op.batch.empty() && try_batch(r)) return;
  submit(r);
}

void uring_datagrams::submit(send_request& r) noexcept {
  auto& op = *r.op;
  if (!op.batch.empty()) return wait_for(r, POLLOUT);
  auto& entry = driver_.sqe();
  entry.fd = r.of().fd;
  entry.msg_flags = MSG_NOSIGNAL;
  entry.user_data = r.user_data(0);
  if (op.to_remote) {
    entry.opcode = IORING_OP_SEND;
    entry.addr = reinterpret_cast<std::uint64_t>(op.bytes.data());
    entry.len = static_cast<std::uint32_t>(op.bytes.size());
    return;
  }
  r.part = {const_cast<std::byte*>(op.bytes.data()), op.bytes.size()};
  r.header = {};
  r.header.msg_name = &r.to;
  r.header.msg_namelen = kernel::write_address(r.to, op.to);
  r.header.msg_iov = &r.part;
  r.header.msg_iovlen = 1;
  entry.opcode = IORING_OP_SENDMSG;
  entry.addr = reinterpret_cast<std::uint64_t>(&r.header);
  entry.len = 1;
}

void uring_datagrams::sent(ring_client& c, unsigned, std::int32_t result, std::uint32_t) noexcept {
  auto& r = static_cast<send_request&>(c);
  auto& op = *r.op;
  if (!op.batch.empty()) return r.of().home->polled(r, result);
  const bool again = result == -EINTR || result == -EAGAIN;
  if (again && !r.canceled) return r.of().home->submit(r);
  --op.socket->sends;
  if (result >= 0) return op.complete();
  op.complete(again || result == -ECANCELED ? canceled_error()
                                            : kernel::datagram_error_from(-result));
}

void uring_datagrams::cancel_send(send_datagram_operation& op) noexcept {
  auto& r = op.scratch.as<send_request>();
  r.canceled = true;
  driver_.cancel(r.user_data(0));
}

}  // namespace weir::detail
