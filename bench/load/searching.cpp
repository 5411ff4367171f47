// See searching.hpp.
#include "load/searching.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "load/report.hpp"

namespace weir::load {
namespace {

probe run_once(const plan& of, double rate, const run_settings& how, const tolerances& within) {
  plan at = of;
  at.mode = loop::open;
  at.rate = rate;
  const auto seen = measure(at, how);
  const auto judged = judge(at, seen, within);
  probe out;
  out.rate = rate;
  out.came = seen.rate();
  out.p50_us = value_of(at, seen, figure::p50_us);
  out.p99_us = value_of(at, seen, figure::p99_us);
  out.cpu_us = value_of(at, seen, figure::cpu_us);
  out.stands = judged.good();
  if (!out.stands) out.why = judged.spoiled.front().code;
  fmt::print(stderr, "  {:>10.0f}/s  {}\n", rate,
             out.stands ? fmt::format("p99 {:.0f} us", out.p99_us) : judged.spoiled.front().what);
  return out;
}

double closed_loop_rate(const plan& of, const run_settings& how) {
  plan closed = of;
  closed.mode = loop::closed;
  const auto seen = measure(closed, how);
  fmt::print(stderr, "  closed loop: {:.0f}/s\n", seen.rate());
  return seen.rate();
}

}  // namespace

std::vector<probe> search(const plan& of, const run_settings& how, const tolerances& within,
                          const search_options& what, bool markdown) {
  const double high = what.to > 0 ? what.to : closed_loop_rate(of, how) * 1.2;
  if (!(high > 0)) {
    fmt::print("no rate was found: the closed loop got no answer\n");
    return {};
  }
  const double low = std::min(what.from > 0 ? what.from : high / 32, high);
  const run_at run = [&](double rate) { return run_once(of, rate, how, within); };
  if (what.what == "curve") {
    auto tried = curve(run, high, what.steps);
    fmt::print("{}\n{}", of.to.text, table_of(tried, markdown));
    return tried;
  }
  const bool knee = what.what == "knee";
  const auto holds = [&](const probe& p) {
    return p.stands && (!knee || p.p99_us <= what.below_ms * 1e3);
  };
  auto result = highest(run, holds, low, high);
  if (result.rate == 0)
    fmt::print("{}: not even {:.0f} requests a second {}\n", of.to.text, low,
               knee ? fmt::format("have p99 within {} ms", what.below_ms) : "are kept");
  else
    fmt::print("{}: {:.0f} requests a second {}\n", of.to.text, result.rate,
               knee ? fmt::format("with p99 within {} ms", what.below_ms) : "are kept");
  std::sort(result.tried.begin(), result.tried.end(),
            [](const probe& a, const probe& b) { return a.rate < b.rate; });
  fmt::print("{}", table_of(result.tried, markdown));
  return result.tried;
}

std::vector<series> detect(const std::vector<plan>& plans, const run_settings& how,
                           const tolerances& within, double percent) {
  std::vector<plan> two = plans;
  if (two.size() == 1) two.push_back(two.front());
  const auto begun = std::chrono::steady_clock::now();
  auto all = measure_all(two, how, rounds_to_compare, within);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  const auto kind = all[0].rounds[0].server.known ? figure::cpu_us
                    : two[0].mode == loop::closed ? figure::rate
                                                  : figure::p50_us;
  unsigned rounds = rounds_to_compare;
  for (const auto& one : all) {
    std::vector<double> values;
    for (const auto& round : one.rounds) values.push_back(value_of(one.of, round, kind));
    rounds = std::max(rounds, rounds_needed(values, percent / 100));
  }
  const double minutes = took.count() / rounds_to_compare * rounds / 60;
  fmt::print("a difference of {}% takes {} rounds of each here: {:.1f} minutes\n", percent, rounds,
             minutes);
  std::fflush(stdout);
  if (rounds == rounds_to_compare) return all;
  const auto more = measure_all(two, how, rounds - rounds_to_compare, within);
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto& sum = all[i];
    sum.rounds.insert(sum.rounds.end(), more[i].rounds.begin(), more[i].rounds.end());
    sum.judged.insert(sum.judged.end(), more[i].judged.begin(), more[i].judged.end());
  }
  return all;
}

}  // namespace weir::load
