// Made, accepted, connected, adopted, given up; and what becomes of the files that bind(2) makes.
#include "runtime/transport/watched/watched_transport.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "runtime/backend/factories.hpp"
#include "runtime/backend/family.hpp"
#include "runtime/transport/kernel/adopted.hpp"
#include "runtime/transport/kernel/detached.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"
#include "runtime/transport/watched/shared_paths.hpp"
#include "runtime/transport/watched/unix_address.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

namespace {
watched_stream& stream_of(socket_base& s) { return static_cast<watched_stream&>(s); }
const watched_stream& stream_of(const socket_base& s) {
  return static_cast<const watched_stream&>(s);
}

/// Pipes, terminals, and /dev/null and its like. Of other devices each open file may be a thing of
/// its own.
bool can_be_opened_again(int fd) {
  struct stat file;
  if (::fstat(fd, &file) != 0) return false;
  if (S_ISFIFO(file.st_mode)) return true;
  constexpr unsigned memory_devices = 1;
  if (major(file.st_rdev) == memory_devices) return true;
  return ::isatty(fd) == 1;
}
/// The end of a terminal that its user's program holds. Opened again it is another terminal.
bool is_terminal_master(int fd) {
  unsigned number;
  return ::ioctl(fd, TIOCGPTN, &number) == 0;
}

watched_listener& listener_of(listener_socket& l) { return static_cast<watched_listener&>(l); }

struct detached_unix final : kernel::detached_stream {
  explicit detached_unix(const weir::shard& left) : detached_stream(left, true) {}

  unix_endpoint local, remote;
  passed_descriptors passed;
};
}  // namespace

watched_stream::watched_stream(watched_transport& home) { home.at_home(*this); }
void watched_stream::readable() { static_cast<watched_transport*>(at)->stream_readable(*this); }
void watched_stream::writable() { static_cast<watched_transport*>(at)->stream_writable(*this); }

watched_listener::watched_listener(watched_transport& home) { home.at_home(*this); }
void watched_listener::readable() { static_cast<watched_transport*>(at)->serve(*this); }

watched_transport::watched_transport(driver& completions, const config& settings,
                                     std::shared_ptr<shard_family> family)
    : driver_(completions), settings_(settings), family_(std::move(family)) {}

watched_transport::~watched_transport() {
  while (auto* s = streams_.front()) give_up(*s, true);
  while (auto* l = listeners_.front()) close_listener(*l);
}

// --- Streams.

result<socket_base*> watched_transport::add_stream(unique_fd& fd, watched_stream::kind of,
                                                   const unix_endpoint& local,
                                                   const unix_endpoint& remote, bool shared) {
  auto made = std::make_unique<watched_stream>(*this);
  auto waits =
      shared ? driver_.watch_shared(fd.get(), *made) : driver_.watch_descriptor(fd.get(), *made);
  if (!waits) return waits.error();
  made->waits = std::move(*waits);
  made->fd = std::move(fd);
  made->of = of;
  made->shared = shared;
  made->local = local;
  made->remote = remote;
  streams_.push_front(*made);
  return static_cast<socket_base*>(made.release());
}

void watched_transport::give_up(socket_base& base, bool) noexcept {
  auto& s = stream_of(base);
  lending_.forget(s);
  streams_.remove(s);
  delete &s;  // ends the watch first, then closes
}

result<std::pair<socket_base*, socket_base*>> watched_transport::make_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    return kernel::last_error();
  unique_fd a(ends[0]), b(ends[1]);
  auto first = add_stream(a, watched_stream::kind::socket, {}, {});
  if (!first) return first.error();
  auto second = add_stream(b, watched_stream::kind::socket, {}, {});
  if (!second) {
    give_up(**first, false);
    return second.error();
  }
  return std::pair(*first, *second);
}

result<socket_base*> watched_transport::adopt_stream(unique_fd& connected) {
  if (auto error = kernel::check_adopted(connected.get(), kernel::adopted::unix_stream))
    return error;
  return add_stream(connected, watched_stream::kind::socket, unix_name_of(connected.get(), false),
                    unix_name_of(connected.get(), true));
}

result<socket_base*> watched_transport::adopt_shared_socket(unique_fd& connected) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(connected.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0)
    return kernel::last_error();
  if (type != SOCK_STREAM) return std::errc::wrong_protocol_type;
  return add_stream(connected, watched_stream::kind::socket, {}, {}, true);
}

