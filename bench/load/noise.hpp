// What the load itself adds to a latency: measured against a stream in this process whose peer
// answers after a constant time, without a kernel between them.
#pragma once

#include <cstdint>

#include "histogram.hpp"
#include "load/engine.hpp"
#include "load/outcome.hpp"

namespace weir::load {

struct noise_settings {
  double rate = 100'000;                           ///< a second, Poisson
  duration takes = std::chrono::microseconds(20);  ///< the stub, for each answer
  duration window = std::chrono::seconds(5);
  bool spin = false;
  std::uint64_t seed = 1;
};

/// A load on such a stream, on the calling shard.
task<> run_against_stub(shard& here, clocks& time, const noise_settings& how, outcome& into);

/// Latencies without the stub's own time.
bench::latency_histogram added_by_load(const outcome& seen, duration takes);

/// What clock_nanosleep() alone is late by, at the same instants.
bench::latency_histogram bare_sleeps(const noise_settings& how);

int run_noise(const noise_settings& how);

}  // namespace weir::load
