// See kernel_socket.hpp. The order of the option calls matters: buffers before listen(2) and
// connect(2), because the window scale is fixed by the handshake (RFC 7323 2.2).
#include "runtime/transport/kernel/kernel_socket.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "runtime/transport/kernel/kernel_address.hpp"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace weir::detail::kernel {

socket_address::socket_address(const endpoint& where) {
  sockaddr_in6 address;
  size = write_address(address, where);
  std::memcpy(&storage, &address, sizeof address);
}

endpoint socket_address::to_endpoint() const {
  sockaddr_in6 address;
  std::memcpy(&address, &storage, sizeof address);
  return endpoint_from(address);
}

endpoint local_endpoint_of(int fd) {
  socket_address address;
  if (::getsockname(fd, address.data(), &address.size) != 0) return {};
  return address.to_endpoint();
}

endpoint remote_endpoint_of(int fd) {
  socket_address address;
  if (::getpeername(fd, address.data(), &address.size) != 0) return {};
  return address.to_endpoint();
}

std::error_code error_from(int number) {
  switch (number) {
    case ENOPROTOOPT:
    case EOPNOTSUPP: return std::make_error_code(std::errc::operation_not_supported);
    case EPERM: return std::make_error_code(std::errc::permission_denied);
    default: return {number, std::generic_category()};
  }
}
std::error_code last_error() { return error_from(errno); }

namespace {

std::error_code set(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0 ? std::error_code{}
                                                                  : last_error();
}

/// The kernel doubles a buffer size for its own overhead, so this much may be asked for.
std::error_code set_buffer(int fd, int name, std::uint32_t bytes) {
  return set(fd, SOL_SOCKET, name, static_cast<int>(std::min<std::uint32_t>(bytes, INT_MAX / 2)));
}

std::error_code set_congestion(int fd, const config& settings) {
  const auto& name = settings.tcp.congestion;
  auto size = static_cast<socklen_t>(name.size());
  if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), size) == 0) return {};
  // Not built into this kernel, or not allowed to this user. The default is a wish, anything else a
  // demand.
  if (name == config{}.tcp.congestion) return {};
  return std::make_error_code(std::errc::operation_not_supported);
}

std::error_code apply_probes(int fd, const stream_options& options) {
  const auto seconds = [](duration of) {
    return static_cast<int>(std::chrono::ceil<std::chrono::seconds>(of).count());
  };
  if (options.keep_alive_idle)
    if (auto ec = set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(*options.keep_alive_idle))) return ec;
  if (options.keep_alive_interval)
    if (auto ec = set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(*options.keep_alive_interval)))
      return ec;
  if (options.keep_alive_probes)
    return set(fd, IPPROTO_TCP, TCP_KEEPCNT, *options.keep_alive_probes);
  return {};
}

/// What the configuration says about every TCP socket.
std::error_code apply_settings(int fd, const config& settings, const stream_options& over) {
  stream_options effective = over;
  if (!effective.nodelay) effective.nodelay = settings.tcp.nodelay;
  if (!effective.receive_buffer && settings.tcp.receive_buffer != 0)
    effective.receive_buffer = settings.tcp.receive_buffer;
  if (!effective.send_buffer && settings.tcp.send_buffer != 0)
    effective.send_buffer = settings.tcp.send_buffer;
  if (!effective.user_timeout && settings.tcp.user_timeout_ms != 0)
    effective.user_timeout = std::chrono::milliseconds(settings.tcp.user_timeout_ms);
  if (auto ec = set_congestion(fd, settings)) return ec;
  return apply(fd, effective);
}

result<unique_fd> open_socket(ip_family family, mode how, bool mptcp, std::string_view interface) {
  int kind = SOCK_STREAM | SOCK_CLOEXEC | (how == mode::non_blocking ? SOCK_NONBLOCK : 0);
  unique_fd fd(::socket(family == ip_family::v4 ? AF_INET : AF_INET6, kind,
                        mptcp ? IPPROTO_MPTCP : IPPROTO_TCP));
  // A kernel that was built without it.
  if (!fd && mptcp && errno == EPROTONOSUPPORT) return std::errc::operation_not_supported;
  if (!fd) return last_error();
  if (auto ec = bind_to_interface(fd.get(), interface)) return ec;
  // A v6 socket is v6 only: one that took v4 as well would make a [::] listener reach further than
  // it says.
  if (family == ip_family::v6)
    if (auto ec = set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1)) return ec;
  return fd;
}

std::error_code check(const listen_options& options, const config& settings) {
  const auto& defaults = settings.listen;
  const bool reset = options.overflow.value_or(defaults.overflow) != overflow::drop;
  const bool policy = options.policy.value_or(defaults.policy) != sharding_policy::hash;
  // The kernel's SYN queue has no bound of its own per listener, its groups no key, and it never
  // resets on overflow unless the whole machine is told to (sysctl tcp_abort_on_overflow). The
  // configuration's syn_backlog is a key of the stack, which this back end does not read; asking
  // for one in a call to listen() is another matter.
  const bool keyed = options.owner_key != 0 || defaults.owner_key != 0;
  if (reset || policy || options.syn_backlog || keyed)
    return std::make_error_code(std::errc::operation_not_supported);
  return {};
}

}  // namespace

