// Names of Unix sockets as the kernel spells them, and what is left of a listener that went
// without its file.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "weir/unix_endpoint.hpp"

namespace weir::detail {

struct unix_address {
  explicit unix_address(const unix_endpoint& of);
  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage); }

  sockaddr_un storage{};
  socklen_t size = 0;
};

/// A socket's name, or its peer's; unnamed where it cannot be told, or is longer than weir's are.
unix_endpoint unix_name_of(int fd, bool peer);

/// Removes the file of a socket on which nobody listens. False: it is no socket, or somebody does,
/// or it cannot be removed; errno says EADDRINUSE then.
bool remove_stale(const unix_endpoint& path);

}  // namespace weir::detail
