// See runner.hpp. Owns the order of things and the reading of the server's clocks at the edges of
// the measured window; the load itself is load.cpp's.
#include "runner.hpp"

#include <fmt/core.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <optional>

#include "heap_counts.hpp"
#include "syscall_counter.hpp"

namespace weir::bench {
namespace {

constexpr int start_limit_ms = 10'000;
constexpr std::uint64_t traced_warmup_ns = 500'000'000;  // until queues have grown
constexpr std::uint64_t traced_duration_ns = 300'000'000;
constexpr std::uint64_t traced_min_megabytes = 20;
constexpr std::uint64_t traced_min_requests = 200;  // fewer, and the window's edges show

/// One line on stderr, rewritten in place on a terminal, once per measurement elsewhere.
class progress_line {
 public:
  explicit progress_line(bool quiet) : quiet_(quiet), terminal_(::isatty(2) == 1) {}
  ~progress_line() {
    if (!quiet_ && terminal_) fmt::print(stderr, "\r\033[K");
  }
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;

  void begin(std::string what) {
    what_ = std::move(what);
    if (quiet_) return;
    if (terminal_)
      fmt::print(stderr, "\r\033[K{}", what_);
    else
      fmt::print(stderr, "{}\n", what_);
  }
  void update(std::uint64_t requests, double seconds) const {
    if (!quiet_ && terminal_ && seconds > 0)
      fmt::print(stderr, "\r\033[K{} {:.0f} requests/s", what_,
                 static_cast<double>(requests) / seconds);
  }

 private:
  bool quiet_;
  bool terminal_;
  std::string what_;
};

std::vector<std::string> names_of_services(scenario kind) {
  std::vector<std::string> out;
  for (const auto name : services_of(kind)) out.emplace_back(name);
  return out;
}

class runner {
 public:
  explicit runner(const run_settings& settings) : settings_(settings), progress_(settings.quiet) {
    out_.settings = settings;
    out_.machine = describe_machine();
    const auto cpus = allowed_cpus();
    if (cpus.size() >= 2) {
      out_.machine.load_cpu = cpus[0];
      out_.machine.server_cpu = cpus[1];
      pin_this_thread(cpus[0]);
    }
  }

  run_outcome run() {
    for (const cell& what : settings_.cells) {
      cell_outcome& c = out_.cells.emplace_back();
      c.what = what;
      const std::size_t number = out_.cells.size() - 1;
      for (const auto& spec : settings_.servers_of_cell.empty()
                                  ? settings_.servers
                                  : settings_.servers_of_cell[number]) {
        server_outcome& server = c.servers.emplace_back();
        server.spec = spec;
        serves(spec, what.kind, server.error);
      }
      const std::size_t count = c.servers.size();
      for (unsigned round = 0; round < settings_.rounds; ++round)
        for (std::size_t turn = 0; turn < count; ++turn)  // another server goes first in each round
          measure(c, c.servers[(turn + round) % count], round);
      if (settings_.count_syscalls)
        for (auto& server : c.servers) count_syscalls(c, server);
    }
    return std::move(out_);
  }

 private:
  load_settings load_for(const cell& what, const endpoint& target) const {
    load_settings out;
    out.target = target;
    out.connections = what.connections;
    out.size = what.size;
    out.depth = what.depth;
    out.mode = what.mode;
    out.rate = what.rate;
    out.arrival_kind = what.arrival_kind;
    out.warmup_ns = settings_.warmup_ns;
    out.duration_ns = settings_.duration_ns;
    out.spin = settings_.spin || what.load_spins;
    return out;
  }

  void measure(const cell_outcome& c, server_outcome& into, unsigned round) {
    if (!into.error.empty()) return;
    progress_.begin(fmt::format("[{}/{}] {}, round {}/{}: {}", out_.cells.size(),
                                settings_.cells.size(), title_of(c.what), round + 1,
                                settings_.rounds, into.spec.label));
    try {
      wait_for_free_device(into.spec);
      server_process server(command_for(into.spec, settings_.bin_dir, c.what.kind),
                            out_.machine.server_cpu, start_limit_ms,
                            {names_of_services(c.what.kind), {}});
      edge before, after;
      load_hooks hooks;
      hooks.window_begins = [&] { before = read_edge(server, out_.machine.server_cpu); };
      hooks.window_ends = [&] { after = read_edge(server, out_.machine.server_cpu); };
      hooks.progress = [&](std::uint64_t requests, double seconds) {
        progress_.update(requests, seconds);
      };
      load_settings load = load_for(c.what, server.listening());
      load.seed = round + 1;  // the same arrivals for every server of a round
      const load_result result =
          put_under(c.what, load, server.all_listening(), out_.machine.load_cpu, hooks);
      std::string why;
      if (server.died(why))
        into.error = fmt::format("round {}: the server {}", round + 1, why);
      else if (!result.error.empty())
        into.error = fmt::format("round {}: {}", round + 1, result.error);
      else
        add_round(into, result, before, after);
    } catch (const std::exception& error) {
      into.error = error.what();
    }
  }

  static void add_round(server_outcome& into, const load_result& result, const edge& before,
                        const edge& after) {
    into.rounds.push_back(figures_of(result, before, after));
    into.latency.merge(result.latency);
    into.unfinished += result.unfinished;
  }

