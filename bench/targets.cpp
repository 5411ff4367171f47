// See targets.hpp. A row that cannot be measured here says why, and is not left out.
#include "targets.hpp"

#include <fmt/core.h>
#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>

#include "private_net.hpp"
#include "process.hpp"
#include "report.hpp"
#include "runner.hpp"
#include "scenarios/scenarios.hpp"

namespace weir::bench {
namespace {

constexpr unsigned short_lives_at_a_time = 64;
constexpr unsigned many_flows = 64;
constexpr double fair = 0.8;  // of the median connection's requests, for the slowest
constexpr const char* spinning = ":busy_poll_us=100000";

using row = std::vector<std::string>;

/// The cells of the run and what is asked of them, side by side.
class plan {
 public:
  explicit plan(const table_settings& settings) {
    run.rounds = settings.quick ? 1 : settings.rounds;
    run.duration_ns =
        static_cast<std::uint64_t>((settings.quick ? 0.1 : settings.duration_s) * 1e9);
    run.warmup_ns = static_cast<std::uint64_t>((settings.quick ? 0.02 : settings.warmup_s) * 1e9);
    run.quiet = settings.quiet;
    run.bin_dir = settings.bin_dir;
    kernel_echo();
    many_clients();
    latency();
    stack_echo();
    bulk();
    lives = cell_with({.kind = scenario::connect_request, .connections = short_lives_at_a_time},
                      {"uring"});
  }

  run_settings run;
  std::vector<target> targets;
  std::size_t steady_uring = 0, steady_stack = 0, lives = 0;
  struct counted_row {
    std::size_t cell;
    std::string of;
  };
  std::vector<counted_row> slowest;  // whose slowest connection is shown

