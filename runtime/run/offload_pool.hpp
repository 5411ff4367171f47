// The threads behind offload(), for all shards of a program. Made when there is work for them, as
// many as offload.threads; they stay until the program's last shard has gone. Knows nothing of what
// it runs.
#pragma once

#include <sched.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "weir/config.hpp"
#include "weir/detail/offloading.hpp"

namespace weir::detail {

class offload_pool final : public offloader {
 public:
  /// Its threads run where this one may run now: before it was pinned.
  explicit offload_pool(const config& settings);
  ~offload_pool() override;

  void start(offload_operation& op) noexcept override;
  void cancel(offload_operation& op) noexcept override;
  offload_counters counters() const override;

 private:
  void serve();
  bool add_thread() noexcept;

  const std::size_t most_threads_;
  const std::size_t queue_limit_;
  cpu_set_t cores_;
  bool cores_known_;

  mutable std::mutex lock_;
  std::condition_variable work_;
  stack::intrusive_queue<offload_operation> queue_;
  offload_counters counters_;
  std::size_t idle_ = 0;
  bool ends_ = false;
  std::vector<std::thread> threads_;
};

/// The one pool of a family of shards: family::part<program_pool>().
struct program_pool {
  std::shared_ptr<offload_pool> of(const config& settings);

 private:
  std::mutex lock_;
  std::shared_ptr<offload_pool> pool_;
};

}  // namespace weir::detail
