// See task_collector.hpp.
#include "runtime/observe/task_collector.hpp"

#include <utility>

#include "weir/shard.hpp"

namespace weir::detail {

/// `answered` is home's thread's.
struct task_collector::asked {
  std::shared_ptr<task_question> question;
  event answered;
};

task_collector::task_collector(shard& home, std::vector<shard*> targets)
    : home_(home), targets_(std::move(targets)), pending_(targets_.size()) {}

task_collector::~task_collector() {
  for (auto& one : pending_)
    if (one) one->question->give_up();
}

void task_collector::ask(std::size_t target, const task_bounds& bounds) {
  auto one = std::make_shared<asked>();
  // The question holds back its giver-up while it answers, so `home_` is there.
  one->question = std::make_shared<task_question>(
      *targets_[target], bounds,
      [&home = home_, weak = std::weak_ptr(one)](const std::shared_ptr<task_question>&) {
        home.post([weak] {
          if (const auto strong = weak.lock()) strong->answered.set();
        });
      });
  pending_[target] = one;
  one->question->ask();
}

/// False: it is silent.
task<bool> task_collector::answer_of(std::size_t target) {
  auto one = pending_[target];
  for (auto seen = one->question->pieces();;) {
    const auto waited = co_await one->answered.wait().timeout(patience).nothrow();
    if (one->answered.is_set()) co_return one->question->report().has_value();
    if (waited == std::errc::operation_canceled) throw io_error(waited, "tasks");
    const auto now = one->question->pieces();
    if (now == std::exchange(seen, now)) co_return false;
  }
}

task<process_tasks> task_collector::collect(task_bounds bounds) {
  auto turn = co_await one_at_a_time_.lock();
  for (std::size_t i = 0; i < targets_.size(); ++i)
    if (!pending_[i] || pending_[i]->answered.is_set()) ask(i, bounds);
  process_tasks out;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    const bool there = co_await answer_of(i);
    if (there)
      out.shards.push_back(std::move(*pending_[i]->question->report()));
    else
      out.silent.push_back(targets_[i]);
    if (pending_[i]->answered.is_set()) pending_[i].reset();
  }
  co_return out;
}

}  // namespace weir::detail
