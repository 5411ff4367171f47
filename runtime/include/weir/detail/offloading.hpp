// What stands behind offload(): the operation, which lives in the awaiting coroutine's frame, and
// the pool that carries it out (threads of run/, or the simulator's virtual ones).
#pragma once

#include <cstdint>

#include "weir/detail/mailbox.hpp"
#include "weir/detail/operation.hpp"
#include "weir/stack/intrusive.hpp"

namespace weir {

/// What a pool counts, over all its shards.
struct offload_counters {
  std::uint64_t done = 0;      ///< functions that ran
  std::uint64_t refused = 0;   ///< found the queue full
  std::uint64_t canceled = 0;  ///< left the queue before a thread came to them
  std::uint64_t queued = 0;    ///< wait for a thread now
  std::uint64_t running = 0;   ///< run now
  std::uint64_t peak = 0;      ///< the longest queue there was
};

namespace detail {

struct offload_operation : operation, stack::queue_link<>, stack::list_link<> {
  using work = void (*)(offload_operation&) noexcept;

  offload_operation(work w, cancel_hook c)
      : operation(c), run(w), returned(&offload_operation::back, *this) {}

  /// The function: on a thread of the pool. Its result, or what it threw, stays in the operation.
  const work run;
  bool waits = false;    // for a thread; the pool's, under its lock
  bool entered = false;  // begin() saw it
  struct note : message {
    note(void (*f)(message&) noexcept, offload_operation& o) : message(f), of(&o) {}
    offload_operation* of;
  } returned;  // to the shard, when the function has ended

  /// Of runtime/core/offload.cpp.
  static void begin(offload_operation& op) noexcept;
  static void request_cancel(operation& op) noexcept;
  static void end(offload_operation& op) noexcept;

 private:
  static void back(message& m) noexcept { static_cast<note&>(m).of->complete(); }
};

/// A bounded number of threads, real or virtual, and a bounded queue before them. One for all
/// shards of a program.
class offloader {
 public:
  virtual ~offloader() = default;
  /// Takes the operation, or completes it with resource_unavailable_try_again.
  virtual void start(offload_operation& op) noexcept = 0;
  /// One that waits for a thread ends with operation_canceled; one that runs is not disturbed.
  virtual void cancel(offload_operation& op) noexcept = 0;
  virtual offload_counters counters() const = 0;
};

}  // namespace detail
}  // namespace weir
