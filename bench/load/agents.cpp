// The leader's side of agents.
#include "load/agents.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "load/control.hpp"
#include "load/wire_form.hpp"

extern char** environ;

namespace weir::load {
namespace {

using json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr duration greeting_limit = seconds(30);  // a login takes a while
constexpr duration answer_limit = seconds(10);
constexpr duration warm_limit = seconds(30);     // beside the time that connecting may take
constexpr duration hold_up = milliseconds(300);  // until all have heard when the window begins
constexpr int clock_rounds = 9;

std::int64_t now_ns() { return machine_clocks().now().ns(); }

/// "status 127", "signal 9"; empty: it still runs.
std::string end_of(pid_t pid, int limit_ms) {
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (handle >= 0) {
    pollfd waits{handle, POLLIN, 0};
    ::poll(&waits, 1, limit_ms);
    ::close(handle);
  }
  siginfo_t seen{};
  if (::waitid(P_PID, static_cast<id_t>(pid), &seen, WEXITED | WNOHANG | WNOWAIT) != 0 ||
      seen.si_pid == 0)
    return {};
  return fmt::format("{} {}", seen.si_code == CLD_EXITED ? "status" : "signal", seen.si_status);
}

}  // namespace

agent_link::agent_link(std::string command) : command_(std::move(command)) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw std::system_error(errno, std::generic_category(), "socketpair");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string shell = "sh", flag = "-c", line = "exec " + command_;
  std::array<char*, 4> words{shell.data(), flag.data(), line.data(), nullptr};
  const int error = ::posix_spawn(&pid_, "/bin/sh", &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  socket_ = ends[0];
  stream_ = std::make_unique<agent_stream>(socket_, socket_);
  try {
    if (error != 0) fail(std::system_category().message(error));
    const auto hello = hear("hello", greeting_limit);
    const auto version = hello.value("version", 0);
    if (version != agent_version)
      fail(fmt::format("it is of version {}, this program of {}", version, agent_version));
  } catch (...) {
    release();
    throw;
  }
}

agent_link::~agent_link() { release(); }

void agent_link::release() noexcept {
  ::close(socket_);
  if (pid_ <= 0) return;
  if (end_of(pid_, 2000).empty()) ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
}

void agent_link::fail(const std::string& why) const {
  const auto text = fmt::format("agent `{}`: {}", command_, why);
  throw std::runtime_error(text);
}

void agent_link::say(const json& message) try {
  stream_->say(message);
} catch (const std::system_error&) {
  const auto end = end_of(pid_, 1000);
  fail(end.empty() ? "it listens no more" : "it ended with " + end);
}

json agent_link::hear(std::string_view kind, duration limit, std::string_view or_kind) {
  const auto until = now_ns() + limit.count();
  for (;;) {
    std::optional<json> message;
    try {
      message = stream_->hear(duration(std::max<std::int64_t>(until - now_ns(), 0)));
    } catch (const std::runtime_error& error) {
      fail(error.what());
    }
    if (!message) {
      const auto end = end_of(pid_, 1000);
      fail(end.empty() ? "it closed its streams" : "it ended with " + end);
    }
    const auto says = message->value("says", std::string());
    if (says == kind || (!or_kind.empty() && says == or_kind)) return std::move(*message);
    if (says == "error") fail(message->value("what", std::string("an error")));
    if (says == "slice") fmt::print(stderr, "{}: {}", command_, message->value("line", ""));
  }
}

agent_link::comparison agent_link::compare_clocks() {
  comparison best{.within_ns = INT64_MAX};
  for (int i = 0; i < clock_rounds; ++i) {
    const auto before = now_ns();
    say({{"do", "clock"}});
    const auto there = hear("clock", answer_limit).at("now_ns").get<std::int64_t>();
    const auto after = now_ns();
    const auto half = (after - before) / 2;
    if (half < best.within_ns) best = {there - (before + half), half};
  }
  return best;
}

agents::agents(const std::vector<std::string>& loads, const std::string& server) {
  for (const auto& one : loads) loads_.push_back(std::make_unique<agent_link>(one));
  if (!server.empty()) server_ = std::make_unique<agent_link>(server);
}

process_figures agents::usage(const watched_server& of) {
  server_->say({{"do", "usage"}, {"pid", of.pid}, {"cgroup", of.cgroup}});
  const auto said = server_->hear("usage", answer_limit);
  process_figures out;
  said.at("known").get_to(out.known);
  said.at("cpu_s").get_to(out.cpu_s);
  said.at("switches").get_to(out.switches);
  said.at("resident_bytes").get_to(out.resident_bytes);
  return out;
}

outcome agents::measure(const plan& of, const run_settings& how) {
  outcome sum;
  try {
    auto parts = start(of, how);
    wait_until_warm(parts, of);
    for (const auto& one : parts)
      if (one.over) {
        call_off(parts);
        sum.failure = fmt::format("agent `{}`: {}", one.by->command(), one.seen.failure);
        return sum;
      }
    run_window(parts, of, how, sum);
  } catch (const std::exception& error) {
    sum.failure = error.what();
    loads_.clear();  // who knows what they do now
  }
  return sum;
}

std::vector<agents::part> agents::start(const plan& of, const run_settings& how) {
  if (loads_.empty()) throw std::runtime_error("an agent failed before");
  const auto count = std::min<unsigned>(static_cast<unsigned>(loads_.size()), of.connections);
  std::vector<part> out;
  for (unsigned i = 0; i < count; ++i) {
    auto& link = *loads_[i];
    out.push_back({&link, link.compare_clocks(), {}, false});
    link.say({{"do", "measure"},
              {"plan", form_of(part_of(of, i, count))},
              {"words", how.words},
              {"live", how.live}});
  }
  return out;
}

/// Until each has warmed up, or has ended.
void agents::wait_until_warm(std::vector<part>& parts, const plan& of) {
  const auto limit = of.connect_timeout + of.warmup.value_or(duration()) + warm_limit;
  for (auto& one : parts) {
    const auto said = one.by->hear("warm", limit, "outcome");
    if (said.at("says") != "outcome") continue;
    one.seen = outcome_from(said.at("outcome"));
    one.over = true;
  }
}

void agents::collect(part& one, duration limit) {
  if (one.over) return;
  one.seen = outcome_from(one.by->hear("outcome", limit).at("outcome"));
  one.over = true;
}

void agents::call_off(std::vector<part>& parts) {
  for (auto& one : parts)
    if (!one.over) one.by->say({{"do", "call_off"}});
  for (auto& one : parts) collect(one, warm_limit);
}

void agents::run_window(std::vector<part>& parts, const plan& of, const run_settings& how,
                        outcome& sum) {
  const auto begin = now_ns() + hold_up.count();
  for (auto& one : parts) {
    sum.clocks_within_ns = std::max(sum.clocks_within_ns, one.clock.within_ns);
    one.by->say({{"do", "begin"}, {"at_ns", begin + one.clock.ahead_ns}});
  }
  server_watch watch(how, of.server);
  std::this_thread::sleep_for(duration(begin - now_ns()));
  watch.begin();
  std::this_thread::sleep_for(duration(begin - now_ns()) + of.window);
  watch.end();
  for (auto& one : parts) collect(one, of.timeout + warm_limit);
  for (const auto& one : parts) {
    sum.add(one.seen);
    if (!one.seen.failure.empty())
      sum.failure = fmt::format("agent `{}`: {}", one.by->command(), one.seen.failure);
    sum.warmup_s = std::max(sum.warmup_s, one.seen.warmup_s);
    sum.steady = sum.steady && one.seen.steady;
    sum.machine.worst_of(one.seen.machine);
  }
  sum.agents = static_cast<unsigned>(parts.size());
  sum.server = watch.seen();
}

}  // namespace weir::load
