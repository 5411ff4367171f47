// weir-bench gate: see scenarios.hpp. The subjects run from the beginning to the end and take turns
// in each round; client and server share one core, the subject has another.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>

#include "clock.hpp"
#include "report.hpp"
#include "runner.hpp"
#include "scenarios/gate_world.hpp"
#include "scenarios/scenarios.hpp"
#include "targets.hpp"

namespace weir::bench {
namespace {

constexpr std::uint16_t first_port = 7001;  // echo, discard, chargen
constexpr int server_up_within_ms = 10'000;
constexpr std::uint64_t quiet_within_ns = 2'000'000'000;  // what an earlier load left behind
constexpr std::uint64_t quiet_step_ns = 20'000'000;

struct wanted {
  metric what;
  const char* of;  // what the ratio is of
  const char* than;
  bool at_most;
  double factor;
};

/// What the gate is asked to be, beside whom. "kernel": the better of both of its rows.
std::vector<wanted> wanted_of(scenario kind) {
  if (kind == scenario::echo)
    return {{metric::cpu_us, "CPU per request", "slirp4netns", true, 0.33},
            {metric::cpu_us, "CPU per request", "pasta", true, 1.0},
            {metric::requests_per_s, "requests/s", "kernel", false, 0.7}};
  if (is_bulk(kind))
    return {{metric::megabytes_per_s, "Gbit/s", "slirp4netns", false, 2.5},
            {metric::megabytes_per_s, "Gbit/s", "pasta", false, 1.2},
            {metric::megabytes_per_s, "Gbit/s", "kernel", false, 0.7}};
  return {{metric::requests_per_s, "connections/s", "slirp4netns", false, 1.0},
          {metric::requests_per_s, "connections/s", "pasta", false, 1.0},
          {metric::requests_per_s, "connections/s", "kernel", false, 0.7}};
}

std::vector<cell> all_cells() {
  return {{.kind = scenario::bulk_in, .connections = 1},
          {.kind = scenario::bulk_in, .connections = 64},
          {.kind = scenario::bulk_out, .connections = 1},
          {.kind = scenario::bulk_out, .connections = 64},
          {.kind = scenario::echo, .connections = 64},
          {.kind = scenario::connect_request, .connections = 64}};
}

/// As the guest sees it.
std::string title_for_people(const cell& what) {
  const auto flows =
      what.connections == 1 ? std::string("one flow") : fmt::format("{} flows", what.connections);
  switch (what.kind) {
    case scenario::bulk_in: return "bulk, out of the guest, " + flows;
    case scenario::bulk_out: return "bulk, into the guest, " + flows;
    case scenario::echo:
      return fmt::format("64 B there and back, {} connections", what.connections);
    default: break;
  }
  return fmt::format("new connections, one 64 B request each, {} at a time", what.connections);
}

class comparison {
 public:
  explicit comparison(const gate_settings& settings) : settings_(settings) {
    out_.machine = describe_machine();
    const auto cpus = allowed_cpus();
    if (cpus.size() > 1) {
      out_.machine.load_cpu = cpus[0];
      out_.machine.server_cpu = cpus[1];
      pin_this_thread(cpus[0]);
    }
    world_.echo_port = first_port;
    world_.cpu = out_.machine.server_cpu;
    world_.load_cpu = out_.machine.load_cpu;
    out_.settings.rounds = settings.rounds;
    out_.settings.warmup_ns = static_cast<std::uint64_t>(settings.warmup_s * 1e9);
    out_.settings.duration_ns = static_cast<std::uint64_t>(settings.duration_s * 1e9);
    server_ = std::make_unique<server_process>(
        std::vector<std::string>{settings.bin_dir + "/weir-bench", "serve", "raw-epoll",
                                 fmt::format("0.0.0.0:{}", first_port), "--services",
                                 "echo,discard,chargen"},
        out_.machine.load_cpu, server_up_within_ms,
        start_options{{"echo", "discard", "chargen"}, {}});
    for (const auto& how : ways_out(settings.bin_dir))
      if (settings.only.empty() ||
          std::count(settings.only.begin(), settings.only.end(), how.label))
        start(how);
  }

