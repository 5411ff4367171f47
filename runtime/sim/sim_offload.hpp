// The simulator's pool for offload(): as many virtual threads as offload.threads, each of which is
// busy for host_options::offload_time with a function and runs it at the end of that time, on the
// simulation's own thread. A host's own.
#pragma once

#include <memory>
#include <vector>

#include "weir/config.hpp"
#include "weir/detail/offloading.hpp"
#include "weir/detail/timer.hpp"

namespace weir::detail {

class sim_offload final : public offloader {
 public:
  sim_offload(const config& settings, duration time)
      : most_threads_(settings.offload.threads),
        queue_limit_(settings.offload.queue),
        time_(time) {}

  void start(offload_operation& op) noexcept override;
  void cancel(offload_operation& op) noexcept override;
  offload_counters counters() const override { return counters_; }

 private:
  struct virtual_thread : timer_node {
    explicit virtual_thread(sim_offload& p) : timer_node(&sim_offload::time_is_over), pool(&p) {}
    sim_offload* pool;
    offload_operation* runs = nullptr;
  };
  static void time_is_over(timer_node& node) noexcept;
  void begin_next() noexcept;

  const std::size_t most_threads_;
  const std::size_t queue_limit_;
  const duration time_;
  stack::intrusive_queue<offload_operation> queue_;
  std::vector<std::unique_ptr<virtual_thread>> threads_;
  offload_counters counters_;
};

}  // namespace weir::detail
