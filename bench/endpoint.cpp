// See endpoint.hpp. Numeric addresses only: a benchmark never resolves names.
#include "endpoint.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <system_error>

namespace weir::bench {

std::optional<endpoint> parse_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string host(text.substr(0, colon));
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;

  endpoint out;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.length = sizeof *v6;
    host = host.substr(1, host.size() - 2);
    if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) != 1) return std::nullopt;
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.length = sizeof *v4;
    if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) != 1) return std::nullopt;
  }
  return out;
}

std::string to_string(const endpoint& where) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (where.family() == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&where.storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    return fmt::format("[{}]:{}", text, ntohs(v6->sin6_port));
  }
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&where.storage);
  ::inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
  return fmt::format("{}:{}", text, ntohs(v4->sin_port));
}

endpoint next_port(const endpoint& where) {
  endpoint out = where;
  auto& port = where.family() == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&out.storage)->sin6_port
                                          : reinterpret_cast<sockaddr_in*>(&out.storage)->sin_port;
  if (port != 0) port = htons(static_cast<std::uint16_t>(ntohs(port) + 1));
  return out;
}

endpoint local_endpoint(int fd) {
  endpoint out;
  out.length = sizeof out.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&out.storage), &out.length) != 0)
    throw std::system_error(errno, std::system_category(), "getsockname");
  return out;
}

int listen_on(const endpoint& where, int backlog) {
  const int fd = ::socket(where.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw std::system_error(errno, std::system_category(), "socket");
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd, where.address(), where.length) != 0 || ::listen(fd, backlog) != 0) {
    const int error = errno;
    ::close(fd);
    throw std::system_error(error, std::system_category(), "listen on " + to_string(where));
  }
  return fd;
}

void announce(const endpoint& where, std::string_view name, std::string_view service) {
  fmt::print("listening {} {} backend={} shards=1\n", service, to_string(where), name);
  std::fflush(stdout);
}

}  // namespace weir::bench
