// A server as a child process: started on one core, announced by its `listening` line, measured
// from outside, ended by pid. Never reads anything the server did not print or the kernel does not
// publish about it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "endpoint.hpp"

namespace weir::bench {

/// CPU time, waits for it and context switches of all threads of a process so far.
struct process_usage {
  std::uint64_t cpu_ns = 0;
  std::uint64_t core_wait_ns = 0;  ///< ready to run, while its core did other things
  std::uint64_t voluntary_switches = 0;
  std::uint64_t involuntary_switches = 0;
};

struct start_options {
  std::vector<std::string> services{"echo"};  // whose `listening NAME ADDR:PORT` lines must come;
                                              // none: it is not waited for
  std::vector<std::string> environment;       // NAME=VALUE, beside our own
};

class server_process {
 public:
  /// Starts `command` pinned to `cpu` (-1: not pinned) and waits up to `limit_ms` for its
  /// `listening echo ADDR:PORT` line, or those of other services. Throws std::runtime_error that
  /// carries what the server wrote to stderr when it does not come up.
  server_process(const std::vector<std::string>& command, int cpu, int limit_ms,
                 const start_options& options = {});
  ~server_process();
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;

  pid_t pid() const noexcept { return pid_; }
  const endpoint& listening() const noexcept { return listening_.front(); }
  /// Of each service, in the order of the options.
  const std::vector<endpoint>& all_listening() const noexcept { return listening_; }
  /// Threads that the kernel made for io_uring requests that it could not run at once.
  unsigned io_workers() const;
  process_usage usage() const;

  /// True when the process has ended although nobody asked it to; `why` then says how.
  bool died(std::string& why) const;

  /// The end of what it wrote to stderr.
  std::string complaint() const;

  /// SIGTERM, and SIGKILL when that did not help within two seconds.
  void stop() noexcept;

 private:
  void wait_until_listening(int limit_ms, const std::vector<std::string>& services);
  bool read_announcements(const std::string& said, const std::vector<std::string>& services);
  pid_t pid_ = -1;
  int pidfd_ = -1;
  int output_ = -1;  // read end of its stdout
  int errors_ = -1;  // memory file behind its stderr
  std::vector<endpoint> listening_;
};

/// The cores this process may run on, in rising order.
std::vector<int> allowed_cpus();
void pin_this_thread(int cpu);

/// Busy nanoseconds of a core so far, everything that ran on it included; -1 where /proc/stat does
/// not tell.
std::int64_t core_busy_ns(int cpu);

}  // namespace weir::bench
