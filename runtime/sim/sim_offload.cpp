// Functions begin in the order in which they were asked for, and end in it.
#include "runtime/sim/sim_offload.hpp"

#include <algorithm>

#include "weir/shard.hpp"

namespace weir::detail {

void sim_offload::start(offload_operation& op) noexcept {
  if (counters_.queued + counters_.running >= most_threads_ + queue_limit_) {
    ++counters_.refused;
    return op.complete(std::make_error_code(std::errc::resource_unavailable_try_again));
  }
  op.waits = true;
  queue_.push_back(op);
  counters_.peak = std::max(counters_.peak, ++counters_.queued);
  begin_next();
}

void sim_offload::begin_next() noexcept {
  if (queue_.empty() || counters_.running == most_threads_) return;
  auto free = std::find_if(threads_.begin(), threads_.end(),
                           [](const auto& each) { return each->runs == nullptr; });
  if (free == threads_.end()) free = threads_.insert(free, std::make_unique<virtual_thread>(*this));
  auto& thread = **free;
  thread.runs = queue_.pop_front();
  thread.runs->waits = false;
  --counters_.queued;
  ++counters_.running;
  auto& owner = thread.runs->owner();
  owner.arm(thread, owner.now() + time_);
}

void sim_offload::time_is_over(timer_node& node) noexcept {
  auto& thread = static_cast<virtual_thread&>(node);
  auto& pool = *thread.pool;
  auto& op = *std::exchange(thread.runs, nullptr);
  op.run(op);
  --pool.counters_.running;
  ++pool.counters_.done;
  op.complete();
  pool.begin_next();
}

void sim_offload::cancel(offload_operation& op) noexcept {
  if (!op.waits) return;
  op.waits = false;
  queue_.remove(op);
  --counters_.queued;
  ++counters_.canceled;
  op.complete(canceled_error());
}

}  // namespace weir::detail
