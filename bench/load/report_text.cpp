// A load's outcome for people: what was asked, whether it stands, then the figures.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>

#include "bench/report.hpp"
#include "load/report.hpp"

namespace weir::load {
namespace {

std::string us(double value) {
  if (value >= 1e6) return fmt::format("{:.2f} s", value / 1e6);
  if (value >= 1e4) return fmt::format("{:.1f} ms", value / 1e3);
  return value < 100 ? fmt::format("{:.1f} us", value) : fmt::format("{:.0f} us", value);
}
std::string us_of(std::uint64_t ns) { return us(static_cast<double>(ns) / 1e3); }

std::string percentiles(const bench::latency_histogram& of) {
  return fmt::format("p50 {}   p90 {}   p99 {}   p99.9 {}   max {}", us_of(of.at(0.5)),
                     us_of(of.at(0.9)), us_of(of.at(0.99)), us_of(of.at(0.999)), us_of(of.max()));
}

std::string problems(const judgement& of, bool anyway) {
  std::string out;
  for (const auto& one : of.spoiled)
    out += fmt::format("  {}: {}\n      change: {}\n", anyway ? "doubtful" : "not shown", one.what,
                       one.change);
  for (const auto& one : of.notes)
    out += fmt::format("  note: {}\n      ({})\n", one.what, one.change);
  return out;
}

std::string figures(const plan& of, const outcome& seen) {
  std::string out;
  const auto shown = latencies_of(of, seen);
  const auto bytes = static_cast<double>(seen.sent_bytes + seen.received_bytes);
  out += fmt::format("  requests/s   {:.0f}{}   {:.1f} MB/s both ways\n", seen.rate(),
                     of.mode == loop::open ? fmt::format(" of {:.0f}", of.rate) : "",
                     bytes / 1e6 / std::max(1e-9, seen.seconds));
  if (shown.shown.count() > 0)
    out += fmt::format("  latency      {}{}\n", percentiles(shown.shown),
                       shown.corrected ? "   (corrected)" : "");
  if (of.mode == loop::open && seen.service.count() > 0)
    out += fmt::format("  once sent    {}\n", percentiles(seen.service));
  if (seen.server.known)
    out += fmt::format("  server       {:.2f} us of CPU a request, {:.3f} switches, {:.1f} MB\n",
                       value_of(of, seen, figure::cpu_us),
                       static_cast<double>(seen.server.switches) /
                           std::max(1.0, static_cast<double>(seen.answers)),
                       static_cast<double>(seen.server.resident_bytes) / 1e6);
  return out;
}

std::string own_line(const plan& of, const outcome& seen) {
  const double busy = seen.busy.empty() ? 0 : *std::max_element(seen.busy.begin(), seen.busy.end());
  return fmt::format(
      "  the load     late by p50 {}, p99 {}; {:.0f}% of its busiest core; {:.2f} us of CPU a "
      "request\n",
      us_of(seen.lateness.at(0.5)), us_of(seen.lateness.at(0.99)), busy * 100,
      value_of(of, seen, figure::own_cpu_us));
}

std::string one_run(const series& one, report_style style) {
  const auto& seen = one.rounds.front();
  const auto& judged = one.judged.front();
  std::string out = describe(one.of) + "\n";
  out += problems(judged, style.anyway);
  if (judged.good() || (style.anyway && seen.failure.empty())) out += figures(one.of, seen);
  if (seen.failure.empty()) out += own_line(one.of, seen);
  return out;
}

std::string cell(const bench::summary& of) {
  const auto text = of.median >= 10'000 ? fmt::format("{:.1f} k", of.median / 1e3)
                    : of.median >= 100  ? fmt::format("{:.0f}", of.median)
                                        : fmt::format("{:.2f}", of.median);
  return of.rounds < 2 ? text : fmt::format("{} ±{:.0f}%", text, of.relative_spread() * 100);
}

std::string table(const std::vector<series>& all, report_style style) {
  std::vector<std::vector<std::string>> rows{{"target"}};
  for (const auto& row : figure_rows) rows[0].emplace_back(row.title);
  for (const auto& one : all) {
    auto& line = rows.emplace_back();
    line.push_back(one.of.to.text);
    const bool shown = one.good() || (style.anyway && one.rounds[0].failure.empty());
    for (const auto& row : figure_rows) {
      const bool known = row.which != figure::cpu_us || one.rounds[0].server.known;
      line.push_back(shown && known ? cell(summary_of(one, row.which)) : "-");
    }
  }
  return bench::render_rows(rows, style.markdown);
}

}  // namespace

std::string describe(const plan& of) {
  std::string what = fmt::format("{}   {} connection{}", of.to.text, of.connections,
                                 of.connections == 1 ? "" : "s");
  if (of.depth > 1) what += fmt::format(", {} requests in flight on each", of.depth);
  if (of.requests_per_connection > 0)
    what += fmt::format(", closed after {}", of.requests_per_connection);
  if (!of.to.http() && of.to.kind != scheme::redis && of.to.kind != scheme::dns)
    what += fmt::format(", {} B", of.size);
  if (of.mode == loop::closed)
    what += ", closed loop";
  else if (of.arrivals == arrival::recorded)
    what += ", recorded arrivals";
  else
    what +=
        fmt::format(", {:.0f}/s {}", of.rate,
                    of.arrivals == arrival::constant  ? "constant"
                    : of.arrivals == arrival::poisson ? "Poisson"
                                                      : fmt::format("in bursts of {}", of.burst));
  return what + fmt::format(", {:.1f} s", std::chrono::duration<double>(of.window).count());
}

namespace {

bool is_compared(const series& base, figure which) {
  if (which == figure::own_cpu_us) return false;
  if (which == figure::rate) return base.of.mode == loop::closed;
  return which != figure::cpu_us || base.rounds[0].server.known;
}

std::string verdict_on(const series& base, const series& other) {
  std::string better, worse, close, few;
  for (const auto& row : figure_rows) {
    if (!is_compared(base, row.which)) continue;
    const auto before = summary_of(base, row.which), after = summary_of(other, row.which);
    const auto said = tell_apart(before, after);
    auto& list = said == bench::verdict::too_few_rounds                   ? few
                 : said == bench::verdict::too_close                      ? close
                 : (said == bench::verdict::higher) == row.more_is_better ? better
                                                                          : worse;
    list += fmt::format("{}{} {:+.1f}%", list.empty() ? "" : ", ", row.title,
                        before.median == 0 ? 0 : (after.median / before.median - 1) * 100);
  }
  std::string out;
  const auto add = [&out](const char* word, const std::string& list) {
    if (!list.empty()) out += fmt::format("{}{}: {}", out.empty() ? "" : "; ", word, list);
  };
  add("better", better);
  add("worse", worse);
  add("within the spread", close);
  add("too few rounds to tell (--rounds 6)", few);
  return out;
}

}  // namespace

std::string verdict_of(const std::vector<series>& all) {
  std::string out;
  for (std::size_t i = 1; i < all.size(); ++i)
    out += fmt::format("{} against {}: {}\n", all[i].of.to.text, all[0].of.to.text,
                       all[0].good() && all[i].good() ? verdict_on(all[0], all[i])
                                                      : "not compared, since a run does not stand");
  return out;
}

std::string text_of(const std::vector<series>& all, const run_settings& how, report_style style) {
  std::string out;
  if (all.size() == 1 && all[0].rounds.size() == 1) {
    out = one_run(all[0], style);
  } else {
    out = verdict_of(all);
    if (!out.empty()) out += "\n";
    out += table(all, style);
    for (const auto& one : all)
      for (std::size_t i = 0; i < one.rounds.size(); ++i)
        if (!one.judged[i].good() || !one.judged[i].notes.empty())
          out += fmt::format("{}, round {}\n{}", one.of.to.text, i + 1,
                             problems(one.judged[i], style.anyway));
  }
  return out + fmt::format("  ({} on {} shard{})\n", how.config.backend, how.config.shard_count(),
                           how.config.shard_count() == 1 ? "" : "s");
}

void save_text(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.flush();
  if (!out) throw std::system_error(errno, std::system_category(), path);
}

}  // namespace weir::load
