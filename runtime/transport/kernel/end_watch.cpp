// The set of sockets whose peers may end, and what poll(2) says of one.
#include "runtime/transport/kernel/end_watch.hpp"

#include <poll.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <utility>

#include "runtime/transport/kernel/kernel_socket.hpp"

namespace weir::detail {

std::error_code end_watch::make() {
  unique_fd set(::epoll_create1(EPOLL_CLOEXEC));
  if (!set) return kernel::last_error();
  auto waits = driver_.watch_descriptor(set.get(), *this);
  if (!waits) return waits.error();
  waits_ = std::move(*waits);
  set_ = std::move(set);
  waits_->want_readable();
  return {};
}

std::error_code end_watch::want(int fd, socket_base& of) {
  if (!set_)
    if (auto error = make()) return error;
  epoll_event event{};
  event.events = EPOLLRDHUP | EPOLLONESHOT;
  event.data.ptr = &of;
  if (::epoll_ctl(set_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
  if (errno == EEXIST && ::epoll_ctl(set_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return {};
  // Of what is no socket.
  if (errno == EPERM) return std::make_error_code(std::errc::operation_not_supported);
  return kernel::last_error();
}

void end_watch::forget(int fd) noexcept {
  epoll_event ignored{};
  if (set_) ::epoll_ctl(set_.get(), EPOLL_CTL_DEL, fd, &ignored);
}

void end_watch::readable() {
  std::array<epoll_event, 64> events;
  int count;
  do {
    count = ::epoll_wait(set_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i)
      client_.end_may_be_there(
          *static_cast<socket_base*>(events[static_cast<unsigned>(i)].data.ptr));
  } while (count == static_cast<int>(events.size()));
  waits_->want_readable();
}

std::optional<std::error_code> end_watch::end_of(int fd) noexcept {
  pollfd asked{fd, POLLRDHUP, 0};
  if (::poll(&asked, 1, 0) <= 0 || (asked.revents & (POLLRDHUP | POLLHUP | POLLERR)) == 0)
    return std::nullopt;
  // Which error it was is for the next read or write to say: asking would take it from them.
  if ((asked.revents & POLLERR) != 0) return std::make_error_code(std::errc::connection_reset);
  return std::error_code();
}

}  // namespace weir::detail
