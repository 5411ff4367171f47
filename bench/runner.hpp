// Runs the benchmark: every server afresh for every round, the servers of a cell taking turns, on
// cores of their own.
#pragma once

#include <vector>

#include "other_loads.hpp"
#include "process.hpp"
#include "results.hpp"

namespace weir::bench {

/// The clocks at an edge of the measured window.
struct edge {
  process_usage usage;             // of what is measured
  std::int64_t core_busy_ns = -1;  // of its core
  std::int64_t all_busy_ns = -1;   // of all cores that this program may use
  unsigned workers = 0;
};
edge read_edge(const server_process& measured, int cpu);

/// Puts one load, of the kind that `what` says, on `targets`. wrk gets `load_cpu`.
load_result put_under(const cell& what, const load_settings& load,
                      const std::vector<endpoint>& targets, int load_cpu, const load_hooks& hooks);

/// What a load and the clocks at its edges come to.
measurement figures_of(const load_result& result, const edge& before, const edge& after);

/// Never throws for what a server does: its row says why it has no figures, and the run goes on.
run_outcome run_benchmark(const run_settings& settings);

}  // namespace weir::bench
