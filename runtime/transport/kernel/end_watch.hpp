// Whether the peers of connected sockets have ended or broken their connections, without reading
// what they sent before: an epoll(7) set of this shard's for EPOLLRDHUP alone, which the driver
// watches like any descriptor. Made when somebody first asks; one system call to ask and to forget.
#pragma once

#include <memory>
#include <optional>
#include <system_error>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/watch.hpp"
#include "weir/descriptor.hpp"

namespace weir::detail {

struct socket_base;

class end_watch final : watch_client {
 public:
  class client {
   public:
    /// The peer has ended, or the connection has broken; or it may have.
    virtual void end_may_be_there(socket_base& of) = 0;

   protected:
    ~client() = default;
  };

  end_watch(driver& completions, client& asks) : driver_(completions), client_(asks) {}

  /// Tells the client once, unless it is forgotten before. Before the descriptor is closed it is.
  std::error_code want(int fd, socket_base& of);
  void forget(int fd) noexcept;

  /// Nothing while the connection lives and its peer may send; else why it broke, or no error.
  static std::optional<std::error_code> end_of(int fd) noexcept;

 private:
  std::error_code make();
  void readable() override;
  void writable() override {}

  driver& driver_;
  client& client_;
  unique_fd set_;
  std::unique_ptr<watch> waits_;
};

}  // namespace weir::detail
