// What is shown and kept of a load: text for a terminal, JSON, CSV, an HdrHistogram log, lines for
// Prometheus. Figures that do not stand are nowhere in them, unless they are asked for (`anyway`).
#pragma once

#include <string>
#include <vector>

#include "load/runner.hpp"
#include "load/search.hpp"

namespace weir::load {

struct report_style {
  bool markdown = false;
  bool anyway = false;  ///< figures that do not stand, too
};

std::string describe(const plan& of);
std::string text_of(const std::vector<series>& all, const run_settings& how, report_style style);
/// "B serves 12% more requests a second than A", or that nothing can be told; empty for one target.
std::string verdict_of(const std::vector<series>& all);

/// docs/benchmarks.md has the schema.
std::string json_of(const std::vector<series>& all, const run_settings& how, report_style style);
/// A line for each target and round.
std::string csv_of(const std::vector<series>& all, report_style style);
/// Version 1.3 of the log of HdrHistogram: its intervals are the time line's.
std::string hdr_log_of(const std::vector<series>& all, double begun_s);
std::string prometheus_of(const std::vector<series>& all, report_style style);

/// One HTML file with everything, for a browser without a network. `doctor`: what it found.
std::string page_of(const std::vector<series>& all, const run_settings& how, report_style style,
                    const std::vector<probe>& curve, const std::vector<std::string>& doctor);

/// One interval's histogram as HdrHistogram's V2, compressed, in Base64.
std::string hdr_payload(const std::vector<std::pair<std::uint64_t, std::uint64_t>>& counts);

/// Throws std::system_error.
void save_text(const std::string& path, const std::string& text);

}  // namespace weir::load
