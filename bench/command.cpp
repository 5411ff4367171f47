// weir-bench: the command line. Runs a load against any set of servers in one run, or one of
// the other scenarios, or serves one of the baselines, or runs a command in a private network, or
// compares two results. main.cpp adds `load`.
#include "command.hpp"

#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>

#include "baselines/baselines.hpp"
#include "private_net.hpp"
#include "process.hpp"
#include "report.hpp"
#include "runner.hpp"
#include "scenarios/scenarios.hpp"
#include "targets.hpp"

namespace {

using namespace weir::bench;

struct command_line {
  std::vector<std::string> servers{"uring",     "asio",      "stack",
                                   "raw-epoll", "raw-uring", "asio-epoll"};
  std::vector<unsigned> connections{1, 64, 512};
  std::vector<std::size_t> sizes{64};
  std::vector<double> rates;
  unsigned depth = 1;
  std::string scenario_name = "echo";
  std::string mode = "closed";
  std::string arrival = "poisson";
  double warmup_s = 0.3;
  double duration_s = 1;
  unsigned rounds = 5;
  bool spin = false;
  bool no_syscalls = false;
  bool quiet = false;
  bool strict = false;
  bool list = false;
  bool quick = false;
  table_style style;
  std::string private_net = "auto";
  std::string bin_dir = own_directory();
  std::string json_file;
  std::string svg_directory;
  std::string page_file;
  std::string markdown_file;
  std::vector<std::string> compare;

  std::string baseline;
  std::string where;
  baseline_settings baseline_options;
  std::vector<std::string> command;

  idle_settings idle;
  flood_settings flood;
  wire_settings wire;
  lookup_settings lookup;
  tasks_settings tasks;
  watched_settings watched;
  datagrams_settings datagrams;
  gate_settings gate;
  table_settings table;
};

void describe_run(CLI::App& app, command_line& c) {
  app.add_option("--servers", c.servers,
                 "servers to measure, each a name or name:key=value:... (--list names them)")
      ->delimiter(',');
  app.add_option("--connections", c.connections, "numbers of connections")
      ->delimiter(',')
      ->check(CLI::Range(1, 15'000));
  std::vector<std::string> names;
  names.reserve(std::size(scenarios));
  for (const auto& s : scenarios) names.emplace_back(s.name);
  app.add_option("--scenario", c.scenario_name, "what the servers are put under")
      ->check(CLI::IsMember(names));
  app.add_option("--size", c.sizes, "bytes of a request")
      ->delimiter(',')
      ->check(CLI::Range(1, 16 << 20));
  app.add_option("--depth", c.depth, "requests in flight on each connection")
      ->check(CLI::Range(1, 1024));
  app.add_option("--mode", c.mode, "closed or open loop")->check(CLI::IsMember({"closed", "open"}));
  app.add_option("--rate", c.rates, "open loop: requests per second, over all connections")
      ->delimiter(',')
      ->check(CLI::Range(1.0, 1e7));
  app.add_option("--arrivals", c.arrival, "open loop: poisson or constant")
      ->check(CLI::IsMember({"poisson", "constant"}));
  app.add_option("--warmup", c.warmup_s, "seconds before each measured window")
      ->check(CLI::Range(0.0, 60.0));
  app.add_option("--duration", c.duration_s, "seconds of each measured window")
      ->check(CLI::Range(0.01, 600.0));
  app.add_option("--rounds", c.rounds, "rounds; the servers take turns in each")
      ->check(CLI::Range(1, 1000));
  app.add_flag("--spin", c.spin, "the load polls without sleeping");
  app.add_flag("--no-syscalls", c.no_syscalls,
               "leave out the traced round that counts system calls");
  app.add_option("--json", c.json_file, "save all figures to this file");
  app.add_option("--svg", c.svg_directory, "draw plots into this folder (needs gnuplot)");
  app.add_option("--page", c.page_file,
                 "write one HTML page with tables and plots (which need gnuplot)");
  app.add_option("--private-net", c.private_net,
                 "run in a network namespace of its own; auto: when a server needs it")
      ->check(CLI::IsMember({"auto", "yes", "no"}));
  app.add_option("--bin-dir", c.bin_dir, "where weir's programs are");
  app.add_flag("--markdown", c.style.markdown, "print Markdown tables");
  app.add_option("--save-markdown", c.markdown_file,
                 "write the tables as Markdown to this file, too");
  app.add_flag("--quick", c.quick,
               "shows that everything works, in seconds: 1 and 16 connections, 2 rounds of 0.1 s; "
               "fails when a server does");
  app.add_flag("--brief", c.style.brief, "print the five columns that matter most");
  app.add_flag("--strict", c.strict, "fail when any server has no figures");
  app.add_flag("--quiet", c.quiet, "no progress on stderr");
  app.add_flag("--list", c.list, "name the servers that can be measured");
  app.add_option("--compare", c.compare,
                 "compare two saved results instead: BEFORE.json AFTER.json")
      ->expected(2);
}

// Each scenario's own options; `chosen` becomes what runs when its name was given.
void describe_scenarios(CLI::App& app, command_line& c, std::function<int()>& chosen) {
  auto* idle = app.add_subcommand(
      "idle", "connections that do nothing, on the stack: accept rate and memory of each");
  idle->add_option("--connections", c.idle.connections, "how many")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'048'576));
  idle->add_option("--checked", c.idle.checked, "connections that echo a message at the end")
      ->capture_default_str();
  idle->add_option("--at-most", c.idle.at_most, "fails when a connection takes more bytes; 0: any")
      ->capture_default_str();
  idle->callback([&] { chosen = [&c] { return run_idle(c.idle); }; });
  auto* flood = app.add_subcommand("flood", "clients of the stack during a flood of forged SYNs");
  flood->add_option("--seconds", c.flood.seconds, "length of each phase")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 600.0));
  flood->add_option("--rate", c.flood.rate, "SYNs per second; 0: all that a core can send")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e7));
  flood->add_option("--clients", c.flood.clients_per_s, "clients per second")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 1000.0));
  flood->callback([&] { chosen = [&c] { return run_flood(c.flood); }; });
  auto* wire = app.add_subcommand("wire", "two whole stacks in one thread, without a kernel");
  wire->add_option("--rounds", c.wire.rounds, "rounds")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  wire->add_option("--duration", c.wire.seconds, "seconds per figure and round")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 600.0));
  wire->add_option("--count", c.wire.count, "not time, but so many steps of each, for a profiler");
  wire->add_option("--only", c.wire.only, "figures whose name begins so");
  wire->callback([&] { chosen = [&c] { return run_wire(c.wire); }; });
  auto* lookup =
      app.add_subcommand("lookup", "what a packet costs with few and many listeners and flows");
  lookup->add_option("--rounds", c.lookup.rounds, "rounds")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  lookup->add_option("--duration", c.lookup.seconds, "seconds per figure and round")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 600.0));
  lookup->add_option("--flows", c.lookup.flows, "many flows")
      ->capture_default_str()
      ->check(CLI::Range(1000, 1'048'576));
  lookup->add_option("--listeners", c.lookup.listeners, "many listeners")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  lookup->add_option("--count", c.lookup.count,
                     "not time, but so many steps of each, for a profiler");
  lookup->add_option("--only", c.lookup.only, "figures whose name begins so");
  lookup->callback([&] { chosen = [&c] { return run_lookup(c.lookup); }; });
}

