// Runs the benchmark: every server afresh for every round, the servers of a cell taking turns, on
// cores of their own.
#pragma once

#include "results.hpp"

namespace weir::bench {

/// Never throws for what a server does: its row says why it has no figures, and the run goes on.
run_outcome run_benchmark(const run_settings& settings);

}  // namespace weir::bench
