// What stands behind offload(): the operation, which lives in the awaiting coroutine's frame, and
// who carries it out: the pool (threads of run/, or the simulator's virtual ones), or the shard's
// driver, where it can call on files itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

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

class file_caller;
struct offload_operation;
struct status_memory;

/// One call on files that a driver may make. Descriptors, paths and memory are the operation's, and
/// in use until that is over. Paths are as open(2) has them.
struct file_call {
  struct read {
    int fd;
    std::span<std::byte> into;
    std::uint64_t offset;
  };
  struct write {
    int fd;
    std::span<const std::byte> bytes;
    std::uint64_t offset;
  };
  struct append {
    int fd;
    std::span<const std::byte> bytes;
  };
  struct sync {
    int fd;
  };
  struct resize {
    int fd;
    std::uint64_t size;
  };
  struct status {
    int fd;
    status_memory* into;
  };
  struct status_of {
    const char* path;
    status_memory* into;
  };
  struct open {
    const char* path;
    int flags;  // O_...
    std::uint32_t mode;
  };
  struct rename {
    const char *from, *to;
  };
  struct remove {
    const char* path;
    bool directory;  // rmdir(2), else unlink(2)
  };
  struct make_directory {
    const char* path;
    std::uint32_t mode;
  };

  using any = std::variant<read, write, append, sync, resize, status, status_of, open, rename,
                           remove, make_directory>;
  any what;
  /// What it gave: what the system call of that name gives, or a negative errno. True: `call` has
  /// become another one, which follows; false: the operation has its outcome.
  bool (*came)(offload_operation& op, std::int32_t result, file_call& call) noexcept = nullptr;
};

struct offload_operation : operation, stack::queue_link<>, stack::list_link<> {
  using work = void (*)(offload_operation&) noexcept;

  offload_operation(work w, cancel_hook c)
      : operation(c), run(w), returned(&offload_operation::back, *this) {}

  /// The function: on a thread of the pool. Its result, or what it threw, stays in the operation.
  const work run;
  bool waits = false;             // for a thread; the pool's, under its lock
  bool entered = false;           // begin() saw it
  file_caller* caller = nullptr;  // who carries it out in the pool's place
  std::uint32_t place = 0;        // the caller's
  struct note : message {
    note(void (*f)(message&) noexcept, offload_operation& o) : message(f), of(&o) {}
    offload_operation* of;
  } returned;  // to the shard, when the function has ended

  /// Of runtime/core/offload.cpp. By the shard's driver where it can and has room, else by the
  /// pool.
  static void begin(offload_operation& op, const file_call* call = nullptr) noexcept;
  /// The pool after all: whoever began it could not.
  static void hand_to_pool(offload_operation& op) noexcept;
  static void request_cancel(operation& op) noexcept;
  static void end(offload_operation& op) noexcept;

 private:
  static void back(message& m) noexcept { static_cast<note&>(m).of->complete(); }
};

/// Carries out calls of one shard without a thread of the pool. Shard-local.
class file_caller {
 public:
  struct counters {
    std::uint64_t done = 0;       ///< calls
    std::uint64_t refused = 0;    ///< left to the pool: no room, no operation, it may not wait
    std::uint64_t under_way = 0;  ///< now
    std::uint64_t peak = 0;       ///< the most at once
  };
  /// False: as many as it takes are under way, or it has no operation for this.
  virtual bool start(offload_operation& op, const file_call& call) noexcept = 0;
  /// It ends with operation_canceled where the system lets go of it, else as it would.
  virtual void cancel(offload_operation& op) noexcept = 0;
  virtual counters counts() const noexcept = 0;

 protected:
  ~file_caller() = default;
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
