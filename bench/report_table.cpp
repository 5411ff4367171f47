// Tables of results, aligned for a terminal or as Markdown. Each figure is the median of the
// rounds, with half their range.
#include <fmt/core.h>

#include <algorithm>

#include "report.hpp"

namespace weir::bench {
namespace {

using text_row = std::vector<std::string>;

std::size_t width_of(
    const std::string& text) {  // in characters: UTF-8 continuation bytes take no room
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string pad(const std::string& text, std::size_t width, bool right) {
  const std::string space(width - std::min(width, width_of(text)), ' ');
  return right ? space + text : text + space;
}

std::string microseconds(double value) {
  return value < 100 ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value);
}

std::string with_spread(const summary& s, const std::string& text) {
  return s.rounds < 2 ? text : fmt::format("{} ±{:.0f}%", text, s.relative_spread() * 100);
}

std::string rate(double value) {
  return value >= 10'000 ? fmt::format("{:.1f} k", value / 1e3) : fmt::format("{:.0f}", value);
}

std::string per_request_or_dash(double value) {
  return value < 0 ? "-" : value == 0 ? "0" : fmt::format("{:.3f}", value);
}

text_row bulk_header() {
  return {"server",         "MB/s",        "CPU s/GB", "system calls/MB",
          "allocations/MB", "switches/MB", "load busy"};
}

text_row bulk_figures(const server_outcome& s) {
  const auto speed = s.of(metric::megabytes_per_s), cpu = s.of(metric::cpu_s_per_gigabyte);
  return {s.spec.label,
          with_spread(speed, fmt::format("{:.0f}", speed.median)),
          with_spread(cpu, fmt::format("{:.3f}", cpu.median)),
          s.syscalls.empty() ? "-" : fmt::format("{:.2f}", s.syscalls_total()),
          per_request_or_dash(s.allocations),
          fmt::format("{:.3f}", s.of(metric::switches).median),
          fmt::format("{:.0f}%", s.of(metric::load_busy).median * 100)};
}

text_row header(bool brief) {
  if (brief) return {"back end", "p50 us", "p99 us", "requests/s", "CPU us/request"};
  return {"server",          "requests/s",   "p50 us",   "p90 us",     "p99 us",
          "p99.9 us",        "p99.99 us",    "max us",   "CPU us/req", "system calls/req",
          "allocations/req", "switches/req", "load busy"};
}

text_row figures(const server_outcome& s, bool brief) {
  const auto plain = [&](metric m) { return microseconds(s.of(m).median); };
  const auto throughput = s.of(metric::requests_per_s);
  const auto cpu = s.of(metric::cpu_us);
  if (brief)
    return {s.spec.label, plain(metric::p50_us), plain(metric::p99_us),
            with_spread(throughput, rate(throughput.median)),
            with_spread(cpu, fmt::format("{:.2f}", cpu.median))};
  return {s.spec.label,
          with_spread(throughput, rate(throughput.median)),
          with_spread(s.of(metric::p50_us), plain(metric::p50_us)),
          plain(metric::p90_us),
          with_spread(s.of(metric::p99_us), plain(metric::p99_us)),
          plain(metric::p999_us),
          plain(metric::p9999_us),
          plain(metric::max_us),
          with_spread(cpu, fmt::format("{:.2f}", cpu.median)),
          s.syscalls.empty() ? "-" : fmt::format("{:.2f}", s.syscalls_total()),
          per_request_or_dash(s.allocations),
          fmt::format("{:.3f}", s.of(metric::switches).median),
          fmt::format("{:.0f}%", s.of(metric::load_busy).median * 100)};
}

}  // namespace

std::string render_rows(const std::vector<text_row>& rows, bool markdown) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  std::string out;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line = markdown ? "|" : "";
    for (std::size_t i = 0; i < rows[r].size(); ++i)
      line += (markdown ? " "
               : i == 0 ? ""
                        : "  ") +
              pad(rows[r][i], widths[i], i != 0) + (markdown ? " |" : "");
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += line + "\n";
    if (r != 0) continue;
    std::string rule = markdown ? "|" : "";
    for (std::size_t i = 0; i < widths.size(); ++i)
      rule += markdown ? (i == 0 ? " --- |" : " ---: |")
                       : (i == 0 ? "" : "  ") + std::string(widths[i], '-');
    out += rule + "\n";
  }
  return out;
}

std::string render_tables(const run_outcome& run, table_style style) {
  std::string out;
  for (const auto& c : run.cells) {
    const std::string title = fmt::format("{} ({} round{} of {:.1f} s)", title_of(c.what),
                                          run.settings.rounds, run.settings.rounds == 1 ? "" : "s",
                                          static_cast<double>(run.settings.duration_ns) / 1e9);
    out += style.markdown ? "**" + title + "**\n\n" : title + "\n";
    const bool bulk = is_bulk(c.what.kind);
    std::vector<text_row> rows{bulk ? bulk_header() : header(style.brief)};
    std::string notes;
    for (const auto& s : c.servers) {
      if (!s.rounds.empty()) rows.push_back(bulk ? bulk_figures(s) : figures(s, style.brief));
      if (!s.error.empty()) notes += fmt::format("{}: {}\n", s.spec.label, s.error);
      if (!s.syscalls_note.empty() && !style.brief)
        notes += fmt::format("{}: system calls not counted: {}\n", s.spec.label, s.syscalls_note);
      if (s.unfinished > 0)
        notes += fmt::format("{}: {} requests were never answered\n", s.spec.label, s.unfinished);
      if (!s.rounds.empty() && !run.settings.spin && s.of(metric::load_busy).median > 0.97 &&
          !style.brief)
        notes += fmt::format("{}: the load's core was full: requests/s is a lower bound\n",
                             s.spec.label);
    }
    if (rows.size() > 1) out += render_rows(rows, style.markdown);
    if (!notes.empty()) out += (style.markdown ? "\n" : "") + notes;
    out += "\n";
  }
  return out;
}

}  // namespace weir::bench
