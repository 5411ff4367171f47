// See runner.hpp.
#include "load/runner.hpp"

#include <fmt/core.h>
#include <sys/prctl.h>

#include <cstdio>
#include <exception>
#include <thread>

#include "load/agents.hpp"
#include "load/engine.hpp"
#include "load/machine.hpp"
#include "weir/runtime.hpp"

namespace weir::load {
namespace {

std::string line_of(const slice& mine, double rate, std::uint64_t errors) {
  bench::latency_histogram part;
  for (const auto& [value, count] : mine.latencies) part.record(value, count);
  return fmt::format("  {:6.1f} s  {:>10.0f}/s  p50 {:>9.1f} us  p99 {:>9.1f} us  errors {}\n",
                     mine.begin_s + mine.seconds, rate, static_cast<double>(part.at(0.5)) / 1e3,
                     static_cast<double>(part.at(0.99)) / 1e3, errors);
}

/// A server on another machine is looked at by threads of their own: the load does not wait.
class far_watch {
 public:
  far_watch(const run_settings& how, const watched_server& of) : watch_(how, of) {}
  ~far_watch() { settle(); }
  void begin() {
    work_ = std::thread([this] { watch_.begin(); });
  }
  void end() {
    settle();
    work_ = std::thread([this] { watch_.end(); });
  }
  const process_figures& seen() {
    settle();
    return watch_.seen();
  }

 private:
  void settle() {
    if (work_.joinable()) work_.join();
  }
  server_watch watch_;
  std::thread work_;
};

task<> load_shard(run_context& run, shard& here, outcome& into) {
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  machine_clocks time;
  co_await run_on_shard(run, here, here.index(), time, into);
}

}  // namespace

process_figures server_watch::look() const {
  if (!how_.others || !how_.others->watch()) return machine().figures(of_);
  try {
    return how_.others->usage(of_);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return {};
  }
}

outcome measure(const plan& of, const run_settings& how) {
  if (how.others && how.others->load()) return how.others->measure(of, how);
  together alone;
  if (how.live) alone.progress = [](const std::string& line) { fmt::print(stderr, "{}", line); };
  return measure_here(of, how, alone);
}

outcome measure_here(const plan& of, const run_settings& how, const together& with) {
  outcome sum;
  try {
    const auto config = resolve_backend(how.config);
    const unsigned shards = config.shard_count();
    run_context run(of, shards);
    const machine here;
    const bool far = how.others && how.others->watch();
    machine_watch watch(here, far ? watched_server() : of.server);
    far_watch far_off(how, of.server);
    std::uint64_t answers_before = 0;
    run.hooks.agreed_begin = with.agreed_begin;
    run.hooks.begins = [&] {
      watch.begin();
      if (far) far_off.begin();
      answers_before = run.shared.answers();
    };
    run.hooks.ends = [&] {
      watch.end();
      if (far) far_off.end();
    };
    if (with.progress)
      run.hooks.progress = [&](const slice& mine, std::uint64_t answers, std::uint64_t errors) {
        const auto rate = static_cast<double>(answers - answers_before) / mine.seconds;
        with.progress(line_of(mine, rate, errors));
        answers_before = answers;
      };
    std::vector<outcome> parts(shards);
    const int code =
        weir::run(config, [&](shard& s) -> task<> { return load_shard(run, s, parts[s.index()]); });
    for (const auto& part : parts) sum.add(part);
    const auto& first = parts.front();
    sum.warmup_s = first.warmup_s;
    sum.steady = first.steady;
    sum.machine = watch.seen();
    sum.machine.clock_steps = first.machine.clock_steps;
    sum.machine.largest_step_ns = first.machine.largest_step_ns;
    sum.server = far ? far_off.seen() : watch.server();
    if (code != 0 && sum.failure.empty())
      sum.failure = code == 2 ? "the back end cannot be used here" : "the run was ended";
  } catch (const std::exception& error) {
    sum.failure = error.what();
  }
  return sum;
}

std::vector<series> measure_all(const std::vector<plan>& plans, const run_settings& how,
                                unsigned rounds, const tolerances& within) {
  std::vector<series> out;
  for (const auto& one : plans) out.push_back({one, {}, {}});
  for (unsigned round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < out.size(); ++i) {
      series& one = out[(i + round) % out.size()];
      if (how.live && (rounds > 1 || out.size() > 1))
        fmt::print(stderr, "round {} of {}: {}\n", round + 1, rounds, one.of.to.text);
      one.rounds.push_back(measure(one.of, how));
      one.judged.push_back(judge(one.of, one.rounds.back(), within));
      if (!one.rounds.back().failure.empty() && round == 0) rounds = 1;  // nobody is there
    }
  return out;
}

double value_of(const plan& of, const outcome& seen, figure which) {
  const auto shown = latencies_of(of, seen).shown;
  const auto us = [&](double quantile) { return static_cast<double>(shown.at(quantile)) / 1e3; };
  const auto per_request = [&](double cpu_s) {
    return seen.answers == 0 ? 0 : cpu_s * 1e6 / static_cast<double>(seen.answers);
  };
  switch (which) {
    case figure::rate: return seen.rate();
    case figure::p50_us: return us(0.5);
    case figure::p90_us: return us(0.9);
    case figure::p99_us: return us(0.99);
    case figure::p999_us: return us(0.999);
    case figure::max_us: return static_cast<double>(shown.max()) / 1e3;
    case figure::cpu_us: return per_request(seen.server.known ? seen.server.cpu_s : 0);
    case figure::own_cpu_us: return per_request(seen.cpu_s);
  }
  return 0;
}

bench::verdict tell_apart(const bench::summary& before, const bench::summary& after) {
  if (before.rounds < rounds_to_compare || after.rounds < rounds_to_compare)
    return bench::verdict::too_few_rounds;
  return bench::compare(before, after);
}

bench::summary summary_of(const series& all, figure which) {
  std::vector<double> values;
  for (const auto& round : all.rounds) values.push_back(value_of(all.of, round, which));
  return bench::summarize(std::move(values));
}

}  // namespace weir::load
