// The Unix listeners of this program that its shards share: one socket, a descriptor of it for
// each. Any thread; used when listeners begin, never per connection.
#pragma once

#include <fcntl.h>

#include <functional>
#include <mutex>
#include <vector>

#include "runtime/transport/kernel/kernel_socket.hpp"
#include "weir/unix_endpoint.hpp"

namespace weir::detail {

class shared_paths {
 public:
  /// A descriptor of the one socket there: a copy where it is open already, else what `open` gives.
  result<unique_fd> share(const unix_endpoint& local,
                          const std::function<result<unique_fd>()>& open) {
    std::lock_guard lock(mutex_);
    for (auto& each : sockets_) {
      if (each.local != local) continue;
      ++each.members;
      return copy(each.fd);
    }
    auto opened = open();
    if (!opened) return opened;
    auto kept = copy(*opened);
    if (!kept) return kept;
    sockets_.push_back({local, std::move(*kept), 1});
    return opened;
  }
  /// A member goes. True for the last one, with which the socket goes.
  bool leave(const unix_endpoint& local) {
    std::lock_guard lock(mutex_);
    for (auto each = sockets_.begin(); each != sockets_.end(); ++each) {
      if (each->local != local) continue;
      if (--each->members != 0) return false;
      sockets_.erase(each);
      return true;
    }
    return true;
  }

 private:
  struct shared_socket {
    unix_endpoint local;
    unique_fd fd;
    std::size_t members;
  };
  static result<unique_fd> copy(const unique_fd& of) {
    unique_fd made(::fcntl(of.get(), F_DUPFD_CLOEXEC, 0));
    if (!made) return kernel::last_error();
    return made;
  }

  std::mutex mutex_;
  std::vector<shared_socket> sockets_;
};

}  // namespace weir::detail
