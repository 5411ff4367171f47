// SIGINT and SIGTERM for run(): blocked in every thread, taken by one thread of their own through a
// signalfd, so that no handler runs in the middle of anything.
#pragma once

#include <signal.h>

#include <functional>
#include <thread>

namespace weir::detail {

/// Blocks both signals (and ignores SIGPIPE) in this thread and in those it starts, until it goes.
class blocked_signals {
 public:
  blocked_signals();
  ~blocked_signals();
  blocked_signals(const blocked_signals&) = delete;
  blocked_signals& operator=(const blocked_signals&) = delete;

 private:
  sigset_t before_;
};

/// Calls `on_signal(number, count)` on a thread of its own for the first and the second signal; a
/// third one has its default effect. The signals must be blocked already. Its end waits for a call
/// that runs.
class signal_thread {
 public:
  explicit signal_thread(std::function<void(int number, int count)> on_signal);
  ~signal_thread();
  signal_thread(const signal_thread&) = delete;
  signal_thread& operator=(const signal_thread&) = delete;

 private:
  void run();

  std::function<void(int, int)> on_signal_;
  int signals_ = -1;
  int end_ = -1;
  std::thread thread_;
};

}  // namespace weir::detail
