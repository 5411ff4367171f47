// Runs a load on this machine: shards of a back end, the machine watched meanwhile; one target
// once, or several in turn over many rounds.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "load/judgement.hpp"
#include "load/machine.hpp"
#include "load/outcome.hpp"
#include "load/plan.hpp"
#include "statistics.hpp"
#include "weir/config.hpp"

namespace weir::load {

class agents;

struct run_settings {
  weir::config config;             ///< back end, shards, spinning
  std::vector<std::string> words;  ///< the same as a command line, for agents
  bool live = false;               ///< a line for each slice, on stderr
  std::shared_ptr<agents> others;  ///< who loads, or looks at the server, on other machines
};

/// One window. Never throws for what the server does: outcome::failure says why there is nothing.
outcome measure(const plan& of, const run_settings& how);

using line_sink = std::function<void(const std::string& line)>;
/// What a load of several machines adds to one on this machine.
struct together {
  std::function<std::optional<std::int64_t>()> agreed_begin = {};  ///< hooks::agreed_begin
  line_sink progress = {};                                         ///< a line for each slice
};
outcome measure_here(const plan& of, const run_settings& how, const together& with = {});

/// What a server uses of its machine, ours or another's.
class server_watch {
 public:
  server_watch(const run_settings& how, const watched_server& of) : how_(how), of_(of) {}
  void begin() { begin_ = look(); }
  void end() { seen_ = used_between(begin_, look()); }
  const process_figures& seen() const { return seen_; }

 private:
  process_figures look() const;
  const run_settings& how_;
  const watched_server& of_;
  process_figures begin_, seen_;
};

/// One target over all rounds.
struct series {
  plan of;
  std::vector<outcome> rounds;
  std::vector<judgement> judged;
  bool good() const {
    for (const auto& one : judged)
      if (!one.good()) return false;
    return !judged.empty();
  }
};

/// The targets take turns in each round, another one first each time.
std::vector<series> measure_all(const std::vector<plan>& plans, const run_settings& how,
                                unsigned rounds, const tolerances& within);

/// The figures that are shown and compared.
enum class figure { rate, p50_us, p90_us, p99_us, p999_us, max_us, cpu_us, own_cpu_us };
struct figure_row {
  figure which;
  const char* name;  // in JSON and CSV
  const char* title;
  bool more_is_better;
};
inline constexpr figure_row figure_rows[] = {
    {figure::rate, "requests_per_s", "requests/s", true},
    {figure::p50_us, "p50_us", "p50 us", false},
    {figure::p90_us, "p90_us", "p90 us", false},
    {figure::p99_us, "p99_us", "p99 us", false},
    {figure::p999_us, "p99.9_us", "p99.9 us", false},
    {figure::max_us, "max_us", "max us", false},
    {figure::cpu_us, "server_cpu_us_per_request", "server CPU us/req", false},
    {figure::own_cpu_us, "load_cpu_us_per_request", "load CPU us/req", false},
};
/// Of two programs that are equal, fewer rounds than these would tell a difference in one
/// comparison of a hundred or more (two sets of six lie apart by chance in 1 of 462).
inline constexpr std::size_t rounds_to_compare = 6;

double value_of(const plan& of, const outcome& seen, figure which);
bench::summary summary_of(const series& all, figure which);
bench::verdict tell_apart(const bench::summary& before, const bench::summary& after);

}  // namespace weir::load