  const run_outcome& run() {
    for (const auto& what : all_cells()) {
      auto& cell = out_.cells.emplace_back();
      cell.what = what;
      for (const auto& each : subjects_) {
        auto& row = cell.servers.emplace_back();
        row.spec.label = row.spec.name = each.label;
        row.error = each.error;
      }
      const auto count = subjects_.size();
      for (unsigned round = 0; round < settings_.rounds; ++round)
        for (std::size_t turn = 0; turn < count; ++turn) {
          const auto which = (turn + round) % count;  // another one goes first in each round
          measure(cell.what, subjects_[which], cell.servers[which], round);
        }
    }
    return out_;
  }

 private:
  struct contender {
    std::string label, error;
    std::unique_ptr<gate_subject> runs{};
  };

  void start(const way_out& how) {
    auto& each = subjects_.emplace_back(contender{how.label, {}});
    try {
      each.runs =
          std::make_unique<gate_subject>(how, static_cast<unsigned>(subjects_.size()), world_);
    } catch (const std::exception& error) {
      each.error = error.what();
    }
    if (!each.error.empty()) fmt::print(stderr, "{}: {}\n", each.label, each.error);
  }

  /// For the kernel's forwarding, which is no process: that of the server, whose CPU is not shown.
  edge clocks(const contender& of) const {
    auto now = read_edge(*server_, out_.machine.server_cpu);
    now.usage = of.runs->process() != nullptr ? of.runs->process()->usage() : process_usage{};
    return now;
  }

  /// Until the subject has no more to do: what an earlier load left in its buffers is not the next
  /// one's.
  void wait_until_quiet() const {
    const auto used = [&] {
      std::uint64_t sum = server_->usage().cpu_ns;
      for (const auto& each : subjects_)
        if (each.runs != nullptr && each.runs->process() != nullptr)
          sum += each.runs->process()->usage().cpu_ns;
      return sum;
    };
    const auto until = now_ns() + quiet_within_ns;
    for (auto before = used(); now_ns() < until;) {
      const timespec step{0, quiet_step_ns};
      ::nanosleep(&step, nullptr);
      const auto after = used();
      if (after - before < quiet_step_ns / 20) return;
      before = after;
    }
  }

  std::vector<endpoint> targets(const cell& what, const gate_subject& subject) const {
    std::uint16_t port = first_port;
    if (what.kind == scenario::bulk_in) port += 1;
    if (what.kind == scenario::bulk_out) port += 2;
    return {*parse_endpoint(fmt::format("{}:{}", subject.world_address(), port))};
  }

  void measure(const cell& what, contender& which, server_outcome& into, unsigned round) {
    if (!into.error.empty()) return;
    if (!settings_.quiet)
      fmt::print(stderr, "{}, round {}/{}: {}\n", title_for_people(what), round + 1,
                 settings_.rounds, which.label);
    wait_until_quiet();
    load_settings load;
    load.connections = what.connections;
    load.size = what.size;
    load.warmup_ns = out_.settings.warmup_ns;
    load.duration_ns = out_.settings.duration_ns;
    load.seed = round + 1;
    const auto where = targets(what, *which.runs);
    load.target = where.front();
    edge before, after;
    load_hooks hooks;
    hooks.window_begins = [&] { before = clocks(which); };
    hooks.window_ends = [&] { after = clocks(which); };
    load_result result;
    {
      const inside guest(which.runs->guest());
      result = put_under(what, load, where, out_.machine.load_cpu, hooks);
    }
    std::string why;
    if (which.runs->process() != nullptr && which.runs->process()->died(why))
      into.error = which.error = why + ": " + which.runs->process()->complaint();
    else if (!result.error.empty())
      into.error = fmt::format("round {}: {}", round + 1, result.error);
    else
      into.rounds.push_back(figures_of(result, before, after));
    into.latency.merge(result.latency);
  }

