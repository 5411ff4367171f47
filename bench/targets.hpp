// weir-bench table: what weir promises of its speed, as ratios measured side by side in one
// interleaved run, each with its median, its spread and a verdict.
#pragma once

#include <string>
#include <vector>

#include "results.hpp"
#include "statistics.hpp"

namespace weir::bench {

struct table_settings {
  unsigned rounds = 5;
  double duration_s = 2;
  double warmup_s = 0.4;
  bool quick = false;  // shows that every row works, in half a minute; no figure means anything
  bool quiet = false;
  bool markdown = false;
  std::string bin_dir;
  std::string json_file, page_file, markdown_file;
};

/// A promise: `of` against the best of `to`, both servers of one cell of the run.
struct target {
  std::string title;
  std::string compared_with;
  std::size_t cell = 0;
  std::string of;
  std::vector<std::string> to;
  metric what = metric::cpu_us;
  bool at_most = true;
  double wanted = 1;
};

/// The ratios of a target, round by round, against that server of `to` that did best; `best` gets
/// its label. No rounds where either has no figures.
summary ratio_of(const run_outcome& run, const target& t, std::string& best);

/// A row of the table: target, median, spread, verdict. `rounds` of them at least say something.
std::vector<std::string> target_row(const std::string& title, const std::string& with,
                                    const summary& s, bool at_most, double wanted, const char* unit,
                                    std::size_t rounds = least_rounds);
/// Its header.
std::vector<std::string> target_header();

/// Runs everything and prints the table; 0 when every row has a figure, whatever the verdicts.
int run_table(const table_settings& settings);

}  // namespace weir::bench
