// /tasks: what the coroutines of a process wait for, as JSON.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/core/task_report.hpp"
#include "runtime/observe/exposition.hpp"

namespace weir {
class shard;
}

namespace weir::detail {

/// Every shard's report.
struct process_tasks {
  std::vector<task_report> shards;  ///< of those that answered
  std::vector<shard*> silent;       ///< those that did not, in time
};

std::string to_tasks_json(const process_tasks& from, const process_facts& facts,
                          std::size_t listed);

}  // namespace weir::detail
