// UDP sockets of the kernel, as transport/uring and transport/asio share them: opened with weir's
// options, connected, and the errors of their calls in weir's words. Waits for nothing.
#pragma once

#include <netinet/in.h>

#include <cstring>

#include "transport/kernel/kernel_socket.hpp"
#include "weir/detail/datagram.hpp"

namespace weir::detail::kernel {

/// Opens and binds; connects when `remote` is given, in which case `local` may be unspecified.
/// Errors: permission_denied (a wildcard without allow_wildcard; a privileged port),
/// address_in_use, address_not_available, and those of connect_datagram().
result<unique_fd> open_datagram(const endpoint& local, const endpoint* remote,
                                const udp_options& options, const config& settings, mode how);

/// invalid_argument for a broadcast address, network_unreachable.
std::error_code connect_datagram(int fd, const endpoint& remote);

/// What a socket that was adopted knows of itself.
void fill_adopted(int fd, datagram_socket& socket);

/// error_from() for send and connect: the kernel answers EACCES where a broadcast address would
/// take SO_BROADCAST.
std::error_code datagram_error_from(int number);

/// A sender's address, without the cost of a sockaddr_storage. Large enough for IPv4 too.
inline endpoint endpoint_from(const sockaddr_in6& from) {
  if (from.sin6_family == AF_INET6) {
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &from.sin6_addr, bytes.size());
    return {ip_address::v6(bytes), ntohs(from.sin6_port)};
  }
  sockaddr_in v4;
  std::memcpy(&v4, &from, sizeof v4);
  return {ip_address::v4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
}

/// Writes a destination; gives its length.
inline socklen_t write_address(sockaddr_in6& into, const endpoint& where) {
  auto bytes = where.address.bytes();
  if (where.address.is_v6()) {
    into = {};
    into.sin6_family = AF_INET6;
    into.sin6_port = htons(where.port);
    std::memcpy(&into.sin6_addr, bytes.data(), bytes.size());
    return sizeof into;
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(where.port);
  std::memcpy(&v4.sin_addr, bytes.data(), bytes.size());
  std::memcpy(&into, &v4, sizeof v4);
  return sizeof v4;
}

}  // namespace weir::detail::kernel
