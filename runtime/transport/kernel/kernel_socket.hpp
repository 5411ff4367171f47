// What every transport on kernel sockets shares: addresses as the kernel spells them, sockets
// opened with weir's options, and the kernel's errors in weir's words. Owns no event loop and waits
// for nothing; used by transport/uring and transport/asio, so that an option means the same on
// both.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "weir/config.hpp"
#include "weir/descriptor.hpp"
#include "weir/options.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/result.hpp"
#include "weir/stack/time.hpp"

namespace weir::detail::kernel {

using weir::unique_fd;

/// An endpoint as the socket calls take it.
struct socket_address {
  socket_address() = default;
  explicit socket_address(const endpoint& where);
  /// After accept4(2) or getsockname(2) filled it. An unknown family gives the default endpoint.
  endpoint to_endpoint() const;

  sockaddr* data() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage); }

  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
};

/// The endpoints of a socket; the default endpoint when it has none (any more).
endpoint local_endpoint_of(int fd);
endpoint remote_endpoint_of(int fd);

/// An errno value as weir reports it: generic category, so that it equals its std::errc. An option
/// or family that this kernel does not know is operation_not_supported.
std::error_code error_from(int number);
std::error_code last_error();

/// How the descriptor waits: epoll wants non_blocking, io_uring wants blocking (else it answers
/// EAGAIN).
enum class mode : std::uint8_t { blocking, non_blocking };
std::error_code set_mode(int fd, mode how) noexcept;

/// Checks the options, then opens, binds and listens. Unset options come from `settings.listen`;
/// buffer sizes, nodelay and the congestion control of `settings.tcp` are set here, since accepted
/// sockets inherit them. Errors: permission_denied (a wildcard without allow_wildcard; a privileged
/// port), address_in_use, address_not_available, operation_not_supported (syn_backlog, owner_key,
/// overflow reset, a policy other than hash).
result<unique_fd> open_listener(const endpoint& local, const listen_options& options,
                                const config& settings, mode how);

/// A socket that is ready to connect(2) to `remote`: options set, bound where `options.local` says
/// so.
result<unique_fd> open_connector(const endpoint& remote, const connect_options& options,
                                 const config& settings, mode how);

/// Sets what is set; stops at the first that fails.
std::error_code apply(int fd, const stream_options& options);

/// What of the IP header the options of streams and of UDP sockets choose.
std::error_code set_header(int fd, std::optional<std::uint8_t> dscp,
                           std::optional<std::uint8_t> ttl);
/// Nothing where no name is given. no_such_device.
std::error_code bind_to_interface(int fd, std::string_view name);

/// The next close(2) sends a reset and drops what was not delivered.
void reset_on_close(int fd) noexcept;

/// What to do about an error of accept(2).
enum class accept_failure : std::uint8_t {
  nothing_there,  ///< EAGAIN
  retry,          ///< this connection is gone (accept(2): errors of the new socket); take the next
  exhausted,      ///< no descriptor or memory: wait, then try again
  fatal,          ///< the listener itself is unusable
};
accept_failure classify_accept_error(int number);

/// How long an exhausted listener waits before it tries again, unless a socket is closed before.
inline constexpr duration accept_retry_delay = std::chrono::milliseconds(50);

/// One line on stderr about an exhausted listener, at most one a second for each `last_logged`.
void log_accept_exhausted(int number, const std::string& where, instant now, instant& last_logged);

}  // namespace weir::detail::kernel
