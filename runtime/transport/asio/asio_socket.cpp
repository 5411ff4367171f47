// See asio_socket.hpp. Reads go straight into the caller's buffer; a read that got less than it
// asked for has emptied the kernel's queue, so the next one waits first instead of asking in vain.
#include "transport/asio/asio_socket.hpp"

#include <sys/socket.h>

#include <array>
#include <cassert>
#include <cerrno>

#include "driver/asio/asio_driver.hpp"
#include "transport/asio/asio_transport.hpp"

namespace weir::detail {

namespace {

/// Where a write stands, in its scratch space.
struct write_cursor {
  std::size_t part;
  std::size_t offset;
};

constexpr std::size_t parts_per_call = 64;

/// The next parts to send; gives their number and, in `bytes`, their size.
std::size_t collect(const write_operation& op, const write_cursor& at,
                    std::array<iovec, parts_per_call>& into, std::size_t& bytes) {
  auto parts = op.parts();
  std::size_t count = 0, offset = at.offset;
  bytes = 0;
  for (std::size_t i = at.part; i < parts.size() && count < into.size(); ++i, offset = 0) {
    auto rest = parts[i].subspan(offset);
    if (rest.empty()) continue;
    into[count++] = {const_cast<std::byte*>(rest.data()), rest.size()};
    bytes += rest.size();
  }
  return count;
}

void advance(write_operation& op, write_cursor& at, std::size_t n) {
  auto parts = op.parts();
  op.written += n;
  while (n > 0) {
    auto left = parts[at.part].size() - at.offset;
    if (n < left) {
      at.offset += n;
      return;
    }
    n -= left;
    ++at.part;
    at.offset = 0;
  }
}

}  // namespace

asio_socket::asio_socket(asio_transport& home)
    : watched_descriptor(home.completions()), home_(&home) {
  owner = home.owner();
  home.enter(*this);
}

asio_socket::~asio_socket() {
  if (home_ != nullptr) home_->leave(*this);
}

void asio_socket::give_up() noexcept {
  given_up_ = true;
  home_->closing_begins();
  close();
  drop();
}

void asio_socket::count_system_call() const noexcept { driver().count_system_call(); }

// --- Reading.

void asio_stream::start_read(read_operation& op) {
  if (maybe_readable_) {
    std::error_code error;
    if (try_read(op, error) == progress::finished) return op.complete(error);
  }
  reader = &op;
  if (!starved) wait_readable();
}

void asio_stream::readable() {
  maybe_readable_ = true;
  if (reader == nullptr || starved) return;
  std::error_code error;
  if (try_read(*reader, error) == progress::finished)
    return std::exchange(reader, nullptr)->complete(error);
  if (!starved) wait_readable();
}

void asio_stream::lending_possible() {
  starved = false;
  readable();
}

void asio_stream::cancel_read(read_operation& op) noexcept {
  assert(reader == &op);
  if (starved) home().forget_starved(*this);
  reader = nullptr;
  op.complete(canceled_error());
}

asio_stream::progress asio_stream::try_read(read_operation& op, std::error_code& error) {
  if (op.lend) return try_lend(op, error);
  for (;;) {
    auto rest = op.into.subspan(op.filled);
    count_system_call();
    auto n = ::recv(fd(), rest.data(), rest.size(), 0);
    if (n > 0) {
      op.filled += static_cast<std::size_t>(n);
      maybe_readable_ = static_cast<std::size_t>(n) == rest.size();
      return op.filled >= op.minimum ? progress::finished : progress::blocked;
    }
    if (n == 0) return progress::finished;
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      maybe_readable_ = false;
      return progress::blocked;
    }
    error = kernel::last_error();
    return progress::finished;
  }
}

asio_stream::progress asio_stream::try_lend(read_operation& op, std::error_code& error) {
  auto* buffer = home().lending().take();
  if (buffer == nullptr) {
    home().wait_for_buffer(*this);
    return progress::blocked;
  }
  ssize_t n;
  do {
    count_system_call();
    n = ::recv(fd(), buffer, lending_pool::buffer_size, 0);
  } while (n < 0 && errno == EINTR);
  int number = errno;
  if (n > 0) {
    op.filled = static_cast<std::size_t>(n);
    op.lent.data = buffer;
    op.lent.size = static_cast<std::uint32_t>(n);
    op.lent.chunk = buffer;
    maybe_readable_ = op.filled == lending_pool::buffer_size;
    return progress::finished;
  }
  home().lending().give_back(buffer);
  if (n == 0) return progress::finished;
  if (number == EAGAIN) {
    maybe_readable_ = false;
    return progress::blocked;
  }
  error = kernel::error_from(number);
  return progress::finished;
}

// --- Writing.

void asio_stream::start_write(write_operation& op) {
  if (shutdown_wanted_) return op.complete(std::make_error_code(std::errc::broken_pipe));
  op.scratch.as<write_cursor>() = {0, 0};
  if (first_writer == nullptr) {
    std::error_code error;
    if (try_write(op, error) == progress::finished) return op.complete(error);
    wait_writable();
  }
  op.next_writer = nullptr;
  (first_writer == nullptr ? first_writer : last_writer->next_writer) = &op;
  last_writer = &op;
}

