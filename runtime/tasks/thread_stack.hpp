// The stack of another thread of this process, as function names, and what the system says that the
// thread does.
#pragma once

#include <string>
#include <vector>

#include "weir/stack/time.hpp"

namespace weir::detail {

/// Takes the signal that a thread is asked by (SIGURG, which is ignored by default) for as long as
/// it lives. Where another one in the process has it, or the program does, there are no stacks.
class stack_taker {
 public:
  stack_taker();
  ~stack_taker();
  stack_taker(const stack_taker&) = delete;
  stack_taker& operator=(const stack_taker&) = delete;

  /// The innermost function first; empty where the thread does not answer.
  std::vector<std::string> of(int thread);

 private:
  bool taken_ = false;
};

/// What /proc says of a thread.
struct thread_state {
  char state = '?';     ///< R runs or would like to, S and D wait
  duration cpu{};       ///< it had
  duration cpu_wait{};  ///< it was ready and had none
};
thread_state state_of(int thread);

}  // namespace weir::detail
