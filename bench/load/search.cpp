// See search.hpp.
#include "load/search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/report.hpp"

namespace weir::load {

found highest(const run_at& run, const std::function<bool(const probe&)>& holds, double low,
              double high, double precision) {
  found out;
  const auto test = [&](double rate) {
    out.tried.push_back(run(rate));
    if (!holds(out.tried.back())) out.tried.push_back(run(rate));
    return holds(out.tried.back());
  };
  if (!test(low)) return out;
  out.rate = low;
  double bad = high;
  for (double rate = low * 2;; rate *= 2) {
    const double next = std::min(rate, high);
    if (next <= out.rate) return out;
    if (!test(next)) {
      bad = next;
      break;
    }
    out.rate = next;
    if (next >= high) return out;
  }
  while (bad - out.rate > precision * out.rate) {
    const double middle = (bad + out.rate) / 2;
    (test(middle) ? out.rate : bad) = middle;
  }
  return out;
}

std::vector<probe> curve(const run_at& run, double high, unsigned steps) {
  std::vector<probe> out;
  for (unsigned i = 1; i <= steps; ++i) out.push_back(run(high * i / steps));
  return out;
}

unsigned rounds_needed(const std::vector<double>& pilot, double share) {
  constexpr unsigned least = 6, most = 10'000;
  if (pilot.size() < 2 || !(share > 0)) return least;
  double mean = 0, squares = 0;
  for (const double one : pilot) mean += one / static_cast<double>(pilot.size());
  for (const double one : pilot) squares += (one - mean) * (one - mean);
  const double sigma =
      std::sqrt(squares / static_cast<double>(pilot.size() - 1)) / std::max(1e-300, mean);
  // A median's standard error is 1.2533 sigma / sqrt(n); the range that holds it, at 15/16, is 1.86
  // of these wide to each side. Two ranges have to lie apart, and mostly do so.
  const double n = std::pow((2 * 1.86 + 2.5) * 1.2533 * sigma / share, 2);
  return std::clamp(static_cast<unsigned>(std::min<double>(most, std::ceil(n))), least, most);
}

std::string table_of(const std::vector<probe>& all, bool markdown) {
  std::vector<std::vector<std::string>> rows{
      {"rate asked", "requests/s", "p50 us", "p99 us", "server CPU us/req", "stands"}};
  for (const auto& one : all)
    rows.push_back({fmt::format("{:.0f}", one.rate),
                    one.stands ? fmt::format("{:.0f}", one.came) : "-",
                    one.stands ? fmt::format("{:.1f}", one.p50_us) : "-",
                    one.stands ? fmt::format("{:.1f}", one.p99_us) : "-",
                    one.stands && one.cpu_us > 0 ? fmt::format("{:.2f}", one.cpu_us) : "-",
                    one.stands ? "yes" : one.why});
  return bench::render_rows(rows, markdown);
}

}  // namespace weir::load
