// A question to a shard: what do your coroutines wait for? It is answered piece by piece, a piece a
// turn, so that a million tasks do not hold the shard up. Asked from any thread.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "runtime/core/task_report.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

class task_question : public std::enable_shared_from_this<task_question> {
 public:
  /// `answered` is called once, on the shard's thread, unless give_up() came before.
  task_question(shard& target, const task_bounds& bounds,
                std::function<void(std::shared_ptr<task_question>)> answered)
      : target_(&target), bounds_(bounds), answered_(std::move(answered)) {}

  void ask() {
    target_->post([self = shared_from_this()] { self->go_on(); });
  }
  /// Nobody reads the answer any more. Waits for an answer that is being given.
  void give_up() {
    const std::lock_guard locked(lock_);
    answered_ = nullptr;
  }

  shard& target() const { return *target_; }
  /// Turns in which it was answered so far.
  unsigned pieces() const { return pieces_.load(std::memory_order_relaxed); }
  /// Once it is answered. Nothing: there was no memory for it.
  std::optional<task_report>& report() { return report_; }

 private:
  void go_on() noexcept {
    {
      const std::lock_guard locked(lock_);
      if (answered_ == nullptr) return reporter_.reset();
    }
    bool ended = true;
    try {
      if (!reporter_) reporter_.emplace(*target_, bounds_);
      ended = reporter_->go_on();
      if (ended) report_ = reporter_->take();
      if (!ended) ask();
    } catch (const std::exception&) {
      ended = true;
    }
    pieces_.fetch_add(1, std::memory_order_relaxed);
    if (!ended) return;
    reporter_.reset();  // here, where its shard is
    const std::lock_guard locked(lock_);
    if (answered_) answered_(shared_from_this());
  }

  shard* target_;
  task_bounds bounds_;
  std::mutex lock_;
  std::function<void(std::shared_ptr<task_question>)> answered_;
  std::optional<task_reporter> reporter_;
  std::optional<task_report> report_;
  std::atomic<unsigned> pieces_{0};
};

}  // namespace weir::detail
