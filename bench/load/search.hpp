// Searches over rates, each step of which is a run: the knee, the saturation point, a curve. Also
// how many rounds a difference takes. They know no network: a run is a function that is given.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace weir::load {

/// What a run at a rate has shown.
struct probe {
  double rate = 0;  ///< that was asked for, a second
  double came = 0;
  double p50_us = 0, p99_us = 0;
  double cpu_us = 0;  ///< of the server, a request; 0: not known
  bool stands = false;
  std::string why;  ///< it does not
};
using run_at = std::function<probe(double rate)>;

struct found {
  double rate = 0;           ///< the highest that met it; 0: none did
  std::vector<probe> tried;  ///< in order
};

/// The highest rate between the two at which `holds`, found to within `precision` of itself: first
/// doubling from the low end, then by halves. One run that does not hold is tried once more, since
/// a machine has bad seconds.
found highest(const run_at& run, const std::function<bool(const probe&)>& holds, double low,
              double high, double precision = 0.05);

/// Runs at `steps` rates, evenly from high / steps to high.
std::vector<probe> curve(const run_at& run, double high, unsigned steps);

/// How many rounds of each of two programs it takes until a difference of `share` (0.02: two
/// percent) is told apart, where rounds of one program differ as these figures do.
unsigned rounds_needed(const std::vector<double>& pilot, double share);

std::string table_of(const std::vector<probe>& all, bool markdown);

}  // namespace weir::load
