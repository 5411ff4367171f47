// What the machine tells of itself: time that its host kept, cores that were slowed down, what a
// process has used. Read from /proc and /sys below a root, so that tests give recorded trees.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "load/outcome.hpp"
#include "load/plan.hpp"

namespace weir::load {

class machine {
 public:
  explicit machine(std::filesystem::path root = "/") : root_(std::move(root)) {}

  /// A file's text without its last line end; nothing where it cannot be read.
  std::optional<std::string> read(const std::string& path) const;
  /// Names in a directory that begin so, sorted.
  std::vector<std::string> list(const std::string& directory, const std::string& begin) const;
  /// Those of the cores: "cpu0" and so on.
  std::vector<std::string> cores() const;

  /// The first line of /proc/stat, in ticks.
  struct times {
    std::uint64_t busy = 0, idle = 0, steal = 0;
    std::uint64_t all() const { return busy + idle + steal; }
  };
  times cpu_times() const;
  std::uint64_t throttles() const;
  /// CPU, switches and memory of a process so far, all threads.
  process_figures process(pid_t pid) const;
  /// CPU and memory of a control group so far; it counts no switches.
  process_figures group(const std::string& cgroup) const;
  process_figures figures(const watched_server& of) const;

 private:
  std::filesystem::path root_;
};

/// What was used between two looks at a server.
process_figures used_between(const process_figures& begin, const process_figures& end);

/// What happened between its begin and its end.
class machine_watch {
 public:
  machine_watch(const machine& of, watched_server server)
      : machine_(of), server_(std::move(server)) {}
  void begin();
  void end();
  /// Clock steps are somebody else's to add.
  const disturbances& seen() const { return seen_; }
  const process_figures& server() const { return server_seen_; }

 private:
  const machine& machine_;
  watched_server server_;
  machine::times times_;
  std::uint64_t throttles_ = 0;
  process_figures server_begin_, own_begin_;
  disturbances seen_;
  process_figures server_seen_;
};

}  // namespace weir::load
