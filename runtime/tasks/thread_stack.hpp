// The stack of another thread of this process, as function names, and what the system says that the
// thread does.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "weir/stack/time.hpp"

namespace weir::detail {

/// The thread is asked by a signal, SIGURG, which is ignored by default: it is taken for the
/// moment. One in a process at a time.
class stack_taker {
 public:
  stack_taker();
  ~stack_taker();
  stack_taker(const stack_taker&) = delete;
  stack_taker& operator=(const stack_taker&) = delete;

  /// Where it is, the innermost function first; empty where the thread does not answer in time.
  std::vector<void*> take(int thread);
  /// "app::session". Slow at its first call for each file, whose table it reads.
  std::string name(void* address);

 private:
  struct tables;
  std::unique_ptr<tables> tables_;
};

/// What /proc says of a thread.
struct thread_state {
  char state = '?';     ///< R runs or would like to, S and D wait
  duration cpu{};       ///< it had
  duration cpu_wait{};  ///< it was ready and had none
};
thread_state state_of(int thread);

}  // namespace weir::detail