void describe_tasks(CLI::App& app, command_line& c, std::function<int()>& chosen) {
  auto* tasks = app.add_subcommand(
      "tasks", "what a dump of many waiting tasks costs the shard that has them");
  tasks->add_option("--tasks", c.tasks.tasks, "how many")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000'000));
  tasks->add_option("--rounds", c.tasks.rounds, "dumps")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  tasks->callback([&] { chosen = [&c] { return run_tasks(c.tasks); }; });
}

void describe_watched(CLI::App& app, command_line& c, std::function<int()>& chosen) {
  auto* watched = app.add_subcommand(
      "watched", "what tasks, the stall watch, the recorder, probes and scrapes cost an echo");
  watched->add_option("--server", c.watched.server, "which")->capture_default_str();
  watched->add_option("--rounds", c.watched.rounds, "rounds; the servers take turns in each")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  watched->add_option("--connections", c.watched.connections, "connections")
      ->capture_default_str()
      ->check(CLI::Range(1, 15'000));
  watched->add_option("--duration", c.watched.duration_s, "seconds of each window")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 600.0));
  watched->add_option("--rate", c.watched.rate, "requests a second beside the scrapes")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 1e7));
  watched
      ->add_option("--scrape-duration", c.watched.scrape_s, "seconds of each window with scrapes")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 600.0));
  watched->add_option("--scrapes", c.watched.scrapes_per_s, "scrapes a second")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  watched->add_option("--without-tasks", c.watched.without_tasks,
                      "folder of programs built with WEIR_WITH_TASKS=OFF");
  watched->add_option("--without-probes", c.watched.without_probes,
                      "folder of programs built with WEIR_WITH_PROBES=OFF");
  watched->callback([&] {
    chosen = [&c] {
      c.watched.bin_dir = c.bin_dir;
      c.watched.quiet = c.quiet;
      c.watched.markdown = c.style.markdown;
      return run_watched(c.watched);
    };
  });
}

