// UDP sockets of the kernel, as transport/uring and transport/asio share them: opened with weir's
// options, connected, and the errors of their calls in weir's words. Waits for nothing.
#pragma once

#include "runtime/transport/kernel/kernel_address.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"
#include "weir/detail/datagram.hpp"

namespace weir::detail::kernel {

/// Opens and binds; connects when `remote` is given, in which case `local` may be unspecified.
/// Errors: permission_denied (a wildcard without allow_wildcard; a privileged port),
/// address_in_use, address_not_available, and those of connect_datagram().
result<unique_fd> open_datagram(const endpoint& local, const endpoint* remote,
                                const udp_options& options, mode how);

/// invalid_argument for a broadcast address, network_unreachable.
std::error_code connect_datagram(int fd, const endpoint& remote);

/// What a socket that was adopted knows of itself beside its local endpoint.
void fill_adopted(int fd, datagram_socket& socket);

/// error_from() for send and connect: the kernel answers EACCES where a broadcast address would
/// take SO_BROADCAST.
std::error_code datagram_error_from(int number);

}  // namespace weir::detail::kernel
