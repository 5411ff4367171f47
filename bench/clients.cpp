// See clients.hpp.
#include "clients.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/tcp.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace weir::bench {
namespace {

constexpr std::uint64_t report_every_ns = 500'000'000;
constexpr std::uint64_t late_warmup_limit_ns = 5'000'000'000;
constexpr std::uint64_t long_window_limit_ns = 10'000'000'000;
constexpr time_t connect_limit_s = 10;

int open_socket(const endpoint& target, int flags) noexcept {
  const int fd = ::socket(target.family(), SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (fd < 0) return fd;
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

}  // namespace

int connect_client(const endpoint& target) {
  const int fd = open_socket(target, 0);
  const timeval limit{connect_limit_s, 0};
  if (fd >= 0) ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (fd < 0 || ::connect(fd, target.address(), target.length) != 0) {
    const int error = errno;
    if (fd >= 0) ::close(fd);
    throw std::system_error(error, std::system_category(), "connect to " + to_string(target));
  }
  const linger reset{1, 0};  // leaves no TIME_WAIT behind when the load is over
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

int start_client(const endpoint& target) noexcept {
  const int fd = open_socket(target, SOCK_NONBLOCK);
  if (fd < 0) return fd;
  if (::connect(fd, target.address(), target.length) == 0 || errno == EINPROGRESS) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

poller::poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (fd_ < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
}

poller::~poller() { ::close(fd_); }

void poller::add(int fd, std::uint32_t interest, std::uint64_t data) {
  epoll_event e{};
  e.events = interest;
  e.data.u64 = data;
  if (::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &e) != 0)
    throw std::system_error(errno, std::system_category(), "epoll_ctl");
}

void poller::change(int fd, std::uint32_t interest, std::uint64_t data) {
  epoll_event e{};
  e.events = interest;
  e.data.u64 = data;
  if (::epoll_ctl(fd_, EPOLL_CTL_MOD, fd, &e) != 0)
    throw std::system_error(errno, std::system_category(), "epoll_ctl");
}

int poller::wait_for_events(std::uint64_t until, bool spin) {
  const std::uint64_t now = spin ? until : now_ns();
  const std::uint64_t left = spin || until <= now ? 0 : until - now;
  const timespec timeout{static_cast<time_t>(left / 1'000'000'000),
                         static_cast<long>(left % 1'000'000'000)};
  return ::epoll_pwait2(fd_, events_.data(), events_per_wait, &timeout, nullptr);
}

measured_window::measured_window(const load_settings& settings, const load_hooks& hooks)
    : settings_(settings), hooks_(hooks) {
  last_progress_ = now_ns();
  begin_ = last_progress_ + settings.warmup_ns;
  end_ = begin_ + settings.duration_ns;
  next_ = next_report_ = begin_;
}

bool measured_window::running(load_result& result) {
  const std::uint64_t now = now_ns();
  opened_now_ = false;
  if (!result.error.empty()) return false;
  if (now > last_progress_ + settings_.silence_limit_ns) {
    result.error = fmt::format("nothing happened for {:.1f} s",
                               static_cast<double>(settings_.silence_limit_ns) / 1e9);
    return false;
  }
  if (!open_ && now >= begin_ && (warm_ || now >= begin_ + late_warmup_limit_ns)) {
    open_ = opened_now_ = true;
    opened_ = now;
    end_ = now + settings_.duration_ns;
    cpu_at_open_ = thread_cpu_ns();
    hooks_.window_begins();
  } else if (open_ && now >= end_ &&
             (result.requests >= settings_.min_requests || now >= end_ + long_window_limit_ns)) {
    hooks_.window_ends();
    const std::uint64_t closed = now_ns();
    open_ = false;
    result.seconds = static_cast<double>(closed - opened_) / 1e9;
    result.busy =
        static_cast<double>(thread_cpu_ns() - cpu_at_open_) / static_cast<double>(closed - opened_);
    return false;
  }
  if (open_ && now >= next_report_) {
    hooks_.progress(result.requests, static_cast<double>(now - opened_) / 1e9);
    next_report_ = now + report_every_ns;
  }
  next_ =
      std::min({std::max(open_ ? end_ : begin_, now + 1'000'000),
                last_progress_ + settings_.silence_limit_ns + 1, std::max(next_report_, now + 1)});
  return true;
}

}  // namespace weir::bench
