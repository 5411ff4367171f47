// `weir-bench load`: its command line.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace weir::load {

/// Adds the subcommand; `chosen` becomes what runs when it was given.
void describe_load(CLI::App& app, std::function<int()>& chosen);

/// Statuses that `weir-bench load` ends with.
enum exit_status : int {
  stands = 0,
  cannot = 1,          ///< it could not be measured
  spoiled = 3,         ///< it was measured, and the figures do not stand
  worse_than_base = 4  ///< than the baseline
};

}  // namespace weir::load
