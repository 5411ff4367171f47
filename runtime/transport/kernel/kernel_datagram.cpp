// See kernel_datagram.hpp.
#include "runtime/transport/kernel/kernel_datagram.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>

#include "runtime/transport/kernel/datagram_batch.hpp"

namespace weir::detail::kernel {
namespace {

std::error_code set(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0 ? std::error_code{}
                                                                  : last_error();
}

std::error_code set_options(int fd, const endpoint& local, const udp_options& options) {
  // A v6 socket is v6 only, as a listener is.
  if (local.address.is_v6())
    if (auto ec = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) return ec;
  if (options.sharing == sharing::sharded)
    if (auto ec = set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return ec;
  if (options.receive_buffer) {
    auto bytes = std::min<std::uint32_t>(*options.receive_buffer, INT_MAX / 2);
    if (auto ec = set(fd, SOL_SOCKET, SO_RCVBUF, static_cast<int>(bytes))) return ec;
  }
  if (auto ec = bind_to_interface(fd, options.interface)) return ec;
  if (auto ec = set_header(fd, options.dscp, options.ttl)) return ec;
  return show_details(fd, local.address.family(), options.gro);
}

}  // namespace

result<unique_fd> open_datagram(const endpoint& local, const endpoint* remote,
                                const udp_options& options, mode how) {
  const bool wildcard = local.address.is_unspecified();
  int kind = SOCK_DGRAM | SOCK_CLOEXEC | (how == mode::non_blocking ? SOCK_NONBLOCK : 0);
  unique_fd fd(::socket(local.address.is_v4() ? AF_INET : AF_INET6, kind, IPPROTO_UDP));
  if (!fd) return last_error();
  if (auto ec = set_options(fd.get(), local, options)) return ec;
  // Without a bind(2), connect(2) chooses address and port, and nobody else's datagrams get in
  // between.
  if (remote == nullptr || !wildcard || local.port != 0) {
    socket_address address(local);
    if (::bind(fd.get(), address.data(), address.size) != 0) return last_error();
  }
  if (remote != nullptr)
    if (auto ec = connect_datagram(fd.get(), *remote)) return ec;
  return fd;
}

std::error_code connect_datagram(int fd, const endpoint& remote) {
  socket_address address(remote);
  return ::connect(fd, address.data(), address.size) == 0 ? std::error_code{}
                                                          : datagram_error_from(errno);
}

void fill_adopted(int fd, datagram_socket& socket) {
  socket.family = socket.local.address.family();
  socket.remote = remote_endpoint_of(fd);
  socket.connected = socket.remote != endpoint();
  socket.joins = joins(fd);
  (void)show_details(fd, socket.family, false);
}

std::error_code datagram_error_from(int number) {
  if (number == EACCES) return std::make_error_code(std::errc::invalid_argument);
  return error_from(number);
}

}  // namespace weir::detail::kernel
