// The agent's side: one load at a time on a thread of its own, while the first one listens, so that
// the leader is heard, and its end noticed, whatever runs.
#include "load/agent.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "bench/private_net.hpp"
#include "load/agent_stream.hpp"
#include "load/control.hpp"
#include "load/machine.hpp"
#include "load/options.hpp"
#include "load/runner.hpp"
#include "load/wire_form.hpp"

namespace weir::load {
namespace {

using json = nlohmann::json;

class agent {
 public:
  int run() {
    say({{"says", "hello"}, {"version", agent_version}});
    for (;;) {
      std::optional<json> message;
      try {
        message = stream_.hear();
        if (!message) break;
        carry_out(*message);
      } catch (const std::exception& error) {
        say({{"says", "error"}, {"what", error.what()}});
        if (!message) break;  // what comes is no line of a leader's
      }
    }
    // Nobody wants what still runs, and it has nothing to lose.
    ::_exit(0);
  }

 private:
  void say(const json& message) {
    const std::lock_guard held(speaking_);
    stream_.say(message);
  }

  void carry_out(const json& message) {
    const auto what = message.at("do").get<std::string>();
    if (what == "clock") return say({{"says", "clock"}, {"now_ns", machine_clocks().now().ns()}});
    if (what == "usage") return usage(message);
    if (what == "begin") return begin_.store(message.at("at_ns").get<std::int64_t>());
    if (what == "call_off") return called_off_.store(true);
    if (what == "measure") return start(message);
    throw std::invalid_argument(fmt::format("`{}` is nothing that an agent does", what));
  }

  void usage(const json& message) {
    const watched_server of{message.at("pid").get<pid_t>(),
                            message.at("cgroup").get<std::string>()};
    const auto seen = machine().figures(of);
    say({{"says", "usage"},
         {"known", seen.known},
         {"cpu_s", seen.cpu_s},
         {"switches", seen.switches},
         {"resident_bytes", seen.resident_bytes}});
  }

  void start(const json& message) {
    if (busy_.exchange(true)) throw std::invalid_argument("a load runs already");
    if (work_.joinable()) work_.join();
    begin_.store(0);
    called_off_.store(false);
    try {
      auto of = plan_from(message.at("plan"));
      auto how = settings_from(message.at("words").get<std::vector<std::string>>());
      how.config.shards = std::min(how.config.shard_count(), of.connections);
      const bool live = message.at("live").get<bool>();
      work_ = std::thread([this, of = std::move(of), how, live] { load(of, how, live); });
    } catch (...) {
      busy_.store(false);
      throw;
    }
  }

  void load(const plan& of, const run_settings& how, bool live) {
    const auto agreed = [this, said = false]() mutable -> std::optional<std::int64_t> {
      if (!said) say({{"says", "warm"}});
      said = true;
      if (called_off_.load()) throw std::runtime_error("another load could not begin");
      const auto at = begin_.load();
      return at == 0 ? std::nullopt : std::optional(at);
    };
    const auto show = [this](const std::string& line) { say({{"says", "slice"}, {"line", line}}); };
    const auto seen = measure_here(of, how, {agreed, live ? show : line_sink()});
    busy_.store(false);
    say({{"says", "outcome"}, {"outcome", form_of(seen)}});
  }

  std::mutex speaking_;
  agent_stream stream_{STDIN_FILENO, STDOUT_FILENO};
  std::thread work_;
  std::atomic<bool> busy_{false}, called_off_{false};
  std::atomic<std::int64_t> begin_{0};
};

}  // namespace

int run_agent() {
  bench::raise_file_limit();
  return agent().run();
}

}  // namespace weir::load
