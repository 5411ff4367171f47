// unix_endpoint to sockaddr_un and back, and what became of a path that a listener left behind.
#include "runtime/transport/watched/unix_address.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "runtime/transport/kernel/kernel_socket.hpp"
#include "weir/descriptor.hpp"

namespace weir::detail {

unix_address::unix_address(const unix_endpoint& of) {
  storage.sun_family = AF_UNIX;
  const auto name = of.name();
  std::memcpy(storage.sun_path, name.data(), name.size());
  size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  // A path ends with a zero byte, an abstract name begins with one.
  if (of.is_path()) ++size;
  if (of.is_abstract()) storage.sun_path[0] = '\0';
}

unix_endpoint unix_name_in(const sockaddr_un& of, std::size_t size) {
  constexpr auto head = offsetof(sockaddr_un, sun_path);
  if (size <= head || of.sun_family != AF_UNIX) return {};
  char text[sizeof of.sun_path];
  const auto length = std::min(size - head, sizeof text);
  std::memcpy(text, of.sun_path, length);
  std::string_view name(text, length);
  if (text[0] == '\0')
    text[0] = '@';
  else
    name = name.substr(0, name.find('\0'));
  const bool odd = name.size() > unix_endpoint::max_size || name == "@" ||
                   name.find('\0') != std::string_view::npos;
  return odd ? unix_endpoint() : unix_endpoint(name);
}

unix_endpoint unix_name_of(int fd, bool peer) {
  sockaddr_un of{};
  socklen_t size = sizeof of;
  auto* into = reinterpret_cast<sockaddr*>(&of);
  if ((peer ? ::getpeername(fd, into, &size) : ::getsockname(fd, into, &size)) != 0) return {};
  return unix_name_in(of, size);
}

bool remove_stale(const unix_endpoint& path) {
  const std::string file(path.name());
  struct stat found;
  bool stale = ::lstat(file.c_str(), &found) == 0 && S_ISSOCK(found.st_mode);
  if (stale) {
    // A socket of another kind: a live listener's queue gets nothing of it (EPROTOTYPE).
    unique_fd probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const unix_address address(path);
    stale =
        probe && ::connect(probe.get(), address.data(), address.size) != 0 && errno == ECONNREFUSED;
  }
  stale = stale && ::unlink(file.c_str()) == 0;
  if (!stale) errno = EADDRINUSE;
  return stale;
}

std::error_code bind_to(int fd, const unix_endpoint& local, std::optional<std::uint32_t> mode) {
  const unix_address address(local);
  if (::bind(fd, address.data(), address.size) != 0) {
    if (errno != EADDRINUSE || !local.is_path() || !remove_stale(local))
      return kernel::error_from(errno);
    if (::bind(fd, address.data(), address.size) != 0) return kernel::last_error();
  }
  const std::string path(local.name());
  if (!mode || ::chmod(path.c_str(), static_cast<mode_t>(*mode)) == 0) return {};
  const auto error = kernel::last_error();
  ::unlink(path.c_str());
  return error;
}

void bound_path::note(const unix_endpoint& name) {
  struct stat found;
  made_ = name.is_path() && ::lstat(std::string(name.name()).c_str(), &found) == 0;
  if (!made_) return;
  device_ = found.st_dev;
  file_ = found.st_ino;
}

void bound_path::remove(const unix_endpoint& name) noexcept {
  struct stat there;
  const std::string path(name.name());
  if (made_ && ::lstat(path.c_str(), &there) == 0 && there.st_dev == device_ &&
      there.st_ino == file_)
    ::unlink(path.c_str());
}

}  // namespace weir::detail
