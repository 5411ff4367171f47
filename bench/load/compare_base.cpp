// A run against one that was saved: for programs that watch a server from day to day.
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "load/searching.hpp"

namespace weir::load {
namespace {

using json = nlohmann::json;

json read_base(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path + " cannot be read");
  json out = json::parse(in, nullptr, false);
  if (out.is_discarded() || !out.is_object() || out.value("weir_bench_load", 0) != 1)
    throw std::runtime_error(path + " is no result of weir-bench load --json");
  return out;
}

bench::summary read_figure(const json& target, const char* name) {
  std::vector<double> values;
  for (const auto& round : target.at("rounds"))
    if (round.contains("figures") && round["figures"].contains(name))
      values.push_back(round["figures"][name].get<double>());
  return bench::summarize(std::move(values));
}

/// A difference in these makes a run worse; the others are shown.
bool decides(const plan& of, figure which) {
  if (which == figure::rate) return of.mode == loop::closed;
  return which == figure::p50_us || which == figure::p99_us || which == figure::cpu_us;
}

}  // namespace

std::string compare_with(const std::string& path, const std::vector<series>& all, bool& worse) {
  const json base = read_base(path);
  std::string out;
  try {
    for (const auto& one : all) {
      const json* before = nullptr;
      for (const auto& target : base.at("targets"))
        if (target.value("url", "") == one.of.to.text) before = &target;
      if (before == nullptr) {
        out += fmt::format("{}: not in {}\n", one.of.to.text, path);
        continue;
      }
      for (const auto& row : figure_rows) {
        const auto old = read_figure(*before, row.name), now = summary_of(one, row.which);
        if (old.rounds == 0 || !one.good() || row.which == figure::own_cpu_us) continue;
        const auto said = tell_apart(old, now);
        const bool told = said == bench::verdict::higher || said == bench::verdict::lower;
        const bool better = (said == bench::verdict::higher) == row.more_is_better;
        if (told && !better && decides(one.of, row.which)) worse = true;
        out += fmt::format("{}: {} {:.2f} -> {:.2f}: {}\n", one.of.to.text, row.title, old.median,
                           now.median,
                           said == bench::verdict::too_few_rounds ? "too few rounds to tell"
                           : !told                                ? "within the spread"
                           : better                               ? "better"
                                                                  : "WORSE");
      }
    }
  } catch (const json::exception& error) {
    throw std::runtime_error(fmt::format("{}: {}", path, error.what()));
  }
  return out;
}

}  // namespace weir::load
