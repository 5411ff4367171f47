// See asio_datagrams.hpp.
#include "transport/asio/asio_datagrams.hpp"

#include <sys/socket.h>

#include <cassert>
#include <cerrno>
#include <optional>
#include <utility>

#include "driver/asio/asio_driver.hpp"
#include "transport/kernel/kernel_datagram.hpp"
#include "transport/kernel/kernel_info.hpp"

namespace weir::detail {

class asio_datagrams::socket final : public datagram_socket, public watched_descriptor {
 public:
  explicit socket(asio_datagrams& home) : watched_descriptor(home.driver_), home_(&home) {
    owner = home.owner_;
    next_ = home.first_;
    if (next_ != nullptr) next_->previous_ = this;
    home.first_ = this;
  }

  void start_receive(receive_datagram_operation& op) {
    std::error_code error;
    if (maybe_readable_ && try_receive(op, error)) return op.complete(error);
    receiver = &op;
    wait_readable();
  }
  void start_send(send_datagram_operation& op) {
    std::error_code error;
    if (first_sender_ == nullptr && try_send(op, error)) return op.complete(error);
    op.next = nullptr;
    (first_sender_ == nullptr ? first_sender_ : last_sender_->next) = &op;
    last_sender_ = &op;
    ++sends;
    wait_writable();
  }
  void cancel_receive() noexcept { std::exchange(receiver, nullptr)->complete(canceled_error()); }
  void cancel_send(send_datagram_operation& op) noexcept {
    send_datagram_operation* before = nullptr;
    auto* at = first_sender_;
    while (at != &op) before = std::exchange(at, at->next);
    (before == nullptr ? first_sender_ : before->next) = op.next;
    if (last_sender_ == &op) last_sender_ = before;
    --sends;
    op.complete(canceled_error());
  }
  /// The descriptor is closed now; the memory goes when no wait refers to it any more.
  void give_up() noexcept {
    given_up_ = true;
    ++home_->closing_;
    watched_descriptor::close();
    drop();
  }
  /// The transport goes before this object does.
  void orphan() noexcept { home_ = nullptr; }
  bool given_up() const { return given_up_; }
  socket* next() const { return next_; }
  void count_system_call() const { driver().count_system_call(); }
  /// A datagram may be there again: after connect(2), what waits may be another's.
  void look_again() { maybe_readable_ = true; }

 private:
  ~socket() override {
    if (home_ == nullptr) return;
    (previous_ == nullptr ? home_->first_ : previous_->next_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
    home_->heap_handlers_ += heap_handlers();
    if (given_up_) --home_->closing_;
  }

  // True when the operation is over.
  bool try_receive(receive_datagram_operation& op, std::error_code& error);
  bool try_send(send_datagram_operation& op, std::error_code& error);
  void readable() override;
  void writable() override;

  asio_datagrams* home_;
  socket* previous_ = nullptr;
  socket* next_ = nullptr;
  send_datagram_operation* first_sender_ = nullptr;  // wait for room, in order
  send_datagram_operation* last_sender_ = nullptr;
  bool maybe_readable_ = true;  // false once the kernel had nothing
  bool given_up_ = false;
};

bool asio_datagrams::socket::try_receive(receive_datagram_operation& op, std::error_code& error) {
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
  if (!try_receive(*receiver, error)) return wait_readable();
  std::exchange(receiver, nullptr)->complete(error);
}

bool asio_datagrams::socket::try_send(send_datagram_operation& op, std::error_code& error) {
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
    if (::sendmsg(fd(), &header, MSG_NOSIGNAL) >= 0) return true;
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return false;
    error = kernel::datagram_error_from(errno);
    return true;
  }
}

void asio_datagrams::socket::writable() {
  while (first_sender_ != nullptr) {
    auto& op = *first_sender_;
    std::error_code error;
    if (!try_send(op, error)) return wait_writable();
    first_sender_ = op.next;
    --sends;
    op.complete(error);
  }
}

asio_datagrams::~asio_datagrams() {
  abandon();
  // What is left waits for handlers that the io_context will run or throw away.
  while (first_ != nullptr) {
    auto& s = *first_;
    first_ = s.next();
    s.orphan();
  }
}

void asio_datagrams::abandon() noexcept {
  for (auto* s = first_; s != nullptr;) {
    auto* next = s->next();
    if (!s->given_up()) s->give_up();
    s = next;
  }
}

result<datagram_socket*> asio_datagrams::open(const endpoint& local, const endpoint* remote,
                                              const udp_options& options) {
  auto fd = kernel::open_datagram(local, remote, options, settings_, kernel::mode::non_blocking);
  for (int calls = 0; calls < 3; ++calls) driver_.count_system_call();
  if (!fd) return fd.error();
  auto* made = new socket(*this);
  if (auto error = made->assign(fd->get())) {
    made->drop();
    return error;
  }
  fd->release();
  made->family = local.address.family();
  made->connected = remote != nullptr;
  if (remote != nullptr) made->remote = *remote;
  return static_cast<datagram_socket*>(made);
}

void asio_datagrams::observe(shard_snapshot& into, const snapshot_bounds& bounds) const {
  for (const auto* s = first_; s != nullptr; s = s->next()) {
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
  s.connected = true;
  s.remote = remote;
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
}
endpoint asio_datagrams::local_endpoint(const datagram_socket& socket_of_user) const {
  return kernel::local_endpoint_of(static_cast<const socket&>(socket_of_user).fd());
}

}  // namespace weir::detail
