// Whether a run's figures may be believed: what spoiled them, in words, and what to change. Pure.
#pragma once

#include <string>
#include <vector>

#include "load/outcome.hpp"
#include "load/plan.hpp"

namespace weir::load {

struct problem {
  std::string code;    ///< for programs: "load_is_full"
  std::string what;    ///< what was seen
  std::string change;  ///< what to do about it
};

struct judgement {
  std::vector<problem> spoiled;  ///< empty: the figures stand
  std::vector<problem> notes;    ///< worth knowing; the figures stand
  bool good() const { return spoiled.empty(); }
};

struct tolerances {
  double errors = 0.01;   ///< share of all requests
  double busy = 0.90;     ///< share of a shard's time on a core
  double lateness = 0.5;  ///< p99 of our lateness, of p99 of the latency
  double steal = 0.05;    ///< share of the machine's time
  double silence = 0.01;  ///< closed loop: share of the window without any answer
  bool spins = false;     ///< the load polls: a full core says nothing
};

judgement judge(const plan& of, const outcome& seen, const tolerances& within = {});

/// What may be printed of the latencies: corrected where a closed loop waited for a server that
/// stood (see corrected()).
struct latencies {
  bench::latency_histogram shown;
  bool corrected = false;
};
latencies latencies_of(const plan& of, const outcome& seen, const tolerances& within = {});

}  // namespace weir::load
