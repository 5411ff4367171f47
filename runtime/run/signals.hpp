// SIGINT and SIGTERM for run(), which end it, and SIGQUIT, which asks what it does. The kernel
// gives a process's signal to any thread that does not block it, weir's or not, so both are taken
// by handlers, which pass the number through a pipe to one thread. Unlike a mask or an ignored
// signal, a handler is nothing that a program started meanwhile inherits.
#pragma once

#include <functional>
#include <thread>

namespace weir::detail {

/// Takes these signals, and SIGPIPE, from here to its end, when everything is as before. A signal
/// that came and that no signal_thread handed out is sent again then. One for each run(), a few at
/// a time; each gets every signal. Throws std::system_error.
class stop_signals {
 public:
  stop_signals();
  ~stop_signals();
  stop_signals(const stop_signals&) = delete;
  stop_signals& operator=(const stop_signals&) = delete;

 private:
  friend class signal_thread;
  static constexpr unsigned char end = 0;  // no signal's number

  void put(unsigned char number) noexcept;
  /// Waits. Gives the number of a signal, or `end`.
  int next() noexcept;

  int read_end_ = -1;
  int write_end_ = -1;
  std::size_t slot_ = 0;
  int given_ = 0;  // signals that next() gave
};

/// Calls `on_signal(number, count)` on a thread of its own for the first and the second signal to
/// stop; a third one has its default effect. For SIGQUIT `count` is 0. Its end waits for a call
/// that runs.
class signal_thread {
 public:
  signal_thread(stop_signals& signals, std::function<void(int number, int count)> on_signal);
  ~signal_thread();
  signal_thread(const signal_thread&) = delete;
  signal_thread& operator=(const signal_thread&) = delete;

 private:
  void run();

  stop_signals& signals_;
  std::function<void(int, int)> on_signal_;
  std::thread thread_;
};

/// While a thread has one, and a run() is under way, a write to a pipe that nobody reads fails with
/// EPIPE on this thread, instead of ending the process. Threads without one see no difference.
class broken_pipes_are_errors {
 public:
  broken_pipes_are_errors();
  ~broken_pipes_are_errors();
  broken_pipes_are_errors(const broken_pipes_are_errors&) = delete;
  broken_pipes_are_errors& operator=(const broken_pipes_are_errors&) = delete;

 private:
  bool before_;
};

}  // namespace weir::detail
