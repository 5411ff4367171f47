// See other_loads.hpp: run_connect. Each life ends in good order: our FIN, the server's, and no
// reset. Where the network is ours the kernel keeps no TIME_WAIT for them (see private_net.hpp),
// so that no port has to be waited for.
#include <fmt/core.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <vector>

#include "clients.hpp"
#include "other_loads.hpp"
#include "pattern.hpp"

namespace weir::bench {
namespace {

struct life {
  int fd = -1;
  bool connected = false;
  std::size_t received = 0;
  std::uint64_t began = 0;
};

class short_lives {
 public:
  short_lives(const load_settings& settings, bool with_request, const load_hooks& hooks)
      : settings_(settings),
        hooks_(hooks),
        request_(with_request ? settings.size : 0),
        lives_(settings.connections),
        buffer_(byte_pattern::max_chunk) {}
  ~short_lives() {
    for (const life& l : lives_)
      if (l.fd >= 0) ::close(l.fd);
  }
  short_lives(const short_lives&) = delete;
  short_lives& operator=(const short_lives&) = delete;

  load_result run() {
    try {
      if (request_ > byte_pattern::max_chunk) throw std::invalid_argument("a request is too long");
      for (std::size_t i = 0; i < lives_.size(); ++i) begin(i);
      measured_window window(settings_, hooks_);
      while (window.running(result_)) {
        measuring_ = window.open();
        poll_.wait(window.next_instant(), settings_.spin,
                   [&](std::uint64_t index, std::uint32_t events) {
                     if (serve(index, events)) window.progress_seen();
                   });
      }
      result_.bytes = 2 * request_ * result_.requests;
      if (result_.error.empty() && result_.requests == 0)
        result_.error = "no connection was served inside the measured window";
    } catch (const std::exception& error) {
      if (result_.error.empty()) result_.error = error.what();
    }
    return std::move(result_);
  }

 private:
  void begin(std::size_t index) {
    life& l = lives_[index];
    l = {};
    l.began = now_ns();
    l.fd = start_client(settings_.target);
    if (l.fd < 0)
      return fail(
          fmt::format("connect to {}: {}", to_string(settings_.target), std::strerror(errno)));
    poll_.add(l.fd, EPOLLOUT, index);
  }
  void fail(std::string why) {
    if (result_.error.empty()) result_.error = std::move(why);
    ++result_.failed_connections;
  }
  /// True when a life has come to its end.
  bool serve(std::size_t index, std::uint32_t events) {
    life& l = lives_[index];
    if (l.fd < 0) return false;
    if (!l.connected) {
      start_talking(index, events);
      return false;
    }
    const ssize_t n = ::recv(l.fd, buffer_.data(), buffer_.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n < 0) return fail(fmt::format("recv: {}", std::strerror(errno))), false;
    if (n > 0) {
      const auto got = static_cast<std::size_t>(n);
      if (l.received + got > request_ ||
          !pattern_.matches(index, l.received, {buffer_.data(), got}))
        return fail("wrong bytes in the echo"), false;
      l.received += got;
      if (l.received == request_) ::shutdown(l.fd, SHUT_WR);
      return false;
    }
    if (l.received != request_) return fail("the server closed before it had answered"), false;
    ::close(l.fd);
    if (measuring_) {
      ++result_.requests;
      result_.latency.record(now_ns() - l.began);
    }
    begin(index);
    return true;
  }
  void start_talking(std::size_t index, std::uint32_t events) {
    life& l = lives_[index];
    int error = 0;
    socklen_t length = sizeof error;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0)
      ::getsockopt(l.fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return fail(fmt::format("connect: {}", std::strerror(error)));
    l.connected = true;
    if (request_ == 0) {
      ::shutdown(l.fd, SHUT_WR);
    } else {
      const auto request = pattern_.slice(index, 0, request_);
      if (::send(l.fd, request.data(), request.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(request_))
        return fail("a request did not fit into the socket's buffer");
    }
    poll_.change(l.fd, EPOLLIN, index);
  }

  const load_settings& settings_;
  const load_hooks& hooks_;
  std::size_t request_;
  poller poll_;
  byte_pattern pattern_;
  std::vector<life> lives_;
  std::vector<char> buffer_;
  load_result result_;
  bool measuring_ = false;
};

}  // namespace

load_result run_connect(const load_settings& settings, bool with_request, const load_hooks& hooks) {
  return short_lives(settings, with_request, hooks).run();
}

}  // namespace weir::bench
