// What a run of the benchmark found: cells (one load each), in each cell the servers, in each
// server its rounds.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "histogram.hpp"
#include "load.hpp"
#include "scenario.hpp"
#include "servers.hpp"
#include "statistics.hpp"

namespace weir::bench {

enum class metric {
  requests_per_s,
  p50_us,
  p90_us,
  p99_us,
  p999_us,
  p9999_us,
  max_us,
  mean_us,
  cpu_us,
  core_us,
  all_cores_us,
  switches,
  load_busy,
  megabytes_per_s,
  cpu_s_per_gigabyte,
  workers,
  slowest
};
inline constexpr std::size_t metric_count = 17;

struct metric_description {
  std::string_view name;  // in JSON
  bool more_is_better;
};
inline constexpr std::array<metric_description, metric_count> metric_descriptions{{
    {"requests_per_s", true},
    {"p50_us", false},
    {"p90_us", false},
    {"p99_us", false},
    {"p99.9_us", false},
    {"p99.99_us", false},
    {"max_us", false},
    {"mean_us", false},
    {"server_cpu_us_per_request", false},
    {"server_core_busy_us_per_request", false},
    {"all_cores_busy_us_per_request", false},
    {"context_switches_per_request", false},
    {"load_busy", false},
    {"megabytes_per_s", true},
    {"server_cpu_s_per_gigabyte", false},
    {"io_worker_threads", false},
    {"slowest_connection_over_median", true},
}};

struct measurement {
  std::array<double, metric_count> values{};
  double& operator[](metric m) noexcept { return values[static_cast<std::size_t>(m)]; }
  double operator[](metric m) const noexcept { return values[static_cast<std::size_t>(m)]; }
};

/// One load that a server is put under, and what is served under it.
struct cell {
  scenario kind = scenario::echo;
  unsigned connections = 1;
  std::size_t size = 64;
  unsigned depth = 1;
  load_mode mode = load_mode::closed;
  arrivals arrival_kind = arrivals::poisson;
  double rate = 0;
  bool load_spins = false;
};
std::string title_of(const cell& c);

struct server_outcome {
  server_spec spec;
  std::string error;  // why there is nothing (or nothing more) to show
  std::vector<measurement> rounds;
  latency_histogram latency;               // of all rounds
  std::map<std::string, double> syscalls;  // per request, by name; empty when not counted
  std::string syscalls_note;               // why they were not counted
  std::uint64_t unfinished = 0;
  double allocations = -1;  // of the heap, per request; -1: not counted

  summary of(metric m) const {
    std::vector<double> values;
    values.reserve(rounds.size());
    for (const auto& round : rounds) values.push_back(round[m]);
    return summarize(std::move(values));
  }
  double syscalls_total() const {
    double total = 0;
    for (const auto& [name, count] : syscalls) total += count;
    return total;
  }
};

struct cell_outcome {
  cell what;
  std::vector<server_outcome> servers;
};

struct machine_description {
  std::string kernel;
  std::string processor;
  unsigned cores = 0;
  int server_cpu = -1;
  int load_cpu = -1;
};
machine_description describe_machine();

struct run_settings {
  std::vector<server_spec> servers;
  std::vector<cell> cells;
  /// Of each cell, where they differ; empty: all cells have `servers`.
  std::vector<std::vector<server_spec>> servers_of_cell;
  unsigned rounds = 5;
  std::uint64_t warmup_ns = 0;
  std::uint64_t duration_ns = 0;
  bool spin = false;
  bool count_syscalls = true;
  bool quiet = false;
  std::string bin_dir;
};

struct run_outcome {
  machine_description machine;
  run_settings settings;
  std::vector<cell_outcome> cells;
  bool any_error() const {
    for (const auto& c : cells)
      for (const auto& s : c.servers)
        if (!s.error.empty()) return true;
    return false;
  }
};

}  // namespace weir::bench
