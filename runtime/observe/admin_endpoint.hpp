// observe.listen: an HTTP server that shows what the process's sockets are doing. It has a thread
// and a shard of its own, always on kernel sockets, so that it answers when the main back end is
// weir's stack, is overloaded or hangs. It only asks; nothing can be changed through it.
#pragma once

#include <memory>
#include <vector>

#include "weir/descriptor.hpp"
#include "weir/net.hpp"
#include "weir/task.hpp"

namespace weir {
class shard;
}

namespace weir::detail {

class stall_watch;

/// The endpoint's listening socket, of the kernel, and where it listens.
struct admin_socket {
  unique_fd fd;
  endpoint where;
};

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

/// The same without a thread of its own: serves a listener of this shard until that is cancelled.
/// It answers only while this shard's loop turns.
task<> serve_admin(shard& on, tcp_listener listener, std::vector<shard*> targets,
                   const stall_watch* stalls);

}  // namespace weir::detail
