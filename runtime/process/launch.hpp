// Starting a program: what is made ready on the shard's thread, and the calls that may take long,
// for a thread of the pool. The child shares the parent's memory until it has become the program
// (vfork(2)), so everything that it needs is made before.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#include "weir/process.hpp"

namespace weir::detail {

/// Of runtime/run: signals that weir takes now, and that were ignored before: a bit for each
/// number, that of number 1 the lowest. Any thread.
std::uint64_t ignored_before_run();
std::uint64_t ignored_before_watches();

class launch {
 public:
  explicit launch(const command& what) : what_(what) {}

  /// Checks the command, opens pipes, notes the calling thread's signal mask.
  std::error_code prepare();
  /// Our ends of the pipes, which do not block; empty where there is none.
  unique_fd input, output, errors;

  /// On a thread that may wait. What came of it stands in `failure`, or in `pid` and `pidfd`.
  void run() noexcept;
  std::error_code failure;
  const char* failed_at = "";  ///< what it was about, where that is not the program
  pid_t pid = -1;
  unique_fd pidfd;

 private:
  enum class step : std::uint8_t { program, descriptors, directory };
  struct report {
    int error;
    step at;
  };

  std::error_code check() const;
  std::error_code open_descriptors();
  std::error_code add_stream(int number, stdio what, unique_fd& ours);
  void find_program();
  void join_environment();
  pid_t fork_into() noexcept;
  [[noreturn]] void become() noexcept;
  bool place_descriptors() noexcept;
  void restore_signals() const noexcept;
  int exec() const noexcept;
  void heard_nothing() noexcept;
  [[noreturn]] void give_up(int error, step at) const noexcept;

  const command& what_;
  std::vector<int> sources_;  // of the child's 0, 1, 2, ...
  std::vector<int> moved_;    // the same, above all of those
  std::vector<unique_fd> opened_;
  std::vector<std::string> programs_;  // tried in this order
  std::vector<std::string> environment_;
  std::vector<char*> argv_, envp_;
  sigset_t mask_{};
  std::uint64_t ignored_ = 0;
  unique_fd report_in_, report_out_;
  int report_to_ = -1;
};

}  // namespace weir::detail
