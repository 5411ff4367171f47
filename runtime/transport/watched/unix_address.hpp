// Names of Unix sockets as the kernel spells them, and what is left of a listener that went
// without its file.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>

#include "weir/unix_endpoint.hpp"

namespace weir::detail {

struct unix_address {
  explicit unix_address(const unix_endpoint& of);
  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage); }

  sockaddr_un storage{};
  socklen_t size = 0;
};

/// A name that the kernel wrote; unnamed where there is none, or it is longer than weir's are.
unix_endpoint unix_name_in(const sockaddr_un& of, std::size_t size);
/// A socket's name, or its peer's.
unix_endpoint unix_name_of(int fd, bool peer);

/// Removes the file of a socket on which nobody listens. False: it is no socket, or somebody does,
/// or it cannot be removed; errno says EADDRINUSE then.
bool remove_stale(const unix_endpoint& path);

/// bind(2), and chmod(2) where `mode` is given. What a dead socket left there is removed first.
std::error_code bind_to(int fd, const unix_endpoint& local, std::optional<std::uint32_t> mode);

/// The file that bind(2) made: removed unless another one stands there by then.
class bound_path {
 public:
  void note(const unix_endpoint& name);
  void keep() { made_ = false; }
  void remove(const unix_endpoint& name) noexcept;

 private:
  bool made_ = false;
  dev_t device_ = 0;
  ino_t file_ = 0;
};

}  // namespace weir::detail
