// Clocks, and what is judged of them and of rates (control.hpp).
#include "load/control.hpp"

#include <ctime>
#include <numeric>

#include "clock.hpp"

namespace weir::load {

instant machine_clocks::now() {
  return instant::from_ns(static_cast<std::int64_t>(bench::read_clock_ns(CLOCK_MONOTONIC)));
}
instant machine_clocks::reference() {
  return instant::from_ns(static_cast<std::int64_t>(bench::read_clock_ns(CLOCK_MONOTONIC_RAW)));
}
duration machine_clocks::thread_cpu() {
  return duration(static_cast<std::int64_t>(bench::thread_cpu_ns()));
}

void step_watch::look(instant now, instant reference) {
  if (begun_) {
    const auto went = now - now_, meanwhile = reference - reference_;
    auto apart = went - meanwhile;
    if (apart < duration()) apart = -apart;
    // Clocks are disciplined by at most 500 parts in a million (adjtimex(2)).
    const auto allowed = most_ + meanwhile / 1000;
    if (went < duration() || apart > allowed) {
      ++steps_;
      largest_ = std::max(largest_, apart);
    }
  }
  begun_ = true;
  now_ = now;
  reference_ = reference;
}

bool steady_rate::steady() const {
  if (rates_.size() < 2 * span_) return false;
  const auto width = static_cast<std::ptrdiff_t>(span_);
  const double last = std::accumulate(rates_.end() - width, rates_.end(), 0.0);
  const double before = std::accumulate(rates_.end() - 2 * width, rates_.end() - width, 0.0);
  if (!(last > 0) || !(before > 0)) return false;
  return last <= before * (1 + most_) && before <= last * (1 + most_);
}

}  // namespace weir::load
