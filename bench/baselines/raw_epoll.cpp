// Baseline: the plain epoll loop that a C programmer writes. Level-triggered, one read and one
// write per request, what the peer does not take is kept and reading stops until it does. Beside
// echo it serves discard (one hot buffer) and chargen (RFC 864), for bulk data.
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

constexpr std::size_t buffer_bytes = 64 * 1024;

enum class service : std::uint8_t { none, echo, discard, chargen };

struct peer {
  service what = service::none;
  bool listens = false;
  std::size_t at = 0;  // chargen: where in the pattern the next byte is
  std::vector<char> unsent;
};

struct loop {
  int epoll = -1;
  std::vector<peer> peers;  // by descriptor
  std::vector<char> buffer = std::vector<char>(buffer_bytes);
  std::vector<char> pattern;  // whole periods, as many as a buffer holds, and a buffer beyond
  std::size_t period = 0;
};

peer& of(loop& l, int fd) { return l.peers[static_cast<std::size_t>(fd)]; }

peer& make_peer(loop& l, int fd, service what) {
  if (l.peers.size() <= static_cast<std::size_t>(fd))
    l.peers.resize(static_cast<std::size_t>(fd) + 1);
  peer& p = of(l, fd);
  p = peer{};
  p.what = what;
  return p;
}

void make_pattern(loop& l) {  // RFC 864: 95 lines of 72 characters
  constexpr std::size_t characters = 95, line = 72;
  l.period = characters * (line + 2);
  std::vector<char> once;
  for (std::size_t i = 0; i < characters; ++i) {
    for (std::size_t k = 0; k < line; ++k)
      once.push_back(static_cast<char>(' ' + static_cast<char>((i + k) % characters)));
    once.push_back('\r');
    once.push_back('\n');
  }
  while (l.pattern.size() < l.period + buffer_bytes)
    l.pattern.insert(l.pattern.end(), once.begin(), once.end());
}

void set_interest(loop& l, int operation, int fd, std::uint32_t interest) {
  epoll_event event{};
  event.events = interest;
  event.data.fd = fd;
  ::epoll_ctl(l.epoll, operation, fd, &event);
}

void drop(loop& l, int fd) {
  of(l, fd) = peer{};
  ::close(fd);
}

void accept_all(loop& l, int listener) {
  const service what = of(l, listener).what;
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    make_peer(l, fd, what);
    set_interest(l, EPOLL_CTL_ADD, fd, what == service::chargen ? EPOLLOUT : EPOLLIN);
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
  of(l, fd).unsent.assign(l.buffer.begin() + sent, l.buffer.begin() + n);
  set_interest(l, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

void send_rest(loop& l, int fd) {
  auto& unsent = of(l, fd).unsent;
  const ssize_t n = ::send(fd, unsent.data(), unsent.size(), MSG_NOSIGNAL);
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0) return drop(l, fd);
  unsent.erase(unsent.begin(), unsent.begin() + n);
  if (unsent.empty()) set_interest(l, EPOLL_CTL_MOD, fd, EPOLLIN);
}

void discard(loop& l, int fd) {
  const ssize_t n = ::recv(fd, l.buffer.data(), l.buffer.size(), 0);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) drop(l, fd);
}

void chargen(loop& l, int fd) {
  peer& p = of(l, fd);
  const ssize_t n = ::send(fd, l.pattern.data() + p.at, buffer_bytes, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return drop(l, fd);
  if (n > 0) p.at = (p.at + static_cast<std::size_t>(n)) % l.period;
}

void serve_ready(loop& l, int fd) {
  const peer& p = of(l, fd);
  if (p.listens) return accept_all(l, fd);
  switch (p.what) {
    case service::none: return;
    case service::echo: return p.unsent.empty() ? echo(l, fd) : send_rest(l, fd);
    case service::discard: return discard(l, fd);
    case service::chargen: return chargen(l, fd);
  }
}

service named(const std::string& name) {
  if (name == "echo") return service::echo;
  if (name == "discard") return service::discard;
  if (name == "chargen") return service::chargen;
  throw std::invalid_argument("the epoll loop does not serve " + name);
}

}  // namespace

void serve_raw_epoll(const baseline_settings& settings) {
  loop l;
  make_pattern(l);
  l.epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (l.epoll < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
  endpoint where = settings.where;
  for (const auto& name : settings.services) {
    const int fd = listen_on(where, 4096);
    make_peer(l, fd, named(name)).listens = true;
    set_interest(l, EPOLL_CTL_ADD, fd, EPOLLIN);
    announce(local_endpoint(fd), "raw-epoll", name);
    where = next_port(where);
  }
  epoll_event events[512];
  std::uint64_t idle_since = now_ns();
  for (;;) {
    const bool spin =
        settings.busy_poll_us > 0 && now_ns() - idle_since < settings.busy_poll_us * 1000ull;
    const int count = ::epoll_wait(l.epoll, events, 512, spin ? 0 : -1);
    for (int i = 0; i < count; ++i) serve_ready(l, events[i].data.fd);
    if (settings.busy_poll_us > 0 && count > 0) idle_since = now_ns();
  }
}

}  // namespace weir::bench
