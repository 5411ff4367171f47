// `weir-bench agent`: a load that another machine's weir-bench leads, over standard input and
// output.
#pragma once

namespace weir::load {

/// Carries out what comes on standard input until it ends; then so does the process, whatever runs.
int run_agent();

}  // namespace weir::load
