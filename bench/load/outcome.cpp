// Sums of outcomes.
#include "load/outcome.hpp"

#include <algorithm>

namespace weir::load {

namespace {

void add_slices(std::vector<slice>& to, const std::vector<slice>& from) {
  if (to.size() < from.size()) to.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    slice& sum = to[i];
    sum.begin_s = from[i].begin_s;
    sum.seconds = std::max(sum.seconds, from[i].seconds);
    sum.answers += from[i].answers;
    sum.errors += from[i].errors;
    for (const auto& one : from[i].latencies) {
      const auto at =
          std::lower_bound(sum.latencies.begin(), sum.latencies.end(), one,
                           [](const auto& a, const auto& b) { return a.first < b.first; });
      if (at != sum.latencies.end() && at->first == one.first)
        at->second += one.second;
      else
        sum.latencies.insert(at, one);
    }
  }
}

}  // namespace

void disturbances::worst_of(const disturbances& other) {
  steal = std::max(steal, other.steal);
  others = std::max(others, other.others);
  throttles = std::max(throttles, other.throttles);
  clock_steps = std::max(clock_steps, other.clock_steps);
  largest_step_ns = std::max(largest_step_ns, other.largest_step_ns);
}

void outcome::add(const outcome& other) {
  seconds = std::max(seconds, other.seconds);
  scheduled += other.scheduled;
  answers += other.answers;
  sent_bytes += other.sent_bytes;
  received_bytes += other.received_bytes;
  latency.merge(other.latency);
  service.merge(other.service);
  lateness.merge(other.lateness);
  for (const auto& [name, count] : other.errors) errors[name] += count;
  unfinished += other.unfinished;
  connects += other.connects;
  // A server that stands is silent on every shard.
  const bool first = busy.empty();
  longest_silence_ns =
      first ? other.longest_silence_ns : std::min(longest_silence_ns, other.longest_silence_ns);
  silences_ns = first ? other.silences_ns : std::min(silences_ns, other.silences_ns);
  always_behind = always_behind || other.always_behind;
  busy.insert(busy.end(), other.busy.begin(), other.busy.end());
  cpu_s += other.cpu_s;
  if (failure.empty()) failure = other.failure;
  add_slices(slices, other.slices);
}

bench::latency_histogram corrected(const bench::latency_histogram& seen,
                                   std::uint64_t interval_ns) {
  bench::latency_histogram out;
  if (interval_ns == 0) return seen;
  constexpr std::uint64_t most_steps = 1000;  // of one latency: then they are wider
  seen.for_each([&](std::uint64_t value, std::uint64_t count) {
    out.record(value, count);
    const auto step = std::max(interval_ns, value / most_steps);
    const auto weight = std::max<std::uint64_t>(1, step / interval_ns);
    for (std::uint64_t gone = step; gone + interval_ns <= value; gone += step)
      out.record(value - gone, count * weight);
  });
  return out;
}

}  // namespace weir::load