result<socket_base*> watched_transport::adopt_pipe(unique_fd& pipe) {
  if (auto error = kernel::check_adopted(pipe.get(), kernel::adopted::pipe)) return error;
  if (is_terminal_master(pipe.get()))
    if (auto error = kernel::set_mode(pipe.get(), kernel::mode::non_blocking)) return error;
  const int flags = ::fcntl(pipe.get(), F_GETFL);
  if ((flags & O_NONBLOCK) != 0) return add_stream(pipe, watched_stream::kind::pipe, {}, {});
  // The same file with flags of its own; where there is no such thing, it is polled.
  unique_fd own;
  if (can_be_opened_again(pipe.get())) {
    const auto path = "/proc/self/fd/" + std::to_string(pipe.get());
    own.reset(::open(path.c_str(), (flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  }
  if (!own) return add_stream(pipe, watched_stream::kind::polled, {}, {}, true);
  auto added = add_stream(own, watched_stream::kind::pipe, {}, {});
  if (added) pipe.reset();
  return added;
}

// --- To another shard and from there. Nothing is ever queued in front of a reader.

void watched_transport::start_detach(detach_operation& op) {
  auto& s = stream_of(op.socket());
  std::unique_ptr<detached_unix> made(new (std::nothrow) detached_unix(owner()));
  if (made == nullptr) return op.complete(std::make_error_code(std::errc::not_enough_memory));
  s.waits.reset();
  made->fd = std::move(s.fd);
  made->local = s.local;
  made->remote = s.remote;
  made->passed = std::move(s.passed);
  pass_on(s, *made);
  op.succeed(detached_ptr(made.release()));
  give_up(s, false);
}

result<socket_base*> watched_transport::attach_stream(detached_socket& moved) {
  auto& from = static_cast<detached_unix&>(moved);
  auto got = add_stream(from.fd, watched_stream::kind::socket, from.local, from.remote);
  if (!got) return got.error();
  stream_of(**got).passed = std::move(from.passed);
  pass_on(from, **got);
  return got;
}

// --- Connecting.

void watched_transport::start_connect(unix_connect_operation& op) {
  if (op.remote.is_unnamed()) return op.complete(std::make_error_code(std::errc::invalid_argument));
  if (try_connect(op)) return;
  // The listener's queue is full. Nothing in the kernel tells when it is not.
  connecting_.push_back(op);
  if (connect_clock_.armed()) return;
  connect_pause_ = std::chrono::milliseconds(1);
  owner().arm(connect_clock_, owner().now() + connect_pause_);
}

/// False: later.
bool watched_transport::try_connect(unix_connect_operation& op) {
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return op.complete(kernel::last_error()), true;
  const unix_address to(op.remote);
  if (::connect(fd.get(), to.data(), to.size) != 0) {
    if (errno == EAGAIN) return false;
    return op.complete(kernel::last_error()), true;
  }
  auto added = add_stream(fd, watched_stream::kind::socket, {}, op.remote);
  if (!added) return op.complete(added.error()), true;
  op.connected = *added;
  op.complete();
  return true;
}

void watched_transport::connect_again(timer_node& node) noexcept {
  constexpr duration longest_pause = std::chrono::milliseconds(50);
  auto& self = *static_cast<clock&>(node).of;
  for (auto left = self.connecting_.size(); left > 0; --left) {
    auto& op = *self.connecting_.pop_front();
    if (!self.try_connect(op)) self.connecting_.push_back(op);
  }
  if (self.connecting_.empty()) return;
  self.connect_pause_ = std::min(self.connect_pause_ * 2, longest_pause);
  self.owner().arm(node, self.owner().now() + self.connect_pause_);
}

void watched_transport::cancel_connect(unix_connect_operation& op) noexcept {
  connecting_.remove(op);
  op.complete(canceled_error());
}

// --- Listening.

result<listener_socket*> watched_transport::listen(const unix_endpoint& local,
                                                   const unix_listen_options& options) {
  const auto how = options.sharing.value_or(settings_.listen.sharing);
  if (how == sharing::sharded) return std::errc::operation_not_supported;
  if (options.mode && !local.is_path()) return std::errc::invalid_argument;
  const auto open = [&] { return bind_and_listen(local, options); };
  auto fd =
      how == sharing::shared ? family_->inside().part<shared_paths>().share(local, open) : open();
  if (!fd) return fd.error();
  auto added = add_listener(*fd);
  if (!added) {
    if (how == sharing::shared) family_->inside().part<shared_paths>().leave(local);
    return added.error();
  }
  auto& l = **added;
  l.shared = how == sharing::shared;
  l.path.note(l.name);
  return static_cast<listener_socket*>(&l);
}

result<unique_fd> watched_transport::bind_and_listen(const unix_endpoint& local,
                                                     const unix_listen_options& options) {
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return kernel::last_error();
  // Nobody connects before listen(2).
  if (auto error = bind_to(fd.get(), local, options.mode)) return error;
  const auto backlog =
      std::min<std::uint32_t>(options.backlog.value_or(settings_.listen.backlog), INT_MAX);
  // As with TCP, the kernel's queue holds one more than it is told.
  if (::listen(fd.get(), static_cast<int>(backlog > 0 ? backlog - 1 : 0)) != 0)
    return kernel::last_error();
  return fd;
}

result<watched_listener*> watched_transport::add_listener(unique_fd& fd) {
  auto made = std::make_unique<watched_listener>(*this);
  auto waits = driver_.watch_descriptor(fd.get(), *made);
  if (!waits) return waits.error();
  made->waits = std::move(*waits);
  made->name = unix_name_of(fd.get(), false);
  made->fd = std::move(fd);
  listeners_.push_front(*made);
  return made.release();
}

result<listener_socket*> watched_transport::adopt_listener(unique_fd& listening) {
  if (auto error = kernel::check_adopted(listening.get(), kernel::adopted::unix_listener))
    return error;
  if (auto error = kernel::set_mode(listening.get(), kernel::mode::non_blocking)) return error;
  auto added = add_listener(listening);
  if (!added) return added.error();
  return static_cast<listener_socket*>(*added);
}

void watched_transport::accept_wanted(listener_socket& l, accept_operation& op) {
  // Behind others that wait already there is nothing to find.
  if (l.acceptors.front() == &op && !listener_of(l).exhausted) serve(listener_of(l));
}

void watched_transport::serve(watched_listener& l) {
  while (!l.acceptors.empty()) {
    unique_fd accepted(::accept4(l.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted) {
      const auto remote = unix_name_of(accepted.get(), true);
      auto added = add_stream(accepted, watched_stream::kind::socket, l.name, remote);
      if (added) hand_out(l, **added);
      continue;
    }
    const int number = errno;
    switch (kernel::classify_accept_error(number)) {
      case kernel::accept_failure::nothing_there: return l.waits->want_readable();
      case kernel::accept_failure::retry: continue;
      case kernel::accept_failure::exhausted:
        kernel::log_accept_exhausted(number, l.name.to_string(), owner().now(), l.last_logged);
        l.exhausted = true;
        if (!accept_clock_.armed())
          owner().arm(accept_clock_, owner().now() + kernel::accept_retry_delay);
        return;
      case kernel::accept_failure::fatal: fail_acceptors(l, kernel::error_from(number));
    }
  }
}

void watched_transport::accept_again(timer_node& node) noexcept {
  auto& self = *static_cast<clock&>(node).of;
  for (auto* l = self.listeners_.front(); l != nullptr; l = self.listeners_.after(*l))
    if (std::exchange(l->exhausted, false)) self.serve(*l);
}

void watched_transport::stop_listening(listener_socket& base) noexcept {
  auto& l = listener_of(base);
  const bool last = !l.shared || family_->inside().part<shared_paths>().leave(l.name);
  if (last) l.path.remove(l.name);
  listeners_.remove(l);
  delete &l;
}

// --- Small things.

unix_endpoint watched_transport::local_name(const socket_base& s) const {
  return stream_of(s).local;
}
unix_endpoint watched_transport::remote_name(const socket_base& s) const {
  return stream_of(s).remote;
}
unix_endpoint watched_transport::listener_name(const listener_socket& l) const {
  return static_cast<const watched_listener&>(l).name;
}
void watched_transport::keep_path(listener_socket& l) { listener_of(l).path.keep(); }

int watched_transport::native_handle(const socket_base& s) const noexcept {
  return stream_of(s).fd.get();
}
bool watched_transport::sends_files(const socket_base& base) const noexcept {
  const auto& s = stream_of(base);
  return s.of == watched_stream::kind::socket && !s.shared && !kernel::sigpipe_is_deadly();
}
int watched_transport::native_listener(const listener_socket& l) const noexcept {
  return static_cast<const watched_listener&>(l).fd.get();
}

unix_credentials watched_transport::peer_of(const socket_base& s) const {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(stream_of(s).fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return {};
  return {who.pid, who.uid, who.gid};
}

std::unique_ptr<local_transport> make_watched_transport(driver& completions, const config& settings,
                                                        family_ref family) {
  return std::make_unique<watched_transport>(completions, settings, std::move(family));
}

}  // namespace weir::detail