void describe_datagrams(CLI::App& app, command_line& c, std::function<int()>& chosen) {
  auto* datagrams = app.add_subcommand(
      "datagrams", "UDP datagrams per CPU second: one by one, in batches, with GSO and GRO");
  datagrams->add_option("--backend", c.datagrams.backend, "uring or asio")
      ->capture_default_str()
      ->check(CLI::IsMember({"uring", "asio"}));
  datagrams->add_option("--rounds", c.datagrams.rounds, "rounds; the ways take turns in each")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  datagrams->add_option("--duration", c.datagrams.seconds, "CPU seconds per way and round")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 600.0));
  datagrams->callback([&] { chosen = [&c] { return run_datagrams(c.datagrams); }; });
}

void describe_gate(CLI::App& app, command_line& c, std::function<int()>& chosen) {
  auto* gate = app.add_subcommand(
      "gate",
      "weir-gate beside slirp4netns, pasta and the kernel's forwarding, in namespaces of "
      "its own");
  gate->add_option("--rounds", c.gate.rounds, "rounds; the subjects take turns in each")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  gate->add_option("--duration", c.gate.duration_s, "seconds of each measured window")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 600.0));
  gate->add_option("--warmup", c.gate.warmup_s, "seconds before it")->capture_default_str();
  gate->add_option("--only", c.gate.only,
                   "weir-gate, slirp4netns, pasta, kernel, kernel-steered (receives on the "
                   "subject's core)")
      ->delimiter(',')
      ->check(CLI::IsMember({"weir-gate", "slirp4netns", "pasta", "kernel", "kernel-steered"}));
  gate->add_flag("--markdown", c.gate.markdown, "print Markdown tables");
  gate->add_flag("--quiet", c.gate.quiet, "no progress on stderr");
  gate->add_option("--json", c.gate.json_file, "save all figures to this file");
  gate->callback([&] { chosen = [&c] { return run_gate(c.gate); }; });
}

void describe_table(CLI::App& app, command_line& c, std::function<int()>& chosen) {
  auto* table = app.add_subcommand(
      "table", "everything that weir promises of its speed, as ratios with a verdict each");
  table->add_option("--rounds", c.table.rounds, "rounds; the servers take turns in each")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  table->add_option("--duration", c.table.duration_s, "seconds of each measured window")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 600.0));
  table->add_option("--warmup", c.table.warmup_s, "seconds before it")->capture_default_str();
  table->add_flag("--quick", c.table.quick, "one short round: shows that everything works");
  table->add_flag("--quiet", c.table.quiet, "no progress on stderr");
  table->add_flag("--markdown", c.table.markdown, "print Markdown tables");
  table->add_option("--json", c.table.json_file, "save all figures to this file");
  table->add_option("--page", c.table.page_file, "write one HTML page with tables and plots");
  table->add_option("--save-markdown", c.table.markdown_file, "the table as Markdown, too");
  table->callback([&] { chosen = [&c] { return run_table(c.table); }; });
}

run_settings settings_from(const command_line& c) {
  run_settings out;
  for (const auto& name : c.servers) out.servers.push_back(parse_server(name));
  scenario kind = scenario::echo;
  for (const auto& s : scenarios)
    if (s.name == c.scenario_name) kind = s.kind;
  const bool open = c.mode == "open";
  if (open && kind != scenario::echo)
    throw std::invalid_argument("the open loop is there for --scenario echo only");
  if (open == c.rates.empty()) throw std::invalid_argument("--mode open and --rate go together");
  for (const unsigned connections : c.connections)
    for (const std::size_t size : c.sizes)
      for (const double rate : open ? c.rates : std::vector<double>{0}) {
        cell& what = out.cells.emplace_back();
        what.kind = kind;
        what.connections = connections;
        what.size = size;
        what.depth = c.depth;
        what.mode = open ? load_mode::open : load_mode::closed;
        what.arrival_kind = c.arrival == "poisson" ? arrivals::poisson : arrivals::constant;
        what.rate = rate;
      }
  out.rounds = c.rounds;
  out.warmup_ns = static_cast<std::uint64_t>(c.warmup_s * 1e9);
  out.duration_ns = static_cast<std::uint64_t>(c.duration_s * 1e9);
  out.spin = c.spin;
  out.count_syscalls = !c.no_syscalls;
  out.quiet = c.quiet;
  out.bin_dir = c.bin_dir;
  return out;
}

void save_text(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.flush();
  if (!out) throw std::system_error(errno, std::system_category(), path);
}

