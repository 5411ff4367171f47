// Asks every shard of a process for its snapshot: a message to each, a message back. It lives on a
// shard of its own. At most one question is under way to a shard, and an answer that is fresh
// enough is given again, so that however many ask, a shard answers some twenty times a second at
// most. A shard that is busy for too long is left out, and said to be.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/observe/snapshot.hpp"
#include "runtime/observe/take_snapshot.hpp"
#include "weir/stack/time.hpp"
#include "weir/sync.hpp"
#include "weir/task.hpp"

namespace weir {
class shard;
}

namespace weir::detail {

/// Every shard's snapshot.
struct process_snapshot {
  std::vector<shard_snapshot> shards;  ///< of those that answered
  std::vector<unsigned> silent;        ///< those that did not, in time
  std::size_t connections_asked = 0;   ///< bound, for each shard
  instant taken;                       ///< the collector's clock
};

class collector {
 public:
  static constexpr duration fresh = std::chrono::milliseconds(50);
  static constexpr duration patience = std::chrono::seconds(1);

  using snapshot_function = shard_snapshot (*)(shard&, const snapshot_bounds&);

  /// `home` runs the collector, which goes before it does; the targets outlive the collector, or at
  /// least their loops have stopped before it goes. A target that is still answering then is not
  /// waited for: its answer is dropped.
  collector(shard& home, std::vector<shard*> targets, snapshot_function take = &take_snapshot);
  ~collector();
  collector(const collector&) = delete;
  collector& operator=(const collector&) = delete;

  /// A snapshot with at least `connections` of each shard's connections, as far as there are.
  /// Throws operation_canceled.
  task<std::shared_ptr<const process_snapshot>> collect(std::size_t connections);
  /// Questions that were put to shards.
  std::uint64_t asked() const { return asked_; }

 private:
  struct question;
  void ask(std::size_t target, std::size_t connections);
  static void answer(const std::shared_ptr<question>& q) noexcept;

  shard& home_;
  std::vector<shard*> targets_;
  snapshot_function take_;
  std::vector<std::shared_ptr<question>> pending_;  // one for each target, or none
  std::shared_ptr<const process_snapshot> latest_;
  mutex one_at_a_time_;
  std::uint64_t asked_ = 0;
};

}  // namespace weir::detail