  const gate_settings& settings_;
  gate_world world_;
  run_outcome out_;
  std::unique_ptr<server_process> server_;
  std::vector<contender> subjects_;
};

// --- What is printed.

using row = std::vector<std::string>;

std::string with_spread(const summary& s, double factor, int digits) {
  return fmt::format("{:.{}f} ±{:.0f}%", s.median * factor, digits, s.relative_spread() * 100);
}

row row_of(const server_outcome& s, scenario kind, bool has_process) {
  row out{s.spec.label};
  if (s.rounds.empty()) {
    out.emplace_back("-");
    out.resize(is_bulk(kind) ? 4 : 6);
    return out;
  }
  const auto cpu = [&](metric m, double factor, int digits) {
    return has_process ? with_spread(s.of(m), factor, digits) : "-";
  };
  if (is_bulk(kind)) {
    out.push_back(with_spread(s.of(metric::megabytes_per_s), 8e-3, 2));
    out.push_back(cpu(metric::cpu_s_per_gigabyte, 1, 3));
    out.push_back(with_spread(s.of(metric::all_cores_us), 1e-3, 3));  // a request is a megabyte
    return out;
  }
  out.push_back(with_spread(s.of(metric::requests_per_s), 1e-3, 1));
  out.push_back(cpu(metric::cpu_us, 1, 1));
  out.push_back(with_spread(s.of(metric::all_cores_us), 1, 1));
  out.push_back(with_spread(s.of(metric::p50_us), 1, 0));
  out.push_back(with_spread(s.of(metric::p99_us), 1, 0));
  return out;
}

std::string figures(const run_outcome& run, bool markdown) {
  std::string out;
  for (const auto& cell : run.cells) {
    std::vector<row> rows;
    if (is_bulk(cell.what.kind))
      rows.push_back({"", "Gbit/s", "CPU s/GB", "all cores s/GB"});
    else
      rows.push_back({"", "1000/s", "CPU us each", "all cores us each", "p50 us", "p99 us"});
    for (const auto& s : cell.servers)
      rows.push_back(row_of(s, cell.what.kind, !s.spec.label.starts_with("kernel")));
    out += fmt::format("{}\n\n{}", title_for_people(cell.what), render_rows(rows, markdown));
    for (const auto& s : cell.servers)
      if (!s.error.empty()) out += fmt::format("\n{}: {}\n", s.spec.label, s.error);
    out += "\n";
  }
  return out;
}

std::string verdicts(const run_outcome& run, bool markdown) {
  std::vector<row> rows{target_header()};
  for (std::size_t i = 0; i < run.cells.size(); ++i) {
    for (const auto& w : wanted_of(run.cells[i].what.kind)) {
      target t{title_for_people(run.cells[i].what) + ": " + w.of,
               w.than,
               i,
               "weir-gate",
               {w.than},
               w.what,
               w.at_most,
               w.factor};
      if (t.to.front() == "kernel") t.to.emplace_back("kernel-steered");
      std::string best;
      const auto s = ratio_of(run, t, best);
      rows.push_back(
          target_row(t.title, best.empty() ? t.compared_with : best, s, t.at_most, t.wanted, "x"));
    }
  }
  return render_rows(rows, markdown);
}

}  // namespace

int run_gate(const gate_settings& settings) {
  enter_private_network();
  raise_file_limit();
  comparison all(settings);
  const auto& out = all.run();
  fmt::print("{}{}", figures(out, settings.markdown), verdicts(out, settings.markdown));
  std::fflush(stdout);
  if (!settings.json_file.empty()) save_json(out, settings.json_file);
  for (const auto& cell : out.cells)
    for (const auto& s : cell.servers)
      if (s.spec.label == "weir-gate" && s.rounds.empty()) return 1;
  return 0;
}

}  // namespace weir::bench