  void count_syscalls(const cell_outcome& c, server_outcome& into) {
    if (!into.error.empty()) return;
    progress_.begin(fmt::format("[{}/{}] {}, counting system calls: {}", out_.cells.size(),
                                settings_.cells.size(), title_of(c.what), into.spec.label));
    try {
      wait_for_free_device(into.spec);
      heap_counts heap(settings_.bin_dir);
      auto server = std::make_unique<server_process>(
          command_for(into.spec, settings_.bin_dir, c.what.kind), out_.machine.server_cpu,
          start_limit_ms, start_options{names_of_services(c.what.kind), heap.environment()});
      syscall_counter counter(server->pid());
      // The tracer's thread ends with the server: on every way out of here the server has to go
      // first.
      const std::unique_ptr<server_process> goes_first = std::move(server);
      syscall_counter::counts before{}, after{};
      load_hooks hooks;
      std::uint64_t heap_before = 0, heap_after = 0;
      hooks.window_begins = [&] {
        before = counter.snapshot();
        heap_before = heap.now();
      };
      hooks.window_ends = [&] {
        after = counter.snapshot();
        heap_after = heap.now();
      };
      load_settings load = load_for(c.what, goes_first->listening());
      load.warmup_ns = traced_warmup_ns;
      load.duration_ns = traced_duration_ns;
      load.min_requests = is_bulk(c.what.kind) ? traced_min_megabytes : traced_min_requests;
      const load_result result =
          put_under(c.what, load, goes_first->all_listening(), out_.machine.load_cpu, hooks);
      if (result.requests == 0) into.syscalls_note = result.error;
      into.syscalls = per_request(before, after, result.requests);
      if (heap.works() && result.requests != 0)
        into.allocations =
            static_cast<double>(heap_after - heap_before) / static_cast<double>(result.requests);
    } catch (const std::exception& error) {
      into.syscalls_note = error.what();
    }
  }

  const run_settings& settings_;
  progress_line progress_;
  run_outcome out_;
};

}  // namespace

edge read_edge(const server_process& measured, int cpu) {
  edge out{measured.usage(), cpu < 0 ? -1 : core_busy_ns(cpu), 0, measured.io_workers()};
  for (const int each : allowed_cpus()) out.all_busy_ns += core_busy_ns(each);
  return out;
}

load_result put_under(const cell& what, const load_settings& load,
                      const std::vector<endpoint>& targets, int load_cpu, const load_hooks& hooks) {
  switch (what.kind) {
    case scenario::echo: break;
    case scenario::bulk_in:
    case scenario::bulk_out:
    case scenario::bulk_both: return run_bulk(load, what.kind, targets, hooks);
    case scenario::connect: return run_connect(load, false, hooks);
    case scenario::connect_request: return run_connect(load, true, hooks);
    case scenario::http: return run_http(load, hooks);
    case scenario::http_wrk: return run_wrk(load, load_cpu, hooks);
  }
  return run_load(load, hooks);
}

measurement figures_of(const load_result& result, const edge& before, const edge& after) {
  const auto requests = static_cast<double>(result.requests);
  const auto us = [&](double quantile) {
    return static_cast<double>(result.latency.at(quantile)) / 1e3;
  };
  const auto cpu_ns = static_cast<double>(after.usage.cpu_ns - before.usage.cpu_ns);
  measurement m;
  m[metric::requests_per_s] = requests / result.seconds;
  m[metric::p50_us] = us(0.5);
  m[metric::p90_us] = us(0.9);
  m[metric::p99_us] = us(0.99);
  m[metric::p999_us] = us(0.999);
  m[metric::p9999_us] = us(0.9999);
  m[metric::max_us] = us(1);
  m[metric::mean_us] = result.latency.mean() / 1e3;
  m[metric::cpu_us] = cpu_ns / 1e3 / requests;
  m[metric::core_us] =
      static_cast<double>(after.core_busy_ns - before.core_busy_ns) / 1e3 / requests;
  m[metric::all_cores_us] =
      static_cast<double>(after.all_busy_ns - before.all_busy_ns) / 1e3 / requests;
  const auto switches = [](const process_usage& u) {
    return u.voluntary_switches + u.involuntary_switches;
  };
  m[metric::switches] =
      static_cast<double>(switches(after.usage) - switches(before.usage)) / requests;
  m[metric::load_busy] = result.busy;
  const auto bytes = static_cast<double>(result.bytes);
  m[metric::megabytes_per_s] = bytes / 1e6 / result.seconds;
  m[metric::cpu_s_per_gigabyte] = bytes == 0 ? 0 : cpu_ns / bytes;
  m[metric::workers] = after.workers;
  m[metric::slowest] = result.slowest;
  return m;
}

std::string title_of(const cell& c) {
  std::string out;
  const auto many = fmt::format("{} connection{}", c.connections, c.connections == 1 ? "" : "s");
  if (c.kind == scenario::echo || c.kind == scenario::connect_request)
    out = fmt::format("{} x {} B", many, c.size);
  else
    out = many;
  if (c.kind != scenario::echo)
    for (const auto& s : scenarios)
      if (s.kind == c.kind) out = fmt::format("{}: {}", s.name, out);
  if (c.load_spins) out += ", the load spins";
  if (c.depth != 1) out += fmt::format(" x {} in flight", c.depth);
  if (c.kind != scenario::echo) return out;
  if (c.mode == load_mode::closed) return out + ", closed loop";
  return out + fmt::format(", open loop {:.0f}/s {}", c.rate,
                           c.arrival_kind == arrivals::poisson ? "Poisson" : "constant");
}

machine_description describe_machine() {
  machine_description out;
  utsname name{};
  if (::uname(&name) == 0)
    out.kernel = fmt::format("{} {} {}", name.sysname, name.release, name.machine);
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) {
      out.processor = line.substr(line.find(": ") + 2);
      break;
    }
  out.cores = static_cast<unsigned>(allowed_cpus().size());
  return out;
}

run_outcome run_benchmark(const run_settings& settings) { return runner(settings).run(); }

}  // namespace weir::bench
