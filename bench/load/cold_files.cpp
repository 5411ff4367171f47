// The servers, the client of the files, and the rounds. One process: the shard with both servers on
// a core of its own; the echo's load and the client of the files, whose time is in no latency of
// the shard's, on the other one, where the threads that read for the shard go too.
#include "load/cold_files.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "bench/report.hpp"
#include "load.hpp"
#include "process.hpp"
#include "targets.hpp"
#include "weir/http.hpp"
#include "weir/runtime.hpp"
#include "weir/weir.hpp"

namespace weir::load {
namespace {

constexpr double wanted = 2;  // the echo's p99 with files, over without

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// Files that go with this object.
class file_set {
 public:
  explicit file_set(const std::string& where) {
    auto pattern = (std::filesystem::path(where) / "weir-bench-files-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) fail(pattern);
    folder_ = pattern;
  }
  ~file_set() {
    for (const int fd : open_) ::close(fd);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  file_set(const file_set&) = delete;
  file_set& operator=(const file_set&) = delete;

  void fill(std::size_t count, std::size_t size) {
    const std::string bytes(size, 'x');
    for (std::size_t i = 0; i < count; ++i) make(folder_ / std::to_string(i), bytes);
    make_cold(0);
  }

  std::string folder() const { return folder_.string(); }
  std::size_t size() const { return open_.size(); }

  /// Lets the kernel forget it. Throws where it does not: there is no disk below it.
  void make_cold(std::size_t i) {
    if (const int error = ::posix_fadvise(open_[i], 0, 0, POSIX_FADV_DONTNEED); error != 0)
      throw std::system_error(error, std::generic_category(), "posix_fadvise");
    char byte = 0;
    const iovec into{&byte, 1};
    if (::preadv2(open_[i], &into, 1, 0, RWF_NOWAIT) >= 0 || errno != EAGAIN)
      throw std::runtime_error(folder() + ": files stay in memory there; --folder names a disk's");
  }

 private:
  void make(const std::filesystem::path& at, const std::string& bytes) {
    const int fd = ::open(at.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) fail(at.string());
    open_.push_back(fd);
    if (::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) ||
        ::fsync(fd) != 0)
      fail(at.string());
  }

  std::filesystem::path folder_;
  std::vector<int> open_;
};

// --- The shard with both.

task<> echo(tcp_stream peer) {
  std::array<std::byte, 4096> buffer;
  while (const auto n = co_await peer.read_some(buffer))
    co_await peer.write_all(std::span(buffer).first(n));
}

task<> accept_echoes(tcp_listener& listener, scope& sessions) {
  while (auto peer = co_await listener.accept()) sessions.spawn(echo(std::move(*peer)));
}

struct ports {
  endpoint echo, files;
};

task<> serve(shard& here, std::string folder, std::promise<ports>& ready) {
  http::file_root root(folder);
  http::router site;
  site.otherwise([&](http::request& asked) -> task<http::response> {
    if (auto known = root.answer_now(asked)) co_return std::move(*known);
    auto find = [&] { return root.answer(asked); };
    co_return co_await offload(find);
  });
  auto echoes = here.listen({"127.0.0.1", 0});
  auto files = here.listen({"127.0.0.1", 0});
  ready.set_value({echoes.local_endpoint(), files.local_endpoint()});
  http::server server(here, site);
  scope sessions(here);
  sessions.spawn(accept_echoes(echoes, sessions));
  co_await server.run(files);
  sessions.cancel();
}

/// Both servers, until this goes.
class both_servers {
 public:
  both_servers(const files_settings& how, const std::string& folder, int cpu)
      : thread_(resolved(how)) {
    auto listening = ready_.get_future();
    thread_.shard().post([this, folder, cpu] {
      if (cpu >= 0) bench::pin_this_thread(cpu);
      thread_.shard().start(serve(thread_.shard(), folder, ready_),
                            [this](const std::exception_ptr& failed) { ended(failed); });
    });
    at_ = listening.get();
  }
  ~both_servers() {
    auto done = ended_.get_future();
    thread_.shard().post([this] { thread_.shard().request_stop(); });
    done.wait();
  }
  both_servers(const both_servers&) = delete;
  both_servers& operator=(const both_servers&) = delete;

  const ports& at() const { return at_; }

 private:
  static config resolved(const files_settings& how) {
    config out;
    out.backend = how.backend;
    return resolve_backend(out);
  }
  void ended(const std::exception_ptr& failed) {
    try {
      if (failed) ready_.set_exception(failed);
    } catch (const std::future_error&) {  // it was ready before
    }
    ended_.set_value();
  }

  std::promise<ports> ready_;
  std::promise<void> ended_;
  ports at_{};
  shard_thread thread_;
};

// --- The client of the files.

/// Fetches one after the other, evenly over the time.
class fetching {
 public:
  fetching(const files_settings& how, const endpoint& from, file_set& files, bool cold)
      : how_(how), files_(files), cold_(cold), fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const auto where = bench::parse_endpoint(from.to_string()).value();
    if (fd_ < 0 || ::connect(fd_, where.address(), where.length) != 0) fail("connect");
    thread_ = std::thread([this] { run(); });
  }
  ~fetching() {
    end_ = true;
    if (thread_.joinable()) thread_.join();
    if (fd_ >= 0) ::close(fd_);
  }
  fetching(const fetching&) = delete;
  fetching& operator=(const fetching&) = delete;

