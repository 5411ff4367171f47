// weir-bench watched: see scenarios.hpp. Everything is a ratio of two servers that took turns under
// the same load, judged as `table` judges: by the rounds that the sign test leaves inside.
#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "process.hpp"
#include "report.hpp"
#include "runner.hpp"
#include "scenarios/scenarios.hpp"
#include "targets.hpp"

namespace weir::bench {
namespace {

constexpr int start_limit_ms = 10'000;
constexpr double watching = 1.01;   // of the CPU time for a request: one percent at most
constexpr double being_read = 1.1;  // of the p99
constexpr std::size_t longest_answer = std::size_t{16} << 20;

/// Reads /metrics, over and over, on one connection.
class scraper {
 public:
  explicit scraper(const endpoint& from) : fd_(::socket(from.family(), SOCK_STREAM, 0)) {
    if (fd_ < 0 || ::connect(fd_, from.address(), from.length) != 0) {
      const int error = errno;
      if (fd_ >= 0) ::close(fd_);
      throw std::system_error(error, std::system_category(), "connect to " + to_string(from));
    }
  }
  ~scraper() { ::close(fd_); }
  scraper(const scraper&) = delete;
  scraper& operator=(const scraper&) = delete;

  void scrape() {
    constexpr std::string_view request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    if (::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size()))
      throw std::system_error(errno, std::system_category(), "scrape");
    while (!whole()) {
      std::array<char, 65536> bytes;
      const auto n = ::recv(fd_, bytes.data(), bytes.size(), 0);
      if (n <= 0 || answer_.size() > longest_answer)
        throw std::runtime_error("the endpoint did not answer a scrape");
      answer_.append(bytes.data(), static_cast<std::size_t>(n));
    }
    answer_.clear();
  }

 private:
  bool whole() const {
    const auto body = answer_.find("\r\n\r\n");
    if (body == std::string::npos) return false;
    if (!answer_.starts_with("HTTP/1.1 200 "))
      throw std::runtime_error("a scrape was answered with " + answer_.substr(0, 20));
    constexpr std::string_view field = "Content-Length: ";
    const auto at = answer_.find(field);
    if (at == std::string::npos) throw std::runtime_error("an answer without a length");
    std::size_t length = 0;
    std::from_chars(answer_.data() + at + field.size(), answer_.data() + body, length);
    return answer_.size() >= body + 4 + length;
  }

  int fd_;
  std::string answer_;
};

/// Evenly over the time that the load takes.
class scraping {
 public:
  scraping(const endpoint& from, std::uint64_t per_second)
      : from_(from), thread_([this, per_second] { run(per_second); }) {}
  /// How many were answered. Throws what went wrong.
  std::uint64_t end() {
    end_ = true;
    if (thread_.joinable()) thread_.join();
    if (!error_.empty()) throw std::runtime_error(error_);
    return done_;
  }
  ~scraping() {
    end_ = true;
    if (thread_.joinable()) thread_.join();
  }
  scraping(const scraping&) = delete;
  scraping& operator=(const scraping&) = delete;

