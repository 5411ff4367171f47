// See collector.hpp.
#include "runtime/observe/collector.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <utility>

#include "weir/shard.hpp"

namespace weir::detail {

/// One question, shared by who asks and who answers: either may be gone when the other comes to it.
struct collector::question {
  std::mutex lock;        // of `home`: the asking shard is not gone while somebody posts to it
  shard* home = nullptr;  // null: it went, and nobody will read the answer
  shard* target = nullptr;
  snapshot_bounds bounds;
  snapshot_function take;
  shard_snapshot result;  // the target's until `answered` is set
  bool failed = false;    // out of memory
  event answered;         // home's thread only

  bool given_up() {
    const std::lock_guard locked(lock);
    return home == nullptr;
  }
};

collector::collector(shard& home, std::vector<shard*> targets, snapshot_function take)
    : home_(home), targets_(std::move(targets)), take_(take), pending_(targets_.size()) {}

collector::~collector() {
  for (auto& q : pending_) {
    if (!q) continue;
    const std::lock_guard locked(q->lock);
    q->home = nullptr;
  }
}

// On the target's thread.
void collector::answer(const std::shared_ptr<question>& q) noexcept {
  if (q->given_up()) return;
  try {
    q->result = q->take(*q->target, q->bounds);
  } catch (const std::exception&) {
    q->failed = true;
  }
  // The snapshot took its time, in which the asking shard may have gone.
  const std::lock_guard locked(q->lock);
  if (q->home != nullptr) q->home->post([q] { q->answered.set(); });
}

void collector::ask(std::size_t target, std::size_t connections) {
  auto q = std::make_shared<question>();
  q->home = &home_;
  q->target = targets_[target];
  q->bounds.connections = connections;
  q->take = take_;
  pending_[target] = q;
  ++asked_;
  targets_[target]->post([q] { answer(q); });
}

task<std::shared_ptr<const process_snapshot>> collector::collect(std::size_t connections) {
  auto turn = co_await one_at_a_time_.lock();
  const bool enough = latest_ && latest_->connections_asked >= connections;
  if (enough && home_.now() - latest_->taken < fresh) co_return latest_;
  for (std::size_t i = 0; i < targets_.size(); ++i)
    // A question that was not answered in time is not repeated before it is: a shard that hangs
    // finds one message, not a thousand. A late answer is stale.
    if (!pending_[i] || pending_[i]->answered.is_set()) ask(i, connections);
  auto out = std::make_shared<process_snapshot>();
  out->connections_asked = connections;
  const auto until = home_.now() + patience;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    auto q = pending_[i];
    const auto left = std::max(until - home_.now(), duration(0));
    auto waited = co_await q->answered.wait().timeout(left).nothrow();
    if (waited == std::errc::operation_canceled) throw io_error(waited, "snapshot");
    if (!q->answered.is_set()) {
      out->silent.push_back(targets_[i]->index());
      continue;
    }
    pending_[i].reset();
    if (q->failed)
      out->silent.push_back(targets_[i]->index());
    else
      out->shards.push_back(std::move(q->result));
  }
  out->taken = home_.now();
  latest_ = std::move(out);
  co_return latest_;
}

}  // namespace weir::detail
