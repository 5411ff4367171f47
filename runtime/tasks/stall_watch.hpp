// Watches that shards turn. A shard whose loop has stood in one turn for longer than the limit is
// reported while it does, with the stack of its thread, the coroutine that it resumed last, and
// whether the thread computes, blocks, or is not given a processor. The watching thread sleeps when
// all shards sleep.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "weir/detail/place.hpp"
#include "weir/detail/pulse.hpp"
#include "weir/stack/time.hpp"

namespace weir {
class shard;
}

namespace weir::detail {

class stack_taker;

/// Stalls at one place.
struct stall_count {
  unsigned shard = 0;
  source_at resumed = nullptr;  ///< where the coroutine had waited that was resumed last; or none
  std::uint64_t count = 0;
  duration longest{};
  duration sum{};
};

class stall_watch {
 public:
  /// Places that are counted apart; what is beyond them is counted together.
  static constexpr std::size_t most_places = 64;

  /// `say` gets each line, on the watching thread. The shards' loops may start later; they have
  /// stopped when the watch goes, or go on.
  stall_watch(std::vector<shard*> shards, duration limit,
              std::function<void(const std::string&)> say);
  ~stall_watch();
  stall_watch(const stall_watch&) = delete;
  stall_watch& operator=(const stall_watch&) = delete;

  /// Any thread.
  std::vector<stall_count> counts() const;
  duration limit() const { return limit_; }
  /// How often the watching thread looked.
  std::uint64_t looks() const { return looks_.load(std::memory_order_relaxed); }
  /// It sleeps until a shard wakes.
  bool asleep() const { return bell_.asleep.load(); }

 private:
  struct watched;
  void run();
  bool all_asleep() const;
  void sleep_with_them();
  void look(watched& at, instant now);
  void report(watched& at, duration lasted);
  void ended(watched& at, instant now);
  void count(const watched& at, duration lasted);

  std::vector<watched> shards_;
  duration limit_;
  std::function<void(const std::string&)> say_;
  std::unique_ptr<stack_taker> stacks_;
  watcher_bell bell_;
  std::atomic<bool> end_{false};
  std::atomic<std::uint64_t> looks_{0};
  mutable std::mutex lock_;  // of counts_
  std::vector<stall_count> counts_;
  std::thread thread_;  // last
};

}  // namespace weir::detail