 private:
  void run(std::uint64_t per_second) try {
    scraper one(from_);
    const auto between = std::chrono::nanoseconds(1'000'000'000 / per_second);
    auto next = std::chrono::steady_clock::now();
    for (; !end_; ++done_) {
      one.scrape();
      next += between;
      std::this_thread::sleep_until(next);
    }
  } catch (const std::exception& error) {
    error_ = error.what();
  }

  endpoint from_;
  std::atomic<bool> end_{false};
  std::uint64_t done_ = 0;
  std::string error_;
  std::thread thread_;
};

struct scraped_rounds {
  std::vector<double> with, without;  // p99
  std::uint64_t scrapes = 0;
};

double one_round(const watched_settings& settings, unsigned round, bool scraped,
                 scraped_rounds& into) {
  const cell what{
      .connections = settings.connections, .mode = load_mode::open, .rate = settings.rate};
  const auto cpus = allowed_cpus();
  const int server_cpu = cpus.size() > 1 ? cpus[1] : -1, load_cpu = cpus.size() > 1 ? cpus[0] : -1;
  const auto observed = free_loopback_endpoint();
  auto command = command_for(parse_server(settings.server), settings.bin_dir);
  command.push_back("--observe.listen=" + observed);
  server_process server(command, server_cpu, start_limit_ms);
  load_settings load{.target = server.listening(), .connections = what.connections};
  load.mode = what.mode;
  load.rate = what.rate;
  load.seed = round + 1;  // the same arrivals with and without
  load.warmup_ns = 200'000'000;
  load.duration_ns = static_cast<std::uint64_t>(settings.scrape_s * 1e9);
  std::optional<scraping> scrapes;
  load_hooks hooks;
  hooks.window_begins = [&] {
    if (scraped) scrapes.emplace(*parse_endpoint(observed), settings.scrapes_per_s);
  };
  hooks.window_ends = [&] {
    if (scraped) into.scrapes += scrapes->end();
  };
  const auto result = put_under(what, load, server.all_listening(), load_cpu, hooks);
  std::string why;
  if (server.died(why)) throw std::runtime_error("the server " + why);
  if (!result.error.empty()) throw std::runtime_error(result.error);
  return static_cast<double>(result.latency.at(0.99)) / 1e3;
}

scraped_rounds measure_scrapes(const watched_settings& settings) {
  scraped_rounds out;
  for (unsigned round = 0; round < settings.rounds; ++round)
    for (const bool scraped : {round % 2 == 0, round % 2 != 0}) {
      const double p99 = one_round(settings, round, scraped, out);
      (scraped ? out.with : out.without).push_back(p99);
    }
  return out;
}

/// What is on by default, beside a server without it.
struct compared {
  std::string title, without;
};

std::vector<compared> comparisons(const watched_settings& settings) {
  std::vector<compared> out = {
      {"stalls watched", settings.server + ":tasks.stall_ms=off"},
      {"the recorder", settings.server + ":observe.recorder=off"},
  };
  if (!settings.without_tasks.empty())
    out.push_back({"tasks shown", settings.server + ":bin=" + settings.without_tasks});
  if (!settings.without_probes.empty())
    out.push_back({"probes built in", settings.server + ":bin=" + settings.without_probes});
  return out;
}

}  // namespace

int run_watched(const watched_settings& settings) {
  const auto all = comparisons(settings);
  run_settings run;
  run.servers.push_back(parse_server(settings.server));
  for (const auto& one : all) run.servers.push_back(parse_server(one.without));
  run.cells = {{.connections = settings.connections}};
  run.rounds = settings.rounds;
  run.warmup_ns = 200'000'000;
  run.duration_ns = static_cast<std::uint64_t>(settings.duration_s * 1e9);
  run.count_syscalls = false;
  run.quiet = settings.quiet;
  run.bin_dir = settings.bin_dir;
  const auto out = run_benchmark(run);
  std::vector<std::vector<std::string>> rows{target_header()};
  bool whole = true;
  for (const auto& one : all) {
    target t;
    t.of = settings.server;
    t.to = {one.without};
    std::string best;
    const auto s = ratio_of(out, t, best);
    whole = whole && s.rounds != 0;
    rows.push_back(
        target_row(one.title + ": CPU per request", one.without, s, true, watching, "x"));
  }
  if (settings.without_tasks.empty() || settings.without_probes.empty())
    fmt::print(
        "tasks shown, probes built in: of builds without them, --without-tasks DIR, "
        "--without-probes DIR\n");
  const auto scrapes = measure_scrapes(settings);
  rows.push_back(target_row(fmt::format("{} scrapes of /metrics: p99", scrapes.scrapes), "none",
                            ratio(scrapes.with, scrapes.without), true, being_read, "x"));
  fmt::print("{}", render_rows(rows, settings.markdown));
  for (const auto& server : out.cells.front().servers)
    if (!server.error.empty()) fmt::print(stderr, "{}: {}\n", server.spec.label, server.error);
  return whole ? 0 : 1;
}

}  // namespace weir::bench
