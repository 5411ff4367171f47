// A kernel socket between two shards: the descriptor, what was received and not read, and how far
// the connection has ended. Transports make it of their own sockets and their own sockets of it.
#pragma once

#include <cstddef>
#include <memory>

#include "runtime/backend/moves_streams.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"

namespace weir::detail::kernel {

/// Of socket_base it uses rx_data and rx_size, which show what of `unread` is left, and the ends.
struct detached_stream : detached_socket, socket_base {
  using detached_socket::detached_socket;
  ~detached_stream() override {
    if (fd && rx_size != 0) reset_on_close(fd.get());
  }

  unique_fd fd;
  std::unique_ptr<std::byte[]> unread;
};

struct detached_tcp final : detached_stream {
  explicit detached_tcp(const weir::shard& left) : detached_stream(left, false) {}

  endpoint local, remote;
};

}  // namespace weir::detail::kernel
