// See command.hpp.
#include "load/command.hpp"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "bench/private_net.hpp"
#include "load/agent.hpp"
#include "load/cold_files.hpp"
#include "load/doctor.hpp"
#include "load/machine.hpp"
#include "load/noise.hpp"
#include "load/options.hpp"
#include "load/report.hpp"
#include "load/runner.hpp"
#include "load/searching.hpp"

namespace weir::load {
namespace {

constexpr std::string_view examples = R"(What will spoil measurements here?
  weir-bench doctor
How many requests a second does it answer, and how fast?
  weir-bench load http://127.0.0.1:8080/ -c 64 --pid $(pidof nginx)
How fast at a rate that it has to bear? (Latency from when each request was due.)
  weir-bench load http://127.0.0.1:8080/ -c 64 --rate 5000 --duration 30 --page report.html
Which rate is too much?
  weir-bench load http://127.0.0.1:8080/ -c 64 --find knee --below 5
  weir-bench load http://127.0.0.1:8080/ -c 64 --find curve
Which of two servers is better? Is it worse than yesterday?
  weir-bench load http://127.0.0.1:8080/ http://127.0.0.1:8081/ -c 64 --rounds 7
  weir-bench load http://127.0.0.1:8080/ -c 64 --rounds 6 --json today.json --baseline yesterday.json
How many rounds tell a difference of two percent here?
  weir-bench load http://127.0.0.1:8080/ http://127.0.0.1:8081/ -c 64 --detect 2
Other servers
  weir-bench load tcp://127.0.0.1:7/echo -c 16 --size 1024
  weir-bench load tcp://127.0.0.1:1234/exchange --body 'PING\r\n' --until '\r\n'
  weir-bench load unix:/run/app.sock
  weir-bench load redis://127.0.0.1 -c 50 --depth 16 --command 'SET key:{n} {random}'
  weir-bench load udp://127.0.0.1:7 --rate 10000
  weir-bench load dns://127.0.0.1/example.org -c 4 --rate 20000 --type AAAA
  weir-bench load ws://127.0.0.1:8080/chat -c 100
From two other machines, while a third looks at the server
  weir-bench load http://192.0.2.7:8080/ -c 2000 --agent 'ssh a weir-bench agent' \
    --agent 'ssh b weir-bench agent' --server-agent 'ssh s weir-bench agent' --cgroup system.slice/nginx.service
weir's own back ends and raw baselines, side by side
  weir-bench --servers uring,asio,raw-epoll --connections 1,64
  weir-bench table
)";

void describe_asking(CLI::App& app, options& o) {
  app.add_option(
         "url", o.urls,
         "tcp://HOST:PORT[/echo|/discard|/chargen|/exchange], unix:PATH, http://, https://, "
         "h2://, h2c://, ws://, redis://, udp://HOST:PORT, dns://HOST/NAME; several are "
         "compared in turn")
      ->required();
  app.add_option("-c,--connections", o.connections, "connections, of all shards")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--depth", o.depth, "requests in flight on a connection (1; datagrams: 1000)")
      ->check(CLI::Range(1, 60'000));
  app.add_option("--size", o.size, "bytes of an echo's request")
      ->capture_default_str()
      ->check(CLI::Range(1, 64 << 20));
  app.add_option("-r,--rate", o.rate,
                 "open loop: requests a second; without it the next is sent when one is answered")
      ->check(CLI::Range(0.001, 1e8));
  app.add_option("--arrivals", o.arrivals, "of an open loop")
      ->capture_default_str()
      ->check(CLI::IsMember({"poisson", "constant", "bursts"}));
  app.add_option("--burst", o.burst, "requests of a burst")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  app.add_option("--replay", o.replay, "send when this file says: a line each, seconds, rising");
  app.add_option("-d,--duration", o.duration_s, "seconds of the window")
      ->capture_default_str()
      ->check(CLI::Range(0.05, 86'400.0));
  app.add_option("--warmup", o.warmup, "seconds before it; auto: until the rate stands still")
      ->capture_default_str();
  app.add_option("--timeout", o.timeout_s, "seconds after which an answer is an error")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 3600.0));
  app.add_option("--requests-per-connection", o.requests_per_connection,
                 "then it is closed and opened anew; 0: kept")
      ->capture_default_str();
  app.add_flag("--no-keep-alive", o.no_keep_alive, "a connection for each request");
}

void describe_requests(CLI::App& app, options& o) {
  app.add_option("--service", o.service, "what stands behind tcp: or unix:")
      ->check(CLI::IsMember({"echo", "discard", "chargen", "exchange"}));
  app.add_option("--method", o.method, "of HTTP")->capture_default_str();
  app.add_option("-H,--header", o.headers, "a field of HTTP: 'Name: value'")
      ->allow_extra_args(false);  // a URL may follow
  app.add_option("--body", o.body, "content of HTTP; what exchange sends");
  app.add_option("--body-file", o.body_file, "the same from a file");
  app.add_option("--command", o.command, "of redis: 'SET key:{n} {random}'")->capture_default_str();
  app.add_option("--type", o.record_type, "of dns")->capture_default_str();
  app.add_option("--answer-size", o.answer_size, "exchange: bytes of an answer");
  app.add_option("--until", o.delimiter, "exchange: what an answer ends with, as '\\r\\n'");
  app.add_option("--think", o.think_ms, "closed loop: milliseconds between answer and request");
  app.add_option("--mix", o.mix,
                 "a JSON file of requests: [{\"weight\": 3, \"path\": \"/a\"}, ...]");
  app.add_flag("--insecure", o.insecure, "TLS: verify nothing");
  app.add_option("--authorities", o.authorities, "TLS: a file of certificates to trust");
}

void describe_running(CLI::App& app, options& o) {
  app.add_option("--backend", o.backend, "of the load: uring, asio, stack, auto")
      ->capture_default_str();
  app.add_option("--shards", o.shards, "threads of the load; 0: one a core")->capture_default_str();
  app.add_flag("--pin", o.pin, "each on a core of its own");
  app.add_flag("--spin", o.spin, "poll without sleeping");
  app.add_option("--key", o.keys, "KEY=VALUE of weir's configuration")->allow_extra_args(false);
  app.add_option("--rounds", o.rounds, "rounds; the targets take turns in each")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  auto* pid = app.add_option("--pid", o.pids,
                             "the server's process, whose CPU is read; one for all URLs, or for "
                             "each one of them, in their order")
                  ->allow_extra_args(false);
  app.add_option("--cgroup", o.cgroups, "the same of a control group, below /sys/fs/cgroup")
      ->allow_extra_args(false)
      ->excludes(pid);
  app.add_option("--agent", o.agents,
                 "a command that runs `weir-bench agent` on another machine, which loads in this "
                 "one's place: 'ssh HOST weir-bench agent'; several share connections and rate")
      ->allow_extra_args(false);
  app.add_option("--server-agent", o.server_agent,
                 "the same on the server's machine: --pid and --cgroup are looked at there");
  app.add_option("--seed", o.seed, "of arrivals and random fields")->capture_default_str();
}

void describe_reports(CLI::App& app, options& o) {
  app.add_option("--json", o.json_file, "save all figures");
  app.add_option("--csv", o.csv_file, "a line for each target and round");
  app.add_option("--hdr", o.hdr_file, "a log of HdrHistogram, which its plotters read");
  app.add_option("--prometheus", o.prometheus_file, "lines for a textfile collector");
  app.add_option("--page", o.page_file, "one HTML file with verdict, charts and tables");
  app.add_option("--baseline", o.baseline,
                 "compare with what --json saved; ends with 4 where it is worse");
  app.add_flag("--live", o.live, "a line for each second, on stderr");
  app.add_flag("--quiet", o.quiet, "nothing on stderr");
  app.add_flag("--anyway", o.anyway, "show figures that do not stand, too");
  app.add_flag("--markdown", o.markdown, "tables as Markdown");
  app.add_option("--max-errors", o.max_errors, "percent of requests that may fail")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100.0));
}

void describe_searches(CLI::App& app, search_options& s) {
  app.add_option("--find", s.what,
                 "knee: the highest rate with p99 below --below; saturation: that is kept; curve")
      ->check(CLI::IsMember({"knee", "saturation", "curve"}));
  app.add_option("--below", s.below_ms, "milliseconds, for the knee")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 60'000.0));
  app.add_option("--from", s.from, "requests a second at which a search begins");
  app.add_option("--to", s.to, "and ends; without it what a closed loop gets, and a fifth more");
  app.add_option("--steps", s.steps, "of a curve")
      ->capture_default_str()
      ->check(CLI::Range(2, 200));
  app.add_option("--detect", s.detect,
                 "percent: finds how many rounds tell such a difference, and takes them");
}

std::vector<std::string> doctor_says() {
  std::vector<std::string> out;
  for (const auto& one : examine(machine()))
    if (one.how == finding::level::spoils) out.push_back(one.subject + ": " + one.what);
  return out;
}

void save_all(const options& o, const std::vector<series>& all, const run_settings& how,
              double begun_s, const std::vector<probe>& curve) {
  const report_style style{.markdown = o.markdown, .anyway = o.anyway};
  if (!o.json_file.empty()) save_text(o.json_file, json_of(all, how, style));
  if (!o.csv_file.empty()) save_text(o.csv_file, csv_of(all, style));
  if (!o.hdr_file.empty()) save_text(o.hdr_file, hdr_log_of(all, begun_s));
  if (!o.prometheus_file.empty()) save_text(o.prometheus_file, prometheus_of(all, style));
  if (!o.page_file.empty()) save_text(o.page_file, page_of(all, how, style, curve, doctor_says()));
}

int status_of(const std::vector<series>& all) {
  for (const auto& one : all)
    for (const auto& round : one.rounds)
      if (!round.failure.empty()) return exit_status::cannot;
  for (const auto& one : all)
    if (!one.good()) return exit_status::spoiled;
  return exit_status::stands;
}

int run(const options& o, const search_options& s) {
  const auto plans = plans_of(o);
  bench::raise_file_limit();
  auto how = settings_of(o);
  if (how.config.shard_count() > o.connections) how.config.shards = o.connections;
  const auto within = tolerances_of(o);
  std::vector<probe> tried;
  if (!s.what.empty()) {
    tried = search(plans[0], how, within, s, o.markdown);
    if (s.what != "curve" || o.page_file.empty()) return tried.empty() ? exit_status::cannot : 0;
  }
  const double begun_s =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  const auto all = s.detect > 0 ? detect(plans, how, within, s.detect)
                                : measure_all(plans, how, o.rounds, within);
  fmt::print("{}", text_of(all, how, {.markdown = o.markdown, .anyway = o.anyway}));
  bool worse = false;
  if (!o.baseline.empty()) fmt::print("{}", compare_with(o.baseline, all, worse));
  std::fflush(stdout);
  save_all(o, all, how, begun_s, tried);
  const int status = status_of(all);
  return status == exit_status::stands && worse ? exit_status::worse_than_base : status;
}

void describe_files(CLI::App& app, std::function<int()>& chosen) {
  auto f = std::make_shared<files_settings>();
  auto* files = app.add_subcommand(
      "files", "an echo's p99 beside a file server on its shard, from memory and from the disk");
  files->add_option("--backend", f->backend, "uring or asio")
      ->capture_default_str()
      ->check(CLI::IsMember({"uring", "asio"}));
  files->add_option("--folder", f->folder, "of a disk: files of 64 MiB in all are made there")
      ->capture_default_str();
  files->add_option("--rounds", f->rounds, "rounds; the ways take turns in each")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  files->add_option("--duration", f->seconds, "seconds of each measured window")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 600.0));
  files->add_option("--rate", f->rate, "echoes a second")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 1e6));
  files->add_option("--files", f->files_per_s, "files a second, of 1 MiB")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 1e4));
  files->callback([f, &chosen] { chosen = [f] { return run_files(*f); }; });
}

}  // namespace

