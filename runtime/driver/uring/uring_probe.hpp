// What the running kernel's io_uring can do, found out on a real ring: version numbers lie (vendors
// backport, containers forbid). Opens a ring, runs a no-op through it, closes it; keeps nothing.
#pragma once

#include <time.h>

#include <cerrno>
#include <string>

#include "driver/uring/io_uring_constants.hpp"

namespace weir::detail {

/// What is used where it is there. Each has a fallback; tests switch them off to exercise those.
struct uring_features {
  bool defer_taskrun = false;      ///< completions are found only when we ask for them (Linux 6.1)
  bool task_run_flag = false;      ///< the ring says when there is something to ask for
  bool registered_ring = false;    ///< the ring's descriptor needs no lookup in each call
  bool no_iowait = false;          ///< waiting is not counted as waiting for a disk (6.15)
  bool skip_success = false;       ///< a request may leave no completion when all went well (5.17)
  bool buffer_ring = false;        ///< provided buffers through a shared ring (5.19)
  bool multishot_accept = false;   ///< 5.19
  bool multishot_receive = false;  ///< 6.0
  bool multishot_read = false;     ///< 6.7, for devices
  bool message_by_call = false;    ///< a wake-up from a thread without a ring (6.13)
};

/// Sets up `ring` with the best flags that this kernel takes, and fills `features` in. Gives 0 or a
/// negative errno.
int open_ring(io_uring& ring, unsigned sq_entries, unsigned cq_entries, uring_features& features);

/// The kernel gives back what a closed ring had locked some tens of milliseconds later. A ring of
/// the probe's, or of a server that was just restarted, is no reason to do without one: calls again
/// while the answer is -ENOMEM, for half a second.
template <class Call>
int with_patience_for_memory(Call call) {
  constexpr timespec pause{0, 5'000'000};
  int error = call();
  for (int tries = 100; error == -ENOMEM && tries > 0; --tries) {
    ::nanosleep(&pause, nullptr);
    error = call();
  }
  return error;
}

/// Runs a no-op through the ring and waits for its completion. Gives 0 or a negative errno.
int check_ring(io_uring& ring);

/// The reason and the remedy for an error of io_uring_setup(2), one line.
std::string explain_setup_error(int error_number);

}  // namespace weir::detail
