// What a load has seen: counts, latencies and its own troubles, of one shard or of all together.
// Pure data and sums.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "histogram.hpp"

namespace weir::load {

/// A part of the window, for the time line.
struct slice {
  double begin_s = 0;  ///< from the window's begin
  double seconds = 0;
  std::uint64_t answers = 0;
  std::uint64_t errors = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> latencies;  ///< ns and how often
};

/// Beside the load: what the machine did meanwhile.
struct disturbances {
  double steal = 0;               ///< share of the machine's time that its host kept
  double others = 0;              ///< share that ran neither load nor idle
  std::uint64_t throttles = 0;    ///< times that cores were slowed down
  std::uint64_t clock_steps = 0;  ///< times that two clocks went apart, or one went back
  std::int64_t largest_step_ns = 0;

  /// Of several machines: what the one says that was disturbed more.
  void worst_of(const disturbances& other);
};

/// Of one process, over the window.
struct process_figures {
  bool known = false;
  double cpu_s = 0;
  std::uint64_t switches = 0;
  std::uint64_t resident_bytes = 0;  ///< at its end
};

struct outcome {
  double seconds = 0;                                ///< of the window
  std::uint64_t scheduled = 0;                       ///< open loop: requests that were due in it
  std::uint64_t answers = 0;                         ///< successes that came in it
  std::uint64_t sent_bytes = 0, received_bytes = 0;  ///< in it
  bench::latency_histogram latency;                  ///< ns, from the instant a request was due
  bench::latency_histogram service;                  ///< ns, from the instant it was written
  bench::latency_histogram lateness;  ///< ns, of our own: could have been written, and was not
  std::map<std::string, std::uint64_t> errors;  ///< of requests due in the window, by name
  std::uint64_t unfinished = 0;                 ///< open loop: due in it, and never answered
  std::uint64_t connects = 0;                   ///< connections opened, in all
  std::uint64_t longest_silence_ns = 0;         ///< between two answers, while some were owed
  std::uint64_t silences_ns = 0;                ///< of such times above 50 ms, added up
  bool always_behind = false;  ///< open loop: requests waited for a connection all through the
                               ///< window's last quarter
  std::vector<double> busy;    ///< of each shard: share of the window on a core
  double cpu_s = 0;            ///< our own, of all shards
  double warmup_s = 0;
  bool steady = true;   ///< the warm-up ended since the rate stood still
  std::string failure;  ///< nothing was measured, and why
  std::vector<slice> slices;
  disturbances machine;
  process_figures server;
  unsigned agents = 0;                ///< that loaded in this machine's place
  std::int64_t clocks_within_ns = 0;  ///< their windows' begins lie apart by no more

  std::uint64_t error_count() const {
    std::uint64_t sum = 0;
    for (const auto& [name, count] : errors) sum += count;
    return sum;
  }
  double rate() const { return seconds > 0 ? static_cast<double>(answers) / seconds : 0; }

  /// Another shard's part of the same run.
  void add(const outcome& other);
};

/// What a closed loop's latencies would have been, had its clients asked on while the server stood:
/// each latency above `interval_ns` stands for those of the requests that were not sent meanwhile,
/// too (the correction of HdrHistogram).
bench::latency_histogram corrected(const bench::latency_histogram& seen, std::uint64_t interval_ns);

}  // namespace weir::load
