// Counts the system calls of a running process with ptrace: no kernel option, no tool and no
// privilege beyond being its parent is needed. Tracing slows the server several times over, so it
// has a short round of its own: its counts are used, its speed is not.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>

namespace weir::bench {

class syscall_counter {
 public:
  /// Attaches to every thread of `pid`. Throws std::runtime_error where tracing is forbidden.
  explicit syscall_counter(pid_t pid);
  /// Blocks until the traced process has ended: stop it first.
  ~syscall_counter();
  syscall_counter(const syscall_counter&) = delete;
  syscall_counter& operator=(const syscall_counter&) = delete;

  static constexpr std::size_t numbers = 512;
  using counts = std::array<std::uint64_t, numbers>;
  counts snapshot() const noexcept;

 private:
  void trace(pid_t pid);

  std::array<std::atomic<std::uint64_t>, numbers> counts_{};
  std::atomic<int> attached_{0};  // 0: not yet, 1: yes, -1: failed
  std::string failure_;
  std::thread tracer_;
};

/// Calls per request by name, from two snapshots.
std::map<std::string, double> per_request(const syscall_counter::counts& before,
                                          const syscall_counter::counts& after,
                                          std::uint64_t requests);

}  // namespace weir::bench
