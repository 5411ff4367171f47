// See asio_datagrams.hpp.
#include "runtime/transport/asio/asio_datagrams.hpp"

#include <sys/socket.h>

#include <cassert>
#include <cerrno>
#include <optional>
#include <utility>

#include "runtime/driver/asio/asio_driver.hpp"
#include "runtime/transport/asio/asio_transport.hpp"
#include "runtime/transport/kernel/adopted.hpp"
#include "runtime/transport/kernel/datagram_batch.hpp"
#include "runtime/transport/kernel/kernel_datagram.hpp"
#include "runtime/transport/kernel/kernel_info.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

class asio_datagrams::socket final : public datagram_socket,
                                     public watched_descriptor,
                                     public stack::list_link<> {
 public:
  explicit socket(asio_datagrams& home) : watched_descriptor(home.driver_), home_(&home) {
    owner = home.owner_;
    home.all_.push_front(*this);
  }

  void start_receive(receive_datagram_operation& op) {
    std::error_code error;
    if (maybe_readable_ && try_receive(op, error)) return op.complete(error);
    receiver = &op;
    wait_for_more();
  }
  void start_send(send_datagram_operation& op) {
    std::error_code error;
    if (senders_.empty() && try_send(op, error)) return op.complete(error);
    senders_.push_back(op);
    ++sends;
    wait_writable();
  }
  void cancel_receive() noexcept { std::exchange(receiver, nullptr)->complete(canceled_error()); }
  void cancel_send(send_datagram_operation& op) noexcept {
    senders_.remove(op);
    --sends;
    op.complete(canceled_error());
  }
  /// The descriptor is closed now; the memory goes when the set does not refer to it any more.
  void give_up() noexcept {
    given_up_ = true;
    ++home_->closing_;
    watched_descriptor::close();
    drop();
  }
  bool given_up() const { return given_up_; }
  void count_system_call() const { driver().count_system_call(); }
  /// A datagram may be there again: after connect(2), what waits may be another's.
  void look_again() { maybe_readable_ = true; }

 private:
  ~socket() override {
    home_->all_.remove(*this);
    if (given_up_) --home_->closing_;
  }

  // True when the operation is over.
  template <class Operation>
  bool try_batch(Operation& op, std::error_code& error);
  bool try_receive(receive_datagram_operation& op, std::error_code& error);
  bool try_send(send_datagram_operation& op, std::error_code& error);
  void readable() override;
  void writable() override;

  asio_datagrams* home_;
  stack::intrusive_queue<send_datagram_operation> senders_;  // wait for room
  bool maybe_readable_ = true;                               // false once the kernel had nothing
  bool given_up_ = false;
};

/// The same of a batch.
template <class Operation>
bool asio_datagrams::socket::try_batch(Operation& op, std::error_code& error) {
  const auto step = kernel::go_on(fd(), op);
  for (auto n = step.calls; n > 0; --n) count_system_call();
  owner->spend_budget_on(step.bytes);
  error = step.error;
  return step.over;
}

bool asio_datagrams::socket::try_receive(receive_datagram_operation& op, std::error_code& error) {
  if (!op.batch.empty()) return maybe_readable_ = try_batch(op, error);
  for (;;) {
    sockaddr_in6 from;  // large enough for IPv4 too
    iovec part{op.into.data(), op.into.size()};
    msghdr header{};
    header.msg_name = &from;
    header.msg_namelen = sizeof from;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    count_system_call();
    auto n = ::recvmsg(fd(), &header, MSG_TRUNC);  // gives the datagram's true size
    if (n >= 0) {
      op.from = kernel::endpoint_from(from);
      // What was queued from others before connect(2) is not this socket's any more.
      if (connected && op.from != remote) continue;
      op.size = static_cast<std::size_t>(n);
      owner->spend_budget_on(op.size);
      return true;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      maybe_readable_ = false;
      return false;
    }
    error = kernel::last_error();
    return true;
  }
}

void asio_datagrams::socket::readable() {
  maybe_readable_ = true;
  if (receiver == nullptr) return;
  std::error_code error;
  if (!try_receive(*receiver, error)) return wait_for_more();
  std::exchange(receiver, nullptr)->complete(error);
}

