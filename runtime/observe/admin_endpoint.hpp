// observe.listen: an HTTP server that shows what the process's sockets are doing. It has a thread
// and a shard of its own, always on kernel sockets, so that it answers when the main back end is
// weir's stack, is overloaded or hangs. It only asks; nothing can be changed through it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "transport/kernel/kernel_socket.hpp"
#include "weir/config.hpp"

namespace weir {
class shard;
}

namespace weir::detail {

class stall_watch;

/// The endpoint's listening socket. Opened before the process enters a private network: a socket
/// stays in the network where it was made, and so can be reached from where the user sits.
struct admin_socket {
  kernel::unique_fd fd;
  endpoint where;
};
/// Nothing where observe.listen is off. Throws config_error; says on stderr where it listens, and
/// what is exposed when that is no loopback address.
std::optional<admin_socket> open_admin_socket(const config& settings);

class admin_endpoint {
 public:
  /// Serves from now on. The targets' loops run or will run; they have stopped, or go on running,
  /// when the endpoint goes. `stalls` may be null; it outlives the endpoint. Throws config_error,
  /// io_error.
  admin_endpoint(admin_socket listening, std::vector<shard*> targets,
                 const stall_watch* stalls = nullptr);
  ~admin_endpoint();
  admin_endpoint(const admin_endpoint&) = delete;
  admin_endpoint& operator=(const admin_endpoint&) = delete;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace weir::detail
