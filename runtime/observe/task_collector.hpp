// Asks every shard of a process what its coroutines wait for. It lives on a shard of its own. At
// most one question is under way to a shard; one that hangs is left out, and said to be.
#pragma once

#include <memory>
#include <vector>

#include "runtime/observe/tasks_json.hpp"
#include "runtime/tasks/asking.hpp"
#include "weir/sync.hpp"
#include "weir/task.hpp"

namespace weir::detail {

class task_collector {
 public:
  /// How long a shard may be silent; one that goes on answering has longer.
  static constexpr duration patience = std::chrono::seconds(1);

  /// `home` runs the collector, which goes before it does. The targets' loops have stopped before
  /// the collector goes, or go on.
  task_collector(shard& home, std::vector<shard*> targets);
  ~task_collector();
  task_collector(const task_collector&) = delete;
  task_collector& operator=(const task_collector&) = delete;

  /// Throws operation_canceled.
  task<process_tasks> collect(task_bounds bounds);

 private:
  struct asked;
  void ask(std::size_t target, const task_bounds& bounds);
  task<bool> answer_of(std::size_t target);

  shard& home_;
  std::vector<shard*> targets_;
  std::vector<std::shared_ptr<asked>> pending_;  // one for each target, or none
  mutex one_at_a_time_;
};

}  // namespace weir::detail
