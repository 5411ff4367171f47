// Reads go straight into the caller's buffer; a read that got less than it asked for has emptied
// the kernel's queue, so the next one waits first instead of asking in vain. Unless the peer's end
// was told together with the bytes: it is not told again.
#include "runtime/transport/asio/asio_socket.hpp"

#include <sys/socket.h>

#include <array>
#include <cassert>
#include <cerrno>

#include "runtime/driver/asio/asio_driver.hpp"
#include "runtime/transport/asio/asio_transport.hpp"
#include "stack/base/parts.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

asio_socket::asio_socket(asio_transport& home)
    : watched_descriptor(home.completions()), home_(&home) {
  home.enter(*this);
}

asio_socket::~asio_socket() { home_->leave(*this); }

void asio_socket::give_up() noexcept {
  given_up_ = true;
  home_->closing_begins();
  close();
  drop();
}

void asio_socket::count_system_call() const noexcept { driver().count_system_call(); }

asio_stream::asio_stream(asio_transport& home) : asio_socket(home) { home.at_home(*this); }

// --- Reading.

void asio_stream::bring_in() {
  auto& op = *reader;
  if (waits_for_buffer) return;
  do {
    if (!maybe_readable_ && !take_news()) return wait_for_more();
    const auto room = op.lend ? home().lending().take(*this) : op.into().subspan(op.filled);
    if (room.empty()) return;  // no buffer is left to lend
    count_system_call();
    const auto n = ::recv(fd(), room.data(), room.size(), 0);
    const int error = n < 0 ? errno : 0;
    if (n > 0) {
      op.filled += static_cast<std::size_t>(n);
      home().count().bytes_received += static_cast<std::size_t>(n);
      home().owner().spend_budget_on(static_cast<std::size_t>(n));
    }
    if (op.lend && n > 0)
      op.lent = {room.data(), static_cast<std::uint32_t>(n), 0, room.data()};
    else if (op.lend)
      home().lending().give_back(room.data());
    if (error == EINTR) continue;
    maybe_readable_ = n == static_cast<ssize_t>(room.size()) || (n > 0 && end_told());
    if (n <= 0 && error != EAGAIN)
      return home().receiving_over(*this,
                                   error == 0 ? std::error_code() : kernel::error_from(error));
  } while (op.filled < op.minimum());
  home().bytes_came(*this);
}

void asio_stream::readable() {
  maybe_readable_ = true;
  if (reader != nullptr) home().bytes_came(*this);
}

// --- Writing.

namespace {
/// As sendmsg(2); a single part costs the kernel less without a header to fetch.
ssize_t send_parts(int fd, std::span<iovec> parts, int flags) {
  if (parts.size() == 1) return ::send(fd, parts.front().iov_base, parts.front().iov_len, flags);
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  return ::sendmsg(fd, &message, flags);
}
}  // namespace

void asio_stream::take_out() {
  constexpr std::size_t parts_per_call = 64;
  stack::part_room<parts_per_call> parts;
  std::array<iovec, parts_per_call> vectors;
  while (!writers.empty()) {
    const auto some = home().gather(*this, parts.from(0));
    for (std::size_t i = 0; i < some.parts; ++i)
      vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
    count_system_call();
    const auto n = send_parts(fd(), std::span(vectors).first(some.parts),
                              MSG_NOSIGNAL | (some.more ? MSG_MORE : 0));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return wait_for_room();
    if (n < 0) return home().sending_failed(*this, kernel::last_error());
    home().count().bytes_sent += static_cast<std::size_t>(n);
    home().owner().spend_budget_on(static_cast<std::size_t>(n));
    home().sent(*this, static_cast<std::size_t>(n));
    if (static_cast<std::size_t>(n) < some.bytes && !writers.empty()) return wait_for_room();
  }
}

void asio_stream::writable() {
  if (connecting_ != nullptr) return connect_progress();
  home().writes_released(*this);
}

// --- Connecting.

void asio_stream::start_connect(connect_operation& op) {
  connecting_ = &op;
  op.attempt = this;
  remote_end = op.remote;
  wait_writable();
}

