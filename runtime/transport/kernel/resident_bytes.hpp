// Bytes of a file that lie in the page cache, to a socket without a copy: sendfile(2), which has no
// flag against waiting, neither for the file nor for the socket, nor one against SIGPIPE.
#pragma once

#include <cstddef>

#include "runtime/transport/kernel/kernel_socket.hpp"
#include "weir/detail/home.hpp"

namespace weir::detail::kernel {

/// Whether a socket whose peer has gone would end the program.
bool sigpipe_is_deadly() noexcept;

struct resident_sent {
  std::size_t bytes = 0;
  unsigned calls = 0;  // of the system
};
/// As many as the socket takes at once, at most 1 MiB. None where a disk would have to be waited
/// for, there is no room, or an error, which a write will tell. `socket` is in that mode.
resident_sent send_resident(int socket, mode how, const file_range& range) noexcept;

}  // namespace weir::detail::kernel
