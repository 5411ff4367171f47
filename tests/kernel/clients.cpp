// See clients.hpp.
#include "kernel/clients.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "sim/pattern.hpp"

namespace kernel_test {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

struct exchange {
  fd socket;
  std::uint64_t stream = 0, size = 0, sent = 0, received = 0;
  bool ended = false;
};

void write_some(exchange& one) {
  std::array<std::byte, 64 * 1024> chunk;
  while (one.sent < one.size) {
    auto n = std::min<std::uint64_t>(chunk.size(), one.size - one.sent);
    sim_test::fill_pattern(std::span(chunk).first(n), one.stream, one.sent);
    auto taken = ::send(one.socket.get(), chunk.data(), n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (taken < 0) fail("send on connection " + std::to_string(one.stream));
    one.sent += static_cast<std::uint64_t>(taken);
  }
  if (::shutdown(one.socket.get(), SHUT_WR) != 0) fail("shutdown");
  one.sent = one.size + 1;  // done, FIN included
}

void read_some(exchange& one) {
  std::array<std::byte, 64 * 1024> chunk;
  for (;;) {
    auto n = ::recv(one.socket.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0)
      fail("recv on connection " + std::to_string(one.stream) + " after " +
           std::to_string(one.received));
    if (n == 0) {
      if (one.received != one.size)
        throw std::runtime_error("connection " + std::to_string(one.stream) + " ended after " +
                                 std::to_string(one.received) + " of " + std::to_string(one.size) +
                                 " bytes");
      one.ended = true;
      one.socket.reset();
      return;
    }
    if (!sim_test::matches_pattern(std::span(chunk).first(static_cast<std::size_t>(n)), one.stream,
                                   one.received))
      throw std::runtime_error("connection " + std::to_string(one.stream) +
                               " got wrong bytes after " + std::to_string(one.received));
    one.received += static_cast<std::uint64_t>(n);
  }
}

}  // namespace

void use_congestion(int socket, const std::string& name) {
  if (::setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name.c_str(),
                   static_cast<socklen_t>(name.size())) != 0)
    fail("TCP_CONGESTION " + name);
}

namespace {

fd connected(int kind, const char* address, std::uint16_t port,
             const std::string& congestion = {}) {
  weir::detail::kernel::socket_address to(weir::endpoint(address, port));
  fd socket(::socket(to.data()->sa_family, kind | SOCK_CLOEXEC, 0));
  if (!socket) fail("socket");
  if (!congestion.empty()) use_congestion(socket.get(), congestion);
  if (::connect(socket.get(), to.data(), to.size) != 0) fail("connect");
  return socket;
}

}  // namespace

fd connect_to(const char* address, std::uint16_t port, const std::string& congestion) {
  return connected(SOCK_STREAM, address, port, congestion);
}
fd udp_to(const char* address, std::uint16_t port) { return connected(SOCK_DGRAM, address, port); }

void send_all(int socket, const void* data, std::size_t size) {
  const auto* at = static_cast<const char*>(data);
  while (size > 0) {
    auto n = ::send(socket, at, size, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("send");
    at += n;
    size -= static_cast<std::size_t>(n);
  }
}

std::string read_all(int socket) {
  std::string out;
  std::array<char, 64 * 1024> chunk;
  for (;;) {
    auto n = ::recv(socket, chunk.data(), chunk.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("recv");
    if (n == 0) return out;
    out.append(chunk.data(), static_cast<std::size_t>(n));
  }
}

std::string exchange_all(const char* address, std::uint16_t port,
                         const std::vector<std::uint64_t>& sizes, const std::string& congestion) {
  std::vector<exchange> all(sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    all[i].socket = connect_to(address, port, congestion);
    all[i].stream = i;
    all[i].size = sizes[i];
  }
  std::vector<pollfd> watched;
  std::vector<std::size_t> which;
  for (;;) {
    watched.clear();
    which.clear();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].ended) continue;
      short events = POLLIN;
      if (all[i].sent <= all[i].size) events |= POLLOUT;
      watched.push_back({all[i].socket.get(), events, 0});
      which.push_back(i);
    }
    if (watched.empty()) return {};
    auto n = ::poll(watched.data(), watched.size(), 30'000);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) return std::to_string(watched.size()) + " connections made no progress for 30 s";
    for (std::size_t k = 0; k < watched.size(); ++k) {
      auto& one = all[which[k]];
      try {
        if ((watched[k].revents & POLLOUT) != 0) write_some(one);
        if ((watched[k].revents & (POLLIN | POLLERR | POLLHUP)) != 0) read_some(one);
      } catch (const std::exception& error) {
        return error.what();
      }
    }
  }
}

}  // namespace kernel_test
