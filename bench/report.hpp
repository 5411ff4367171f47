// How results are shown and kept: tables for people, Markdown for a README, JSON for tools and for
// `compare`, SVG plots and one page that holds everything.
#pragma once

#include <string>
#include <vector>

#include "results.hpp"

namespace weir::bench {

struct table_style {
  bool markdown = false;
  bool brief = false;  // back end, p50, p99, requests/s, CPU per request
};

/// Rows of equal length, the first one their header; the first column to the left.
std::string render_rows(const std::vector<std::vector<std::string>>& rows, bool markdown);

std::string render_tables(const run_outcome& run, table_style style);

/// Throws std::system_error when the file cannot be written.
void save_json(const run_outcome& run, const std::string& path);

/// Draws one file per plot into `directory` through gnuplot; returns the files' paths, none (and a
/// note in `why_not`) where gnuplot is missing.
std::vector<std::string> save_plots(const run_outcome& run, const std::string& directory,
                                    std::string& why_not);

/// A page that needs no network: tables and plots in one file. `plots` are SVG files to take in;
/// `summary` comes first.
void save_page(const run_outcome& run, const std::vector<std::string>& plots,
               const std::string& path, const std::string& summary = "");

/// The same with plots that are drawn for the page alone; `why_not` says why there are none.
void save_page_with_plots(const run_outcome& run, const std::string& path,
                          const std::string& summary, std::string& why_not);

/// Compares two JSON files, cell by cell and server by server; names a difference only where it
/// exceeds the spread. Throws std::runtime_error when a file is not a result of weir-bench.
std::string compare_files(const std::string& before, const std::string& after);

}  // namespace weir::bench
