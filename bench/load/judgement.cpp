// See judgement.hpp: one function for each thing that spoils figures.
#include "load/judgement.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace weir::load {
namespace {

double ms(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }

double share_of_silence(const outcome& seen) {
  return seen.seconds > 0 ? static_cast<double>(seen.silences_ns) / 1e9 / seen.seconds : 0;
}

double busiest(const outcome& seen) {
  return seen.busy.empty() ? 0 : *std::max_element(seen.busy.begin(), seen.busy.end());
}

void look_at_errors(const outcome& seen, const tolerances& within, judgement& out) {
  const auto errors = seen.error_count();
  if (errors == 0) return;
  std::string list;
  for (const auto& [name, count] : seen.errors)
    list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", name, count);
  const auto all = static_cast<double>(errors + seen.latency.count());
  const double share = static_cast<double>(errors) / std::max(1.0, all);
  problem found{"errors", fmt::format("{:.2f}% of the requests failed: {}", share * 100, list),
                "look at the server's log; what is left speaks of the requests that it served"};
  (share > within.errors ? out.spoiled : out.notes).push_back(std::move(found));
}

void look_at_rate(const plan& of, const outcome& seen, const tolerances& within, judgement& out) {
  if (of.mode != loop::open || !seen.always_behind) return;
  const bool ours = busiest(seen) > within.busy && !within.spins;
  out.spoiled.push_back(
      {"rate_not_kept",
       fmt::format("{:.0f} requests a second were due and {:.0f} came: requests waited for a "
                   "connection all through the last quarter of the window",
                   static_cast<double>(seen.scheduled) / std::max(1e-9, seen.seconds), seen.rate()),
       ours ? "the load is full: give it more cores (--shards), or a lower --rate"
            : fmt::format("a lower --rate, or more than {} --connections if the server has room",
                          of.connections)});
}

void look_at_load(const outcome& seen, const tolerances& within, judgement& out) {
  if (const double busy = busiest(seen); busy > within.busy && !within.spins)
    out.spoiled.push_back(
        {"load_is_full",
         fmt::format("the load was on its core for {:.0f}% of the window: the server may have had "
                     "room",
                     busy * 100),
         "more cores for the load (--shards), another machine, or a lower --rate"});
  const auto late = seen.lateness.at(0.99), shown = seen.latency.at(0.99);
  if (seen.lateness.count() > 0 &&
      static_cast<double>(late) > within.lateness * static_cast<double>(shown) && late > 50'000)
    out.spoiled.push_back(
        {"load_was_late",
         fmt::format("the load itself wrote late: p99 {:.3f} ms of the {:.3f} ms that are seen",
                     ms(late), ms(shown)),
         "a core of its own for the load (--pin, --spin), less beside it, or a lower --rate"});
}

void look_at_machine(const outcome& seen, const tolerances& within, judgement& out) {
  const auto& machine = seen.machine;
  if (machine.clock_steps > 0)
    out.spoiled.push_back(
        {"clock_stepped",
         fmt::format("the clock stepped {} times, by up to {:.3f} ms", machine.clock_steps,
                     static_cast<double>(machine.largest_step_ns) / 1e6),
         "measure again; a machine that is moved or suspended cannot be measured"});
  if (machine.throttles > 0)
    out.spoiled.push_back(
        {"throttled",
         fmt::format("cores were slowed down {} times (heat, power)", machine.throttles),
         "cooling, or a fixed lower frequency"});
  if (machine.steal > within.steal / 5) {
    problem found{"steal",
                  fmt::format("the host kept {:.1f}% of this machine's time", machine.steal * 100),
                  "a machine that nobody else uses, or compare within one run only"};
    (machine.steal > within.steal ? out.spoiled : out.notes).push_back(std::move(found));
  }
}

bool stood(const plan& of, const outcome& seen, const tolerances& within) {
  return of.mode == loop::closed && seen.answers > 0 && share_of_silence(seen) > within.silence;
}

}  // namespace

judgement judge(const plan& of, const outcome& seen, const tolerances& within) {
  judgement out;
  if (!seen.failure.empty()) {
    out.spoiled.push_back({"not_measured", seen.failure, "see that the server is there"});
    return out;
  }
  look_at_errors(seen, within, out);
  if (seen.answers == 0)
    out.spoiled.push_back({"no_answers", "no request was answered in the window",
                           "a longer --duration, or see that the server is there"});
  look_at_rate(of, seen, within, out);
  look_at_load(seen, within, out);
  look_at_machine(seen, within, out);
  if (stood(of, seen, within))
    out.notes.push_back(
        {"server_stood",
         fmt::format("for {:.1f}% of the window nothing was answered, once for {:.0f} ms: a closed "
                     "loop asks less meanwhile, so its latencies are corrected by what it would "
                     "have asked",
                     share_of_silence(seen) * 100, ms(seen.longest_silence_ns)),
         "--rate: then nothing has to be corrected"});
  if (seen.agents > 0)
    out.notes.push_back({"agents",
                         fmt::format("{} agent{} loaded; their windows began within {:.3f} ms of "
                                     "each other, as far as their clocks could be compared",
                                     seen.agents, seen.agents == 1 ? "" : "s",
                                     static_cast<double>(seen.clocks_within_ns) / 1e6),
                         "each latency is of one machine's clock, whatever the others' say"});
  if (!seen.steady)
    out.notes.push_back({"not_steady", "the rate did not stand still in 10 s of warm-up",
                         "look at the time line; --warmup sets it"});
  return out;
}

latencies latencies_of(const plan& of, const outcome& seen, const tolerances& within) {
  if (!stood(of, seen, within)) return {seen.latency, false};
  return {corrected(seen.latency, seen.latency.at(0.5)), true};
}

}  // namespace weir::load
