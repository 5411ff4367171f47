// unix_endpoint to sockaddr_un and back, and what became of a path that a listener left behind.
#include "transport/watched/unix_address.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

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

unix_endpoint unix_name_of(int fd, bool peer) {
  sockaddr_un of{};
  socklen_t size = sizeof of;
  auto* into = reinterpret_cast<sockaddr*>(&of);
  if ((peer ? ::getpeername(fd, into, &size) : ::getsockname(fd, into, &size)) != 0) return {};
  const auto length = static_cast<std::size_t>(size) - offsetof(sockaddr_un, sun_path);
  if (of.sun_family != AF_UNIX || size <= offsetof(sockaddr_un, sun_path)) return {};
  std::string name(of.sun_path, length);
  if (name[0] == '\0')
    name[0] = '@';
  else
    name.resize(std::strlen(name.c_str()));
  if (name.size() > unix_endpoint::max_size || name.find('\0') != std::string::npos || name == "@")
    return {};
  return unix_endpoint(name);
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

}  // namespace weir::detail