void describe_load(CLI::App& app, std::function<int()>& chosen) {
  auto o = std::make_shared<options>();
  auto* load = app.add_subcommand("load", "put load on any server, by its URL");
  describe_asking(*load, *o);
  describe_requests(*load, *o);
  describe_running(*load, *o);
  describe_reports(*load, *o);
  auto s = std::make_shared<search_options>();
  describe_searches(*load, *s);
  load->footer(
      "Examples:\n"
      "  weir-bench load http://127.0.0.1:8080/ -c 64\n"
      "  weir-bench load https://example.test/ -c 64 --rate 5000 --authorities ca.pem\n"
      "  weir-bench load tcp://127.0.0.1:7007 tcp://127.0.0.1:7008 --rounds 7   (compared)\n"
      "  weir-bench load redis://127.0.0.1 -c 50 --command 'SET key:{n} {random}'\n"
      "  weir-bench load dns://127.0.0.1:5353/example.org --rate 20000\n"
      "Ends with 0; 1: it was not measured; 3: the figures do not stand; 4: worse than the "
      "baseline (docs/benchmarks.md).");
  load->callback([o, s, &chosen] { chosen = [o, s] { return run(*o, *s); }; });
  describe_files(app, chosen);
  auto n = std::make_shared<noise_settings>();
  auto* noise = app.add_subcommand("noise", "what the load itself adds to a latency");
  noise->add_option("--rate", n->rate, "requests a second")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 1e7));
  noise->add_option_function<double>(
      "--duration",
      [n](double value) { n->window = duration(static_cast<std::int64_t>(value * 1e9)); },
      "seconds (5)");
  noise->add_flag("--spin", n->spin, "poll without sleeping");
  noise->callback([n, &chosen] { chosen = [n] { return run_noise(*n); }; });
  const auto examine_here = [&chosen] {
    chosen = [] {
      fmt::print("{}", text_of(examine(machine())));
      return 0;
    };
  };
  app.add_subcommand("agent", "load what another machine's weir-bench says, by standard input")
      ->callback([&chosen] { chosen = run_agent; });
  app.add_subcommand("examples", "command lines to begin with")->callback([&chosen] {
    chosen = [] {
      fmt::print("{}", examples);
      return 0;
    };
  });
  app.add_subcommand("doctor", "what will spoil measurements on this machine")
      ->callback(examine_here);
  app.add_flag_callback("--doctor", examine_here, "the same");
}

}  // namespace weir::load