bool asio_datagrams::socket::try_send(send_datagram_operation& op, std::error_code& error) {
  if (!op.batch.empty()) return try_batch(op, error);
  sockaddr_in6 to;
  iovec part{const_cast<std::byte*>(op.bytes.data()), op.bytes.size()};
  msghdr header{};
  if (!op.to_remote) {
    header.msg_name = &to;
    header.msg_namelen = kernel::write_address(to, op.to);
  }
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  for (;;) {
    count_system_call();
    if (::sendmsg(fd(), &header, MSG_NOSIGNAL) >= 0) {
      owner->spend_budget_on(op.bytes.size());
      return true;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return false;
    error = kernel::datagram_error_from(errno);
    return true;
  }
}

void asio_datagrams::socket::writable() {
  while (auto* op = senders_.front()) {
    std::error_code error;
    if (!try_send(*op, error)) return wait_writable();
    senders_.pop_front();
    --sends;
    op->complete(error);
  }
}

asio_datagrams::~asio_datagrams() { abandon(); }

void asio_datagrams::abandon() noexcept {
  for (auto* s = all_.front(); s != nullptr;) {
    auto* next = all_.after(*s);
    if (!s->given_up()) s->give_up();
    s = next;
  }
}

result<datagram_socket*> asio_datagrams::open(const endpoint& local, const endpoint* remote,
                                              const udp_options& options) {
  auto fd = kernel::open_datagram(local, remote, options, kernel::mode::non_blocking);
  for (int calls = 0; calls < 6; ++calls) driver_.count_system_call();
  if (!fd) return fd.error();
  return add(*fd);
}

result<datagram_socket*> asio_datagrams::adopt(unique_fd& bound) {
  if (auto error = kernel::check_adopted(bound.get(), kernel::adopted::udp_socket)) return error;
  if (auto error = kernel::set_mode(bound.get(), kernel::mode::non_blocking)) return error;
  const int fd = bound.get();
  auto made = add(bound);
  if (made) kernel::fill_adopted(fd, **made);
  return made;
}

int asio_datagrams::native_handle(const datagram_socket& s) const noexcept {
  return static_cast<const socket&>(s).fd();
}

result<datagram_socket*> asio_datagrams::add(unique_fd& fd) {
  auto* made = new socket(*this);
  if (auto error = made->assign(fd.get())) {
    made->drop();
    return error;
  }
  fd.release();
  made->local = kernel::local_endpoint_of(made->fd());
  return static_cast<datagram_socket*>(made);
}

void asio_datagrams::observe(shard_snapshot& into, const snapshot_bounds& bounds) const {
  for (const auto* s = all_.front(); s != nullptr; s = all_.after(*s)) {
    if (s->given_up()) continue;
    ++into.udp_sockets_total;
    if (into.udp_sockets.size() >= bounds.udp_sockets) continue;
    auto& out = into.udp_sockets.emplace_back();
    for (auto n = kernel::observe_datagram(s->fd(), out); n > 0; --n) s->count_system_call();
    if (s->connected) out.remote = s->remote;
    out.read_waits = s->receiver != nullptr;
  }
}

std::error_code asio_datagrams::connect(datagram_socket& socket_of_user, const endpoint& remote) {
  auto& s = static_cast<socket&>(socket_of_user);
  s.count_system_call();
  if (auto error = kernel::connect_datagram(s.fd(), remote)) return error;
  s.local = kernel::local_endpoint_of(s.fd());
  s.look_again();
  return {};
}

void asio_datagrams::start_receive(receive_datagram_operation& op) {
  static_cast<socket&>(*op.socket).start_receive(op);
}
void asio_datagrams::start_send(send_datagram_operation& op) {
  static_cast<socket&>(*op.socket).start_send(op);
}
void asio_datagrams::cancel_receive(receive_datagram_operation& op) noexcept {
  static_cast<socket&>(*op.socket).cancel_receive();
}
void asio_datagrams::cancel_send(send_datagram_operation& op) noexcept {
  static_cast<socket&>(*op.socket).cancel_send(op);
}
void asio_datagrams::close(datagram_socket& socket_of_user) noexcept {
  static_cast<socket&>(socket_of_user).give_up();
  home_.descriptor_freed();
}

}  // namespace weir::detail
