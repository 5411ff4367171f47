// What `weir-bench load` does beside measuring once: searches, finding how many rounds a difference
// takes, comparing with a baseline.
#pragma once

#include <string>
#include <vector>

#include "load/options.hpp"
#include "load/runner.hpp"
#include "load/search.hpp"

namespace weir::load {

/// Options of these.
struct search_options {
  std::string what;         ///< "knee", "saturation", "curve"; empty: no search
  double below_ms = 10;     ///< knee: p99
  double from = 0, to = 0;  ///< rates; 0: found by a closed loop
  unsigned steps = 10;      ///< of a curve
  double detect = 0;        ///< percent; 0: not asked for
};

/// Prints as it goes; returns the runs, for the page.
std::vector<probe> search(const plan& of, const run_settings& how, const tolerances& within,
                          const search_options& what, bool markdown);

/// Two targets (or one, against itself): so many rounds that a difference of `percent` is told.
std::vector<series> detect(const std::vector<plan>& plans, const run_settings& how,
                           const tolerances& within, double percent);

/// Compares with what --json has saved; `worse` where a figure is. Throws std::runtime_error for a
/// file that is no such thing.
std::string compare_with(const std::string& path, const std::vector<series>& all, bool& worse);

}  // namespace weir::load