asio_stream::progress asio_stream::try_write(write_operation& op, std::error_code& error) {
  auto& cursor = op.scratch.as<write_cursor>();
  std::array<iovec, parts_per_call> parts;
  for (;;) {
    std::size_t bytes;
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = collect(op, cursor, parts, bytes);
    if (message.msg_iovlen == 0) return progress::finished;
    count_system_call();
    auto n = ::sendmsg(fd(), &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) {
      error = kernel::last_error();
      return progress::finished;
    }
    if (n > 0) advance(op, cursor, static_cast<std::size_t>(n));
    if (!op.all && op.written > 0) return progress::finished;
    if (n < 0 || static_cast<std::size_t>(n) < bytes) return progress::blocked;
  }
}

void asio_stream::writable() {
  if (connecting_ != nullptr) return connect_progress();
  run_writers();
}

void asio_stream::run_writers() {
  while (first_writer != nullptr) {
    auto& op = *first_writer;
    std::error_code error;
    if (try_write(op, error) == progress::blocked) return wait_writable();
    first_writer = op.next_writer;
    op.complete(error);
  }
  if (shutdown_wanted_) ::shutdown(fd(), SHUT_WR);
}

void asio_stream::cancel_write(write_operation& op) noexcept {
  write_operation* before = nullptr;
  auto* at = first_writer;
  while (at != nullptr && at != &op) before = std::exchange(at, at->next_writer);
  assert(at != nullptr && "a write that does not wait was cancelled");
  (before == nullptr ? first_writer : before->next_writer) = op.next_writer;
  if (last_writer == &op) last_writer = before;
  op.complete(canceled_error());
  if (first_writer == nullptr && shutdown_wanted_) ::shutdown(fd(), SHUT_WR);
}

std::error_code asio_stream::shutdown_send() noexcept {
  shutdown_wanted_ = true;
  if (first_writer != nullptr) return {};  // after what still waits to be sent
  count_system_call();
  return ::shutdown(fd(), SHUT_WR) == 0 ? std::error_code{} : kernel::last_error();
}

// --- Connecting.

void asio_stream::start_connect(connect_operation& op, const endpoint& to) {
  connecting_ = &op;
  remote_ = to;
  wait_writable();
}

void asio_stream::connect_progress() {
  // A second connect(2) tells how the first one went: 0, what went wrong, or EALREADY after a
  // wake-up without a cause.
  kernel::socket_address to(remote_);
  count_system_call();
  if (::connect(fd(), to.data(), to.size) == 0 || errno == EISCONN) {
    // A port of our own that happened to be chosen as the local one connects to itself; nobody
    // listens there.
    bool to_itself = kernel::local_endpoint_of(fd()) == remote_;
    return finish_connect(to_itself ? std::make_error_code(std::errc::connection_refused)
                                    : std::error_code{});
  }
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
  op.connected = this;
  op.complete();
}

void asio_stream::cancel_connect() noexcept { finish_connect(canceled_error()); }

// --- Listening.

void asio_listener::start_accept(accept_operation& op) {
  op.next_acceptor = nullptr;
  bool alone = first_ == nullptr;
  (alone ? first_ : last_->next_acceptor) = &op;
  last_ = &op;
  if (alone && !exhausted) serve();
}

void asio_listener::answer_first(std::error_code error, asio_stream* taken) {
  auto& op = *first_;
  first_ = op.next_acceptor;
  op.accepted = taken;
  op.complete(error);
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
  stream->set_remote(remote);
  ++home().count().accepted;
  ++taken_;
  taken = stream;
  return 0;
}

void asio_listener::serve() {
  unsigned failures = 0;
  while (first_ != nullptr) {
    asio_stream* taken = nullptr;
    int number = accept_one(taken);
    if (taken != nullptr) {
      answer_first({}, taken);
      continue;
    }
    switch (kernel::classify_accept_error(number)) {
      case kernel::accept_failure::nothing_there: return wait_readable();
      case kernel::accept_failure::retry:
        if (++failures < failures_per_turn) continue;
        return wait_readable();
      case kernel::accept_failure::exhausted:
        kernel::log_accept_exhausted(number, local_, home().now(), last_logged_);
        return home().wait_for_descriptor(*this);
      case kernel::accept_failure::fatal: answer_first(kernel::error_from(number), nullptr);
    }
  }
}

void asio_listener::join(sharing how) {
  how_ = how;
  if (how == sharing::exclusive) return;
  one_socket_ = how == sharing::shared;
  home().note_grouped(*this);
  group_member_ = home().groups().join(
      local_, *owner, [transport = &home(), at = local_](std::uint64_t member, int fd) {
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

void asio_listener::cancel_accept(accept_operation& op) noexcept {
  accept_operation* before = nullptr;
  auto* at = first_;
  while (at != nullptr && at != &op) before = std::exchange(at, at->next_acceptor);
  assert(at != nullptr && "an accept that does not wait was cancelled");
  (before == nullptr ? first_ : before->next_acceptor) = op.next_acceptor;
  if (last_ == &op) last_ = before;
  op.complete(canceled_error());
}

void asio_listener::give_up() noexcept {
  if (exhausted) home().forget_exhausted(*this);
  while (first_ != nullptr) answer_first(make_error_code(weir::error::closed), nullptr);
  if (group_member_ != 0) {
    auto& groups = home().groups();
    groups.leave(group_member_);
    home().forget_grouped(*this);
    for (int fd : adopted_) {
      if (groups.give_away(local_, fd)) continue;
      kernel::unique_fd refused(fd);
      kernel::reset_on_close(fd);
    }
    adopted_.clear();
    if (!one_socket_) groups.give_away_queue(local_, fd());
  }
  asio_socket::give_up();
}

}  // namespace weir::detail
