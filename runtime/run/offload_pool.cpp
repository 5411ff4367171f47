// A lock for each piece of work, twice: what is worth a thread is worth that.
#include "runtime/run/offload_pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <system_error>

#include "runtime/run/signals.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

offload_pool::offload_pool(const config& settings)
    : most_threads_(settings.offload.threads),
      queue_limit_(settings.offload.queue),
      cores_known_(::sched_getaffinity(0, sizeof cores_, &cores_) == 0) {
  threads_.reserve(most_threads_);
}

offload_pool::~offload_pool() {
  {
    std::lock_guard locked(lock_);
    ends_ = true;
  }
  work_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void offload_pool::start(offload_operation& op) noexcept {
  {
    std::lock_guard locked(lock_);
    // Threads that have not come to their work yet are as good as busy: what is refused depends on
    // what was asked for, not on who is faster.
    bool room = counters_.queued + counters_.running < most_threads_ + queue_limit_;
    if (room && counters_.queued >= idle_ && threads_.size() < most_threads_)
      room = add_thread() || !threads_.empty();
    if (room) {
      op.waits = true;
      queue_.push_back(op);
      counters_.peak = std::max(counters_.peak, ++counters_.queued);
      work_.notify_one();
      return;
    }
    ++counters_.refused;
  }
  op.complete(std::make_error_code(std::errc::resource_unavailable_try_again));
}

bool offload_pool::add_thread() noexcept {
  try {
    threads_.emplace_back([this] { serve(); });
    return true;
  } catch (const std::system_error&) {  // those that there are must do
    return false;
  }
}

void offload_pool::cancel(offload_operation& op) noexcept {
  {
    std::lock_guard locked(lock_);
    if (!op.waits) return;
    op.waits = false;
    queue_.remove(op);
    --counters_.queued;
    ++counters_.canceled;
  }
  op.complete(canceled_error());
}

void offload_pool::serve() {
  ::pthread_setname_np(::pthread_self(), "weir-offload");
  if (cores_known_) ::pthread_setaffinity_np(::pthread_self(), sizeof cores_, &cores_);
  broken_pipes_are_errors tolerated;
  std::unique_lock locked(lock_);
  for (;;) {
    ++idle_;
    work_.wait(locked, [this] { return ends_ || !queue_.empty(); });
    --idle_;
    auto* op = queue_.pop_front();
    if (op == nullptr) return;
    op->waits = false;
    --counters_.queued;
    ++counters_.running;
    locked.unlock();
    op->run(*op);
    locked.lock();
    --counters_.running;
    ++counters_.done;
    // The operation, and its shard, may be gone from here on; this pool is not.
    auto& owner = op->owner();
    locked.unlock();
    owner.deliver(op->returned);
    locked.lock();
  }
}

offload_counters offload_pool::counters() const {
  std::lock_guard locked(lock_);
  return counters_;
}

std::shared_ptr<offload_pool> program_pool::of(const config& settings) {
  std::lock_guard locked(lock_);
  if (pool_ == nullptr) pool_ = std::make_shared<offload_pool>(settings);
  return pool_;
}

}  // namespace weir::detail
