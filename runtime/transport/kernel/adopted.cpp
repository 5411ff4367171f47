// Whether a descriptor that is handed in is what it is to become: getsockopt(2) and fcntl(2).
#include "runtime/transport/kernel/adopted.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "runtime/transport/kernel/kernel_socket.hpp"

namespace weir::detail::kernel {
namespace {

std::error_code code(std::errc e) { return std::make_error_code(e); }

/// -1 where there is no answer.
int option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

bool is_connected(int fd) {
  socket_address peer;
  return ::getpeername(fd, peer.data(), &peer.size) == 0;
}

std::error_code check_socket(int fd, adopted what) {
  const bool local = what == adopted::unix_stream || what == adopted::unix_listener ||
                     what == adopted::unix_datagrams;
  const bool datagrams = what == adopted::udp_socket || what == adopted::unix_datagrams;
  const bool listens = what == adopted::tcp_listener || what == adopted::unix_listener;
  const int family = option(fd, SO_DOMAIN);
  if (local ? family != AF_UNIX : family != AF_INET && family != AF_INET6)
    return code(std::errc::address_family_not_supported);
  if (option(fd, SO_TYPE) != (datagrams ? SOCK_DGRAM : SOCK_STREAM))
    return code(std::errc::wrong_protocol_type);
  const int protocol = option(fd, SO_PROTOCOL);
  const bool echoes = datagrams && (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6);
  if (!local && !echoes && protocol != (datagrams ? IPPROTO_UDP : IPPROTO_TCP))
    return code(std::errc::wrong_protocol_type);
  if (what == adopted::unix_datagrams) return {};
  if (datagrams) {
    const auto bound = local_endpoint_of(fd);
    return bound.port != 0 ? std::error_code() : code(std::errc::invalid_argument);
  }
  const bool is_listener = option(fd, SO_ACCEPTCONN) == 1;
  if (is_listener != listens) return code(std::errc::invalid_argument);
  return listens || is_connected(fd) ? std::error_code() : code(std::errc::not_connected);
}

}  // namespace

std::error_code check_adopted(int fd, adopted what) {
  struct stat file;
  if (::fstat(fd, &file) != 0) return last_error();
  if (what == adopted::pipe)
    return S_ISFIFO(file.st_mode) || S_ISCHR(file.st_mode) ? std::error_code()
                                                           : code(std::errc::invalid_argument);
  if (!S_ISSOCK(file.st_mode)) return code(std::errc::not_a_socket);
  return check_socket(fd, what);
}

}  // namespace weir::detail::kernel