void asio_stream::connect_progress() {
  // A second connect(2) tells how the first one went: 0, what went wrong, or EALREADY after a
  // wake-up without a cause.
  kernel::socket_address to(remote_end);
  count_system_call();
  if (::connect(fd(), to.data(), to.size) == 0 || errno == EISCONN) return finish_connect({});
  if (errno == EALREADY || errno == EINPROGRESS || errno == EINTR) return wait_writable();
  finish_connect(kernel::last_error());
}

void asio_stream::finish_connect(std::error_code error) {
  auto& op = *std::exchange(connecting_, nullptr);
  if (error) {
    give_up();
    return op.complete(error);
  }
  ++home().count().connected;
  count_system_call();
  local_end = kernel::local_endpoint_of(fd());
  home().connected(op, *this);
}

// --- Listening.

asio_listener::asio_listener(asio_transport& home, const endpoint& where) : asio_socket(home) {
  home.at_home(*this).local = where;
}

/// Gives 0 and a stream, or the errno value of accept(2).
int asio_listener::accept_one(asio_stream*& taken) {
  kernel::socket_address peer;
  count_system_call();
  if (!adopted_.empty()) {
    kernel::unique_fd adopted(adopted_.front());
    adopted_.pop_front();
    const auto remote = kernel::remote_endpoint_of(adopted.get());
    return make_stream(std::move(adopted), remote, taken);
  }
  kernel::unique_fd accepted(
      ::accept4(fd(), peer.data(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!accepted) return errno;
  return make_stream(std::move(accepted), peer.to_endpoint(), taken);
}

int asio_listener::make_stream(kernel::unique_fd accepted, const endpoint& remote,
                               asio_stream*& taken) {
  auto* stream = new asio_stream(home());
  if (stream->assign(
          accepted.get())) {  // the reactor is at a limit of its own; the peer is told by a reset
    kernel::reset_on_close(accepted.get());
    stream->drop();
    return ENOMEM;
  }
  accepted.release();
  stream->remote_end = remote;
  stream->local_end = local;
  if (local.address.is_unspecified()) {
    count_system_call();
    stream->local_end = kernel::local_endpoint_of(stream->fd());
  }
  ++home().count().accepted;
  ++taken_;
  taken = stream;
  return 0;
}

void asio_listener::serve() {
  unsigned failures = 0;
  while (!acceptors.empty()) {
    asio_stream* taken = nullptr;
    int number = accept_one(taken);
    if (taken != nullptr) {
      home().hand_out(*this, *taken);
      continue;
    }
    switch (kernel::classify_accept_error(number)) {
      case kernel::accept_failure::nothing_there: return wait_for_more();
      case kernel::accept_failure::retry:
        if (++failures < failures_per_turn) continue;
        return wait_readable();
      case kernel::accept_failure::exhausted:
        kernel::log_accept_exhausted(number, local.to_string(), home().now(), last_logged_);
        return home().wait_for_descriptor(*this);
      case kernel::accept_failure::fatal: home().fail_acceptors(*this, kernel::error_from(number));
    }
  }
}

void asio_listener::join(sharing how) {
  how_ = how;
  if (how == sharing::exclusive) return;
  home().note_grouped(*this);
  group_member_ = home().groups().join(
      local, home().owner(), [transport = &home(), at = local](std::uint64_t member, int fd) {
        transport->adopt(member, at, fd);
      });
}

void asio_listener::adopt(int fd) {
  adopted_.push_back(fd);
  if (!exhausted) serve();
}

void asio_listener::retry() {
  exhausted = false;
  serve();
}

void asio_listener::give_up() noexcept {
  if (exhausted) home().forget_exhausted(*this);
  if (group_member_ != 0) {
    auto& groups = home().groups();
    groups.leave(group_member_);
    home().forget_grouped(*this);
    for (int fd : adopted_) {
      if (groups.give_away(local, fd)) continue;
      kernel::unique_fd refused(fd);
      kernel::reset_on_close(fd);
    }
    adopted_.clear();
    if (how_ == sharing::sharded && !left_to_others_) groups.give_away_queue(local, fd());
  }
  asio_socket::give_up();
}

}  // namespace weir::detail
