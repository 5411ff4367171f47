// run() and what it is made of: back ends by name, and shards on threads. A program normally calls
// run() alone; tests and benchmarks may make shards themselves. A shard in an event loop that is
// there already: weir/loop.hpp.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "weir/config.hpp"
#include "weir/shard.hpp"
#include "weir/task.hpp"

namespace weir {

/// Whether a back end can be used here, and if not, why and what to do about it.
struct availability {
  bool usable = false;
  std::string reason;  ///< "io_uring_setup: Operation not permitted (sysctl
                       ///< kernel.io_uring_disabled is 2); ..."
};
availability probe_backend(std::string_view name, const config& settings);
/// The back ends that were built in, in the order of preference.
std::vector<std::string> built_backends();

/// Runs `serve` on every shard (settings.shards) until all have returned; returns the process's
/// exit code (docs/cancellation.md). The first SIGINT or SIGTERM, on whichever thread it arrives,
/// makes accept() end on every shard, the second cancels what still runs. `settings.backend` "auto"
/// is resolved here, with one line on stderr that says which and why; a named back end that cannot
/// be used is an error on stderr and exit code 2. An exception out of `serve` is printed, cancels
/// the other shards and gives exit code 1. `settings.observe.listen` is served here too
/// (docs/observe.md), and by run() alone.
int run(const config& settings, std::function<task<>(shard&)> serve);

/// Resolves "auto" and checks that the back end can be used; throws config_error with the reason
/// and the remedy.
config resolve_backend(config settings);

namespace detail {
class family;
}

/// What the shards of one program have in common: the stack's device with the listeners on it, and
/// the kernel's sockets that several of them accept from. Made before them and given to each; it
/// lives as long as any of them.
class shard_family {
 public:
  shard_family();
  ~shard_family();
  shard_family(const shard_family&) = delete;
  shard_family& operator=(const shard_family&) = delete;

  detail::family& inside() { return *inside_; }

 private:
  std::unique_ptr<detail::family> inside_;
};

/// Makes one shard of a resolved configuration, on the calling thread, which must be the one that
/// runs it (a ring belongs to its thread). Shards that share listeners or a device are of one
/// family, made in the order of their indexes; without one the shard is alone. Throws config_error,
/// or io_error where the device cannot be opened.
std::unique_ptr<shard> make_shard(unsigned index, const config& settings,
                                  std::shared_ptr<shard_family> family = nullptr);

/// Runs `f` on its own thread with a new shard of these settings until its root task ends. For
/// tests and tools that need a second shard, perhaps of another back end: construct, use shard(),
/// then join().
class shard_thread {
 public:
  explicit shard_thread(config settings, unsigned index = 0,
                        std::shared_ptr<shard_family> family = nullptr);
  /// Asks the shard to end (its loop runs until then), and waits.
  ~shard_thread();
  shard_thread(const shard_thread&) = delete;
  shard_thread& operator=(const shard_thread&) = delete;
  weir::shard& shard();

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace weir