 private:
  std::size_t cell_with(const cell& what, const std::vector<std::string>& servers) {
    run.cells.push_back(what);
    auto& specs = run.servers_of_cell.emplace_back();
    for (const auto& name : servers) specs.push_back(parse_server(name));
    return run.cells.size() - 1;
  }
  void kernel_echo() {
    const auto c64 = cell_with({.connections = 64}, {"uring", "raw-uring", "asio", "asio-epoll"});
    const auto c512 =
        cell_with({.connections = 512}, {"uring", "raw-uring", "asio", "asio-epoll", "libuv"});
    const auto large =
        cell_with({.connections = 16, .size = 16384},
                  {"uring", "raw-epoll", "raw-uring", "raw-uring:buffer_bytes=16384"});
    steady_uring = c64;
    add("uring echo 64 B, 64 connections: CPU per request", c64, "uring", {"raw-uring"},
        metric::cpu_us, true, 1.05);
    add("uring echo 64 B, 512 connections: CPU per request", c512, "uring", {"raw-uring"},
        metric::cpu_us, true, 1.05);
    add("uring echo 64 B, 64 connections: CPU per request", c64, "uring", {"asio-epoll"},
        metric::cpu_us, true, 0.80);
    add("uring echo 64 B, 512 connections: CPU per request", c512, "uring", {"asio-epoll", "libuv"},
        metric::cpu_us, true, 0.95);
    add("asio echo 64 B, 64 connections: CPU per request", c64, "asio", {"asio-epoll"},
        metric::cpu_us, true, 1.05);
    add("asio echo 64 B, 512 connections: CPU per request", c512, "asio", {"asio-epoll"},
        metric::cpu_us, true, 1.05);
    slowest.push_back({c64, "uring"});
    slowest.push_back({c64, "asio"});
    add("uring echo 16 KiB, 16 connections: requests/s", large, "uring",
        {"raw-epoll", "raw-uring", "raw-uring:buffer_bytes=16384"}, metric::requests_per_s, false,
        1.0);
  }
  /// Most of them idle at any instant, as a server's clients are.
  void many_clients() {
    const auto c = cell_with({.connections = 10'000, .mode = load_mode::open, .rate = 20'000},
                             {"uring", "asio", "asio-epoll", "raw-epoll"});
    for (const char* of : {"uring", "asio"})
      add(fmt::format("{} echo 64 B, 10,000 connections, 20,000 a second: CPU per request", of), c,
          of, {"asio-epoll"}, metric::cpu_us, true, 1.0);
  }
  void latency() {
    const std::string uring = std::string("uring") + spinning,
                      stack = std::string("stack") + spinning;
    add("uring, 1 connection, spinning: p50", cell_with({}, {uring, "asio-epoll"}), uring,
        {"asio-epoll"}, metric::p50_us, true, 0.30);
    add("stack, 1 connection, both sides spinning: p50",
        cell_with({.load_spins = true}, {stack, uring}), stack, {uring}, metric::p50_us, true, 0.9);
  }
  void stack_echo() {
    for (const unsigned connections : {64u, 512u}) {
      const auto c = cell_with({.connections = connections},
                               {"stack", "veth-epoll", "tun-reflector", "uring"});
      if (connections == 64) steady_stack = c;
      const auto title = fmt::format("stack echo 64 B, {} connections: requests/s", connections);
      add(title, c, "stack", {"veth-epoll"}, metric::requests_per_s, false, 1.3);
      add(title, c, "stack", {"tun-reflector"}, metric::requests_per_s, false, 0.85);
      add(title, c, "stack", {"uring"}, metric::requests_per_s, false, 1.0);
    }
    slowest.push_back({steady_stack, "stack"});
    const auto large = cell_with({.connections = 16, .size = 16384}, {"stack", "veth-epoll"});
    add("stack echo 16 KiB, 16 connections: requests/s", large, "stack", {"veth-epoll"},
        metric::requests_per_s, false, 1.0);
  }
  void bulk() {
    for (const scenario kind : {scenario::bulk_in, scenario::bulk_out}) {
      const std::string plain = "stack:stack.offload=false";
      const auto c = cell_with({.kind = kind}, {"stack", "veth-epoll", plain});
      const auto* where = kind == scenario::bulk_in ? "into discard" : "out of chargen";
      add(fmt::format("stack bulk {}, one flow: MB/s", where), c, "stack", {"veth-epoll"},
          metric::megabytes_per_s, false, 1.0);
      add(fmt::format("stack bulk {}, offloads on: MB/s", where), c, "stack", {plain},
          metric::megabytes_per_s, false, 4.0);
      const auto many =
          cell_with({.kind = kind, .connections = many_flows}, {"stack", "veth-epoll"});
      add(fmt::format("stack bulk {}, {} flows: MB/s", where, many_flows), many, "stack",
          {"veth-epoll"}, metric::megabytes_per_s, false, 1.0);
    }
  }
  void add(std::string title, std::size_t c, std::string of, std::vector<std::string> to,
           metric what, bool at_most, double wanted) {
    std::string names;
    for (const auto& name : to) names += (names.empty() ? "" : ", ") + name;
    targets.push_back({std::move(title), std::move(names), c, std::move(of), std::move(to), what,
                       at_most, wanted});
  }
};

const server_outcome* find(const cell_outcome& c, const std::string& label) {
  for (const auto& s : c.servers)
    if (s.spec.label == label) return &s;
  return nullptr;
}

std::vector<double> rounds_of(const server_outcome& s, metric m) {
  std::vector<double> out;
  out.reserve(s.rounds.size());
  for (const auto& round : s.rounds) out.push_back(round[m]);
  return out;
}

const char* text_of(standing s) {
  switch (s) {
    case standing::met: return "met";
    case standing::not_met: return "NOT MET";
    case standing::within_the_spread: return "within the spread";
    case standing::too_few_rounds: return "too few rounds";
    case standing::no_figure: break;
  }
  return "no figure";
}

std::vector<double> scaled(std::vector<double> values, double factor) {
  for (double& v : values) v *= factor;
  return values;
}

void add_wire_rows(std::vector<row>& rows, const plan& p, const run_outcome& out,
                   const wire_rounds& wire) {
  std::vector<double> per_s;
  per_s.reserve(wire.short_life.size());
  for (const double ns : wire.short_life) per_s.push_back(1e9 / ns);
  const auto& accepting = out.cells[p.lives].servers.front();
  rows.push_back(target_row("wire: connect, 1 request, close: per second", "uring on loopback",
                            ratio(per_s, rounds_of(accepting, metric::requests_per_s)), false, 5,
                            "x"));
  rows.push_back(target_row("wire: 64 B round trip through both stacks", "",
                            summarize(scaled(wire.round_trip, 1e-3)), true, 2, " us"));
  rows.push_back(target_row("the same with checksums", "",
                            summarize(scaled(wire.summed_round_trip, 1e-3)), true, 2, " us"));
}

void add_zero_rows(std::vector<row>& rows, const plan& p, const run_outcome& out) {
  for (const auto& [c, name] : {std::pair(p.steady_uring, "uring"), {p.steady_stack, "stack"}}) {
    const auto* s = find(out.cells[c], name);
    const auto title = fmt::format("{} echo 64 B, 64 connections: ", name);
    summary allocations;
    if (s->allocations >= 0) allocations = summarize({s->allocations});
    // Counted, not timed: one round is as good as many.
    rows.push_back(target_row(title + "allocations per request", "", allocations, true, 0, "", 1));
    rows.push_back(target_row(title + "io-wq threads", "", s->of(metric::workers), true, 0, "", 1));
  }
}

void add_fairness_rows(std::vector<row>& rows, const plan& p, const run_outcome& out) {
  for (const auto& one : p.slowest) {
    const auto& c = out.cells[one.cell];
    rows.push_back(target_row(fmt::format("{} echo 64 B, {} connections: the slowest's requests",
                                          one.of, c.what.connections),
                              "median", find(c, one.of)->of(metric::slowest), false, fair, "x"));
  }
}

std::string render(const plan& p, const run_outcome& out, const wire_rounds& wire, bool markdown,
                   bool& complete) {
  std::vector<row> rows{target_header()};
  for (const auto& t : p.targets) {
    std::string best;
    const auto s = ratio_of(out, t, best);
    rows.push_back(
        target_row(t.title, best.empty() ? t.compared_with : best, s, t.at_most, t.wanted, "x"));
  }
  add_fairness_rows(rows, p, out);
  add_wire_rows(rows, p, out, wire);
  add_zero_rows(rows, p, out);
  for (const auto& r : rows) complete = complete && r.back() != text_of(standing::no_figure);
  return render_rows(rows, markdown);
}

void save_text(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.flush();
  if (!file) throw std::system_error(errno, std::system_category(), path);
}

}  // namespace

row target_header() {
  return {"", "compared with", "target", "median", "lowest .. highest", "median within", "verdict"};
}

row target_row(const std::string& title, const std::string& with, const summary& s, bool at_most,
               double wanted, const char* unit, std::size_t rounds) {
  const auto number = [&](double value) {
    return fmt::format("{:.{}f}{}", value, value < 10 ? 3 : 1, unit);
  };
  return {
      title,
      with,
      fmt::format("{} {:g}{}", at_most ? "<=" : ">=", wanted, unit),
      s.rounds == 0 ? "-" : number(s.median),
      s.rounds == 0 ? "-" : fmt::format("{} .. {}", number(s.low), number(s.high)),
      s.rounds == 0 ? "-" : fmt::format("{} .. {}", number(s.median_low), number(s.median_high)),
      text_of(judge(s, at_most, wanted, rounds))};
}

summary ratio_of(const run_outcome& run, const target& t, std::string& best) {
  const auto& c = run.cells.at(t.cell);
  const auto* ours = find(c, t.of);
  const server_outcome* theirs = nullptr;
  const bool more = metric_descriptions[static_cast<std::size_t>(t.what)].more_is_better;
  for (const auto& label : t.to) {
    const auto* s = find(c, label);
    if (s == nullptr || s->rounds.empty()) continue;
    const double mine = s->of(t.what).median;
    if (theirs == nullptr ||
        (more ? mine > theirs->of(t.what).median : mine < theirs->of(t.what).median))
      theirs = s;
  }
  if (ours == nullptr || theirs == nullptr) return {};
  best = theirs->spec.label;
  return ratio(rounds_of(*ours, t.what), rounds_of(*theirs, t.what));
}

int run_table(const table_settings& settings) {
  plan p(settings);
  enter_private_network();
  raise_file_limit();
  const run_outcome out = run_benchmark(p.run);
  const auto cpus = allowed_cpus();
  if (cpus.size() > 1) pin_this_thread(cpus[1]);
  const wire_rounds wire = measure_wire(
      {.rounds = p.run.rounds, .seconds = settings.quick ? 0.001 : settings.duration_s / 4});
  bool complete = true;
  const auto table = render(p, out, wire, settings.markdown, complete);
  fmt::print("{}\n{}", render_tables(out, {.markdown = settings.markdown}), table);
  std::fflush(stdout);
  if (!settings.json_file.empty()) save_json(out, settings.json_file);
  if (!settings.markdown_file.empty())
    save_text(settings.markdown_file, render(p, out, wire, true, complete));
  if (!settings.page_file.empty()) {
    std::string why_not;
    save_page_with_plots(out, settings.page_file, table, why_not);
    if (!why_not.empty()) fmt::print(stderr, "weir-bench: no plots: {}\n", why_not);
  }
  return complete ? 0 : 1;
}

}  // namespace weir::bench