std::error_code set_header(int fd, std::optional<std::uint8_t> dscp,
                           std::optional<std::uint8_t> ttl) {
  if (!dscp && !ttl) return {};
  int family = AF_INET;
  socklen_t size = sizeof family;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0) return last_error();
  const bool v4 = family == AF_INET;
  const int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  if (dscp)
    if (auto ec = set(fd, level, v4 ? IP_TOS : IPV6_TCLASS, *dscp << 2)) return ec;
  return ttl ? set(fd, level, v4 ? IP_TTL : IPV6_UNICAST_HOPS, *ttl) : std::error_code{};
}

std::error_code bind_to_interface(int fd, std::string_view name) {
  if (name.empty()) return {};
  // One byte more would be another interface's name.
  if (name.size() >= IFNAMSIZ) return std::make_error_code(std::errc::no_such_device);
  const auto size = static_cast<socklen_t>(name.size());
  return ::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name.data(), size) == 0 ? std::error_code{}
                                                                               : last_error();
}

result<unique_fd> open_listener(const endpoint& local, const listen_options& options,
                                const config& settings, mode how) {
  if (auto ec = check(options, settings)) return ec;
  auto fd = open_socket(local.address.family(), how, options.mptcp, options.interface);
  if (!fd) return fd;
  if (auto ec = set(fd->get(), SOL_SOCKET, SO_REUSEADDR, 1)) return ec;
  if (options.sharing.value_or(settings.listen.sharing) == sharing::sharded)
    if (auto ec = set(fd->get(), SOL_SOCKET, SO_REUSEPORT, 1)) return ec;
  if (auto ec = apply_settings(fd->get(), settings, options.stream)) return ec;
  const duration configured = std::chrono::milliseconds(settings.listen.defer_accept_ms);
  if (const auto wait = options.defer_accept.value_or(configured); wait > duration{}) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
    const int value = static_cast<int>(std::min<std::int64_t>(seconds, 3600));
    if (auto ec = set(fd->get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, value)) return ec;
  }
  socket_address address(local);
  if (::bind(fd->get(), address.data(), address.size) != 0) return last_error();
  // The kernel's queue holds one more than it is told (sk_acceptq_is_full), and clamps to
  // somaxconn.
  auto backlog =
      std::min<std::uint32_t>(options.backlog.value_or(settings.listen.backlog), INT_MAX);
  if (::listen(fd->get(), static_cast<int>(backlog > 0 ? backlog - 1 : 0)) != 0)
    return last_error();
  return fd;
}

result<unique_fd> open_connector(const endpoint& remote, const connect_options& options,
                                 const config& settings, mode how) {
  auto fd = open_socket(remote.address.family(), how, options.mptcp, options.interface);
  if (!fd) return fd;
  if (auto ec = apply_settings(fd->get(), settings, options.stream)) return ec;
  const auto& local = options.local;
  if (!local.address.is_unspecified() || local.port != 0) {
    if (local.port ==
        0)  // the port is chosen by connect(2), which may then share it between destinations
      if (auto ec = set(fd->get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)) return ec;
    // An unspecified address of the other family stands for "any" of this one.
    endpoint bound = local;
    if (local.address.family() != remote.address.family())
      bound.address = remote.address.is_v4() ? ip_address::v4(0u) : ip_address::v6({});
    socket_address address(bound);
    if (::bind(fd->get(), address.data(), address.size) != 0) return last_error();
  }
  return fd;
}

std::error_code apply(int fd, const stream_options& options) {
  if (options.receive_buffer)
    if (auto ec = set_buffer(fd, SO_RCVBUF, *options.receive_buffer)) return ec;
  if (options.send_buffer)
    if (auto ec = set_buffer(fd, SO_SNDBUF, *options.send_buffer)) return ec;
  if (options.max_segment)
    if (auto ec = set(fd, IPPROTO_TCP, TCP_MAXSEG, *options.max_segment)) return ec;
  if (options.nodelay)
    if (auto ec = set(fd, IPPROTO_TCP, TCP_NODELAY, *options.nodelay)) return ec;
  if (options.keep_alive)
    if (auto ec = set(fd, SOL_SOCKET, SO_KEEPALIVE, *options.keep_alive)) return ec;
  if (auto ec = apply_probes(fd, options)) return ec;
  if (auto ec = set_header(fd, options.dscp, options.ttl)) return ec;
  if (options.user_timeout) {
    // Whole milliseconds, of which 0 would mean none.
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(*options.user_timeout).count();
    const int value = static_cast<int>(std::clamp<std::int64_t>(ms, 0, INT_MAX));
    if (auto ec = set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, value)) return ec;
  }
  if (options.cork)
    if (auto ec = set(fd, IPPROTO_TCP, TCP_CORK, *options.cork)) return ec;
  return {};
}

std::error_code set_mode(int fd, mode how) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return last_error();
  const int wanted = how == mode::non_blocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  return ::fcntl(fd, F_SETFL, wanted) == 0 ? std::error_code{} : last_error();
}

void reset_on_close(int fd) noexcept {
  linger now{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

accept_failure classify_accept_error(int number) {
  switch (number) {
    case EAGAIN: return accept_failure::nothing_there;
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM: return accept_failure::retry;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return accept_failure::exhausted;
    default: return accept_failure::fatal;
  }
}

void log_accept_exhausted(int number, const std::string& where, instant now, instant& last_logged) {
  if (last_logged != instant{} && now - last_logged < std::chrono::seconds(1)) return;
  last_logged = now;
  std::fprintf(stderr, "weir: %s: no connection can be accepted for now: %s\n", where.c_str(),
               error_from(number).message().c_str());
}

}  // namespace weir::detail::kernel