int run(command_line c) {
  if (c.quick) {
    c.connections = {1, 16};
    c.rounds = 2;
    c.duration_s = 0.1;
    c.warmup_s = 0.02;
    c.strict = true;
  }
  if (c.list) {
    for (const auto& [name, text] : known_servers()) fmt::print("{:<14} {}\n", name, text);
    fmt::print("\nscenarios:\n");
    for (const auto& s : scenarios) fmt::print("{:<16} {}\n", s.name, s.text);
    return 0;
  }
  if (!c.compare.empty()) {
    fmt::print("{}", compare_files(c.compare[0], c.compare[1]));
    return 0;
  }
  const run_settings settings = settings_from(c);
  bool needed = false;
  for (const auto& spec : settings.servers) needed = needed || needs_private_network(spec);
  for (const auto& what : settings.cells) needed = needed || wants_private_network(what.kind);
  if (c.private_net == "yes" || (c.private_net == "auto" && needed)) enter_private_network();
  raise_file_limit();
  if (allowed_cpus().size() < 2)
    fmt::print(stderr,
               "weir-bench: only one core: server and load share it, and the figures say little\n");
  const run_outcome out = run_benchmark(settings);
  fmt::print("{}", render_tables(out, c.style));
  std::fflush(stdout);
  if (!c.json_file.empty()) save_json(out, c.json_file);
  if (!c.markdown_file.empty())
    save_text(c.markdown_file, render_tables(out, {.markdown = true, .brief = c.style.brief}));
  std::vector<std::string> plots;
  if (!c.svg_directory.empty()) {
    std::string why_not;
    plots = save_plots(out, c.svg_directory, why_not);
    if (plots.empty()) fmt::print(stderr, "weir-bench: no plots: {}\n", why_not);
  }
  if (!c.page_file.empty() && plots.empty()) {
    std::string why_not;
    save_page_with_plots(out, c.page_file, "", why_not);
    if (!why_not.empty()) fmt::print(stderr, "weir-bench: no plots: {}\n", why_not);
  } else if (!c.page_file.empty()) {
    save_page(out, plots, c.page_file);
  }
  return c.strict && out.any_error() ? 1 : 0;
}

int serve(command_line& c) {
  const auto where = parse_endpoint(c.where);
  if (!where)
    throw std::invalid_argument(fmt::format("`{}` is not an address and a port", c.where));
  c.baseline_options.where = *where;
  raise_file_limit();
  ::signal(SIGPIPE, SIG_IGN);
  serve_baseline(c.baseline, c.baseline_options);
}

int run_privately(const command_line& c) {
  enter_private_network();
  std::vector<char*> words;
  words.reserve(c.command.size() + 1);
  for (const auto& word : c.command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::execvp(words[0], words.data());
  throw std::system_error(errno, std::system_category(), c.command[0]);
}

}  // namespace

int weir::bench::run_command(int argc, char** argv, describe_more more) {
  command_line c;
  CLI::App app("Measures servers side by side: weir's back ends and plain baselines, in one run.");
  app.set_version_flag("--version", "weir-bench (weir " WEIR_VERSION ")");
  describe_run(app, c);
  app.require_subcommand(0, 1);
  auto* serve_app = app.add_subcommand("serve", "serve one of the baselines until killed");
  serve_app->add_option("baseline", c.baseline)->required()->check(CLI::IsMember(baseline_names()));
  serve_app->add_option("where", c.where, "ADDR:PORT")->required();
  serve_app->add_option("--busy_poll_us", c.baseline_options.busy_poll_us,
                        "spin this long before sleeping");
  serve_app
      ->add_option("--buffer_bytes", c.baseline_options.buffer_bytes,
                   "raw-uring: size of one provided buffer")
      ->check(CLI::Range(64, 1 << 20));
  serve_app
      ->add_option("--services", c.baseline_options.services,
                   "raw-epoll: echo, discard, chargen; the second one on the next port")
      ->delimiter(',');
  auto* private_app = app.add_subcommand(
      "private-net", "run a command in a network namespace of its own, with lo up");
  private_app->add_option("command", c.command)->required();
  private_app->prefix_command();
  std::function<int()> scenario;
  describe_scenarios(app, c, scenario);
  describe_tasks(app, c, scenario);
  describe_watched(app, c, scenario);
  describe_datagrams(app, c, scenario);
  describe_gate(app, c, scenario);
  describe_table(app, c, scenario);
  if (more) more(app, scenario);
  CLI11_PARSE(app, argc, argv);
  c.idle.bin_dir = c.flood.bin_dir = c.table.bin_dir = c.gate.bin_dir = c.bin_dir;
  c.idle.quiet = c.quiet;
  try {
    if (scenario) return scenario();
    if (serve_app->parsed()) return serve(c);
    if (private_app->parsed()) return run_privately(c);
    return run(c);
  } catch (const std::exception& error) {
    fmt::print(stderr, "weir-bench: {}\n", error.what());
    return 1;
  }
}
