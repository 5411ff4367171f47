// What a transport on kernel sockets can be besides: one that takes over a socket which listens
// already. The admin endpoint's is opened before the process enters a private network, and so
// stays reachable from outside of it.
#pragma once

#include "backend/transport.hpp"
#include "transport/kernel/kernel_socket.hpp"

namespace weir::detail::kernel {

class adopts_listener {
 public:
  /// On the shard's thread. A close of the listener closes the descriptor.
  virtual result<listener_socket*> adopt_listener(unique_fd listening) = 0;

 protected:
  ~adopts_listener() = default;
};

/// Makes a descriptor wait as this back end wants it.
std::error_code set_mode(int fd, mode how) noexcept;

}  // namespace weir::detail::kernel
