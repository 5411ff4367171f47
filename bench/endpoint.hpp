// An address and port as the kernel's socket calls want it, parsed from and printed as
// `127.0.0.1:7` or `[::1]:7`.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>

namespace weir::bench {

struct endpoint {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* address() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const noexcept { return storage.ss_family; }
};

/// Empty when the text is not an address and a port.
std::optional<endpoint> parse_endpoint(std::string_view text);
std::string to_string(const endpoint& where);

/// The same address, one port further on; port 0 (any) stays.
endpoint next_port(const endpoint& where);

/// The endpoint that a listening socket really has (its port, when 0 was asked for).
endpoint local_endpoint(int fd);

/// A non-blocking listening TCP socket with SO_REUSEADDR; throws std::system_error that names the
/// endpoint.
int listen_on(const endpoint& where, int backlog);

/// Prints the line by which weir's servers announce a listener, and flushes it.
void announce(const endpoint& where, std::string_view name, std::string_view service = "echo");

}  // namespace weir::bench
