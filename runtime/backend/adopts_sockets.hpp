// What a transport on kernel sockets can be besides: one that takes over sockets which somebody
// else opened. On an error the descriptor is still the caller's.
#pragma once

#include "weir/descriptor.hpp"
#include "weir/detail/datagram.hpp"
#include "weir/detail/home.hpp"

namespace weir::detail {

/// On the shard's thread.
class adopts_sockets {
 public:
  virtual result<listener_socket*> adopt_listener(unique_fd& listening) = 0;
  virtual result<socket_base*> adopt_stream(unique_fd& connected) = 0;
  virtual result<datagram_socket*> adopt_datagrams(unique_fd& bound) = 0;

 protected:
  ~adopts_sockets() = default;
};

}  // namespace weir::detail
