// What the shards of one load share: who is ready, when the window opens and closes, and how many
// answers have come, by which the warm-up's end is found. Also the clocks that a load reads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "load/outcome.hpp"
#include "load/plan.hpp"
#include "weir/stack/time.hpp"

namespace weir::load {

/// Instants for a shard; in a simulation its virtual ones.
class clocks {
 public:
  virtual ~clocks() = default;
  virtual instant now() = 0;
  /// Another clock, that a step of the first one does not move.
  virtual instant reference() = 0;
  /// CPU time of the calling thread.
  virtual duration thread_cpu() = 0;
};

/// CLOCK_MONOTONIC, against CLOCK_MONOTONIC_RAW.
class machine_clocks : public clocks {
 public:
  instant now() override;
  instant reference() override;
  duration thread_cpu() override;
};

/// Tells when two clocks went apart by more than `most`, or one of them went back. A slow drift is
/// no step.
class step_watch {
 public:
  explicit step_watch(duration most = std::chrono::milliseconds(1)) : most_(most) {}
  void look(instant now, instant reference);
  std::uint64_t steps() const { return steps_; }
  duration largest() const { return largest_; }

 private:
  duration most_;
  bool begun_ = false;
  instant now_, reference_;
  std::uint64_t steps_ = 0;
  duration largest_{};
};

/// Whether a rate stands still: the mean of the last `span` parts is within `most` of the mean of
/// those before, and neither is nothing.
class steady_rate {
 public:
  explicit steady_rate(std::size_t span = 5, double most = 0.05) : span_(span), most_(most) {}
  void add(double rate) { rates_.push_back(rate); }
  bool steady() const;

 private:
  std::size_t span_;
  double most_;
  std::vector<double> rates_;
};

/// Written by one shard, read by others.
struct control {
  explicit control(unsigned shards) : counts(shards) {}

  struct alignas(64) count {
    std::atomic<std::uint64_t> answers{0};
    std::atomic<std::uint64_t> errors{0};
  };

  std::atomic<unsigned> ready{0};              ///< shards whose connections stand, or could not
  std::atomic<std::int64_t> start{INT64_MAX};  ///< when requests begin
  std::atomic<std::int64_t> begin{INT64_MAX};  ///< of the window
  std::atomic<std::int64_t> end{INT64_MAX};
  std::atomic<bool> abandon{false};  ///< nothing is to be measured any more
  std::vector<count> counts;         ///< of each shard

  std::uint64_t answers() const {
    std::uint64_t sum = 0;
    for (const auto& one : counts) sum += one.answers.load(std::memory_order_relaxed);
    return sum;
  }
  std::uint64_t errors() const {
    std::uint64_t sum = 0;
    for (const auto& one : counts) sum += one.errors.load(std::memory_order_relaxed);
    return sum;
  }
};

}  // namespace weir::load
