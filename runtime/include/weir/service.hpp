// The service manager that started the program (systemd, or what speaks as it does): the sockets
// that it opened, by name, and what it wants to be told. No library; without a manager everything
// here does nothing.
//
//   auto manager = weir::service_manager::of_environment();   // in main(), before any thread
//   auto listener = weir::adopt_listener(shard, manager.take("web"));
//   manager.notify("READY=1");
#pragma once

#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "weir/descriptor.hpp"
#include "weir/task.hpp"

namespace weir {

class service_manager {
 public:
  struct descriptor {
    std::string name;  ///< FileDescriptorName=; "unknown" where it has none
    unique_fd fd;
  };

  service_manager() = default;
  /// What this process, and no child of it, was given: LISTEN_FDS, LISTEN_FDNAMES, NOTIFY_SOCKET,
  /// WATCHDOG_USEC. The variables are gone afterwards and the descriptors are close-on-exec, so
  /// that programs which this one starts do not take them for theirs. Before other threads run.
  static service_manager of_environment();

  /// What was passed and has not been taken, in order.
  const std::vector<descriptor>& descriptors() const { return descriptors_; }
  /// The first one of this name; none where there is none (any more).
  unique_fd take(std::string_view name);

  /// Sends a state, one datagram that never waits: "READY=1", "STOPPING=1", "STATUS=...", several
  /// in lines. Without a manager that listens it does nothing, without an error. Any thread.
  std::error_code notify(std::string_view state) const noexcept;

  /// How often the manager wants to hear of the program, or no_limit.
  duration watchdog() const { return watchdog_; }

 private:
  std::vector<descriptor> descriptors_;
  std::string notify_socket_;
  duration watchdog_ = no_limit;
};

/// Tells the manager twice in its time that this shard turns, until it is cancelled: a program
/// whose shard hangs is started again. Ends at once where no watchdog is wanted. `manager` outlives
/// it.
task<> keep_watchdog(const service_manager& manager);

}  // namespace weir
