// Baseline: the plain epoll loop that a C programmer writes. Level-triggered, one read and one
// write per request, what the peer does not take is kept and reading stops until it does.
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <vector>

#include "../clock.hpp"
#include "baselines.hpp"

namespace weir::bench {
namespace {

struct peer {
  bool open = false;
  std::vector<char> unsent;
};

struct loop {
  int epoll = -1;
  int listener = -1;
  std::vector<peer> peers;  // by descriptor
  std::vector<char> buffer = std::vector<char>(64 * 1024);
};

void set_interest(loop& l, int operation, int fd, std::uint32_t interest) {
  epoll_event event{};
  event.events = interest;
  event.data.fd = fd;
  ::epoll_ctl(l.epoll, operation, fd, &event);
}

void drop(loop& l, int fd) {
  l.peers[static_cast<std::size_t>(fd)] = peer{};
  ::close(fd);
}

void accept_all(loop& l) {
  for (;;) {
    const int fd = ::accept4(l.listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (l.peers.size() <= static_cast<std::size_t>(fd))
      l.peers.resize(static_cast<std::size_t>(fd) + 1);
    l.peers[static_cast<std::size_t>(fd)].open = true;
    set_interest(l, EPOLL_CTL_ADD, fd, EPOLLIN);
  }
}

void echo(loop& l, int fd) {
  const ssize_t n = ::recv(fd, l.buffer.data(), l.buffer.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop(l, fd);
  ssize_t sent = ::send(fd, l.buffer.data(), static_cast<std::size_t>(n), MSG_NOSIGNAL);
  if (sent == n) return;
  if (sent < 0 && errno != EAGAIN) return drop(l, fd);
  if (sent < 0) sent = 0;
  l.peers[static_cast<std::size_t>(fd)].unsent.assign(l.buffer.begin() + sent,
                                                      l.buffer.begin() + n);
  set_interest(l, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

void send_rest(loop& l, int fd) {
  auto& unsent = l.peers[static_cast<std::size_t>(fd)].unsent;
  const ssize_t n = ::send(fd, unsent.data(), unsent.size(), MSG_NOSIGNAL);
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0) return drop(l, fd);
  unsent.erase(unsent.begin(), unsent.begin() + n);
  if (unsent.empty()) set_interest(l, EPOLL_CTL_MOD, fd, EPOLLIN);
}

}  // namespace

void serve_raw_epoll(const baseline_settings& settings) {
  loop l;
  l.listener = listen_on(settings.where, 4096);
  l.epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (l.epoll < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
  set_interest(l, EPOLL_CTL_ADD, l.listener, EPOLLIN);
  announce(local_endpoint(l.listener), "raw-epoll");
  epoll_event events[512];
  std::uint64_t idle_since = now_ns();
  for (;;) {
    const bool spin =
        settings.busy_poll_us > 0 && now_ns() - idle_since < settings.busy_poll_us * 1000ull;
    const int count = ::epoll_wait(l.epoll, events, 512, spin ? 0 : -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == l.listener)
        accept_all(l);
      else if (l.peers[static_cast<std::size_t>(fd)].unsent.empty())
        echo(l, fd);
      else
        send_rest(l, fd);
    }
    if (settings.busy_poll_us > 0 && count > 0) idle_since = now_ns();
  }
}

}  // namespace weir::bench