  /// How many came. Throws what went wrong.
  std::size_t end() {
    end_ = true;
    thread_.join();
    if (!error_.empty()) throw std::runtime_error(error_);
    return done_;
  }

 private:
  void run() try {
    // It shares the echo load's core, and must not keep it from noticing answers.
    (void)::setpriority(PRIO_PROCESS, 0, 19);
    const auto between =
        std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / how_.files_per_s));
    auto next = std::chrono::steady_clock::now();
    for (; !end_; ++done_) {
      const auto which = done_ % files_.size();
      if (cold_) files_.make_cold(which);
      fetch(which);
      next += between;
      std::this_thread::sleep_until(next);
    }
  } catch (const std::exception& error) {
    error_ = error.what();
  }

  void fetch(std::size_t which) {
    const auto asked = fmt::format("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", which);
    if (::send(fd_, asked.data(), asked.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(asked.size()))
      fail("a request for a file");
    std::string head;
    std::size_t body = 0;
    for (std::size_t end = std::string::npos; end == std::string::npos || body < how_.bytes;) {
      const auto n = ::recv(fd_, piece_.data(), piece_.size(), 0);
      if (n <= 0) throw std::runtime_error("a file was cut short");
      if (end != std::string::npos) {
        body += static_cast<std::size_t>(n);
        continue;
      }
      head.append(piece_.data(), static_cast<std::size_t>(n));
      if (end = head.find("\r\n\r\n"); end != std::string::npos) body = head.size() - end - 4;
    }
    if (!head.starts_with("HTTP/1.1 200 ") || body != how_.bytes)
      throw std::runtime_error("a file was answered with " + head.substr(0, 20));
  }

  const files_settings& how_;
  file_set& files_;
  const bool cold_;
  int fd_;
  std::vector<char> piece_ = std::vector<char>(1 << 18);
  std::atomic<bool> end_{false};
  std::size_t done_ = 0;
  std::string error_;
  std::thread thread_;
};

// --- The rounds.

enum class mode { alone, warm, cold };

struct mode_rounds {
  std::vector<double> p99;  // us
  std::size_t fetched = 0;
};

double measure(const files_settings& how, unsigned round, mode what, const ports& at,
               file_set& files, std::size_t& fetched) {
  bench::load_settings load{.target = bench::parse_endpoint(at.echo.to_string()).value(),
                            .connections = 16};
  load.mode = bench::load_mode::open;
  load.rate = how.rate;
  load.seed = round + 1;  // the same arrivals each time
  load.warmup_ns = 200'000'000;
  load.duration_ns = static_cast<std::uint64_t>(how.seconds * 1e9);
  std::optional<fetching> beside;
  bench::load_hooks hooks;
  hooks.window_begins = [&] {
    if (what != mode::alone) beside.emplace(how, at.files, files, what == mode::cold);
  };
  hooks.window_ends = [&] {
    if (beside) fetched += beside->end();
  };
  const auto result = bench::run_load(load, hooks);
  if (!result.error.empty()) throw std::runtime_error(result.error);
  return static_cast<double>(result.latency.at(0.99)) / 1e3;
}

}  // namespace

int run_files(const files_settings& how) {
  const auto cpus = bench::allowed_cpus();
  file_set files(how.folder);
  files.fill(how.files, how.bytes);
  both_servers servers(how, files.folder(), cpus.size() > 1 ? cpus[1] : -1);
  if (cpus.size() > 1) bench::pin_this_thread(cpus[0]);
  std::array<mode_rounds, 3> seen;
  for (unsigned round = 0; round < how.rounds; ++round)
    for (unsigned turn = 0; turn < seen.size(); ++turn) {
      const auto which = (round + turn) % seen.size();
      auto& s = seen[which];
      s.p99.push_back(
          measure(how, round, static_cast<mode>(which), servers.at(), files, s.fetched));
    }
  fmt::print("{} echoes a second, p99 alone {:.0f} us; {} files a second of {} KiB on {}\n",
             how.rate, bench::summarize(seen[0].p99).median, how.files_per_s, how.bytes / 1024,
             how.backend);
  std::vector<std::vector<std::string>> rows{bench::target_header()};
  for (const auto which : {mode::warm, mode::cold}) {
    const auto& s = seen[static_cast<std::size_t>(which)];
    rows.push_back(bench::target_row(
        fmt::format("p99 beside {} {}", s.fetched,
                    which == mode::warm ? "files in memory" : "files on the disk"),
        "alone", bench::ratio(s.p99, seen[0].p99), true, wanted, "x"));
  }
  fmt::print("{}", bench::render_rows(rows, false));
  return 0;
}

}  // namespace weir::load
