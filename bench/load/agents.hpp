// Loads of other machines that one program leads: each the command `weir-bench agent` somewhere,
// spoken to over its standard streams. Begins their windows at one instant, by their clocks, and
// adds up what they saw.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "load/agent_stream.hpp"
#include "load/outcome.hpp"
#include "load/plan.hpp"
#include "load/runner.hpp"

namespace weir::load {

/// One command and our end of its streams.
class agent_link {
 public:
  /// Runs it by /bin/sh and waits for its greeting. Throws std::runtime_error that names it.
  explicit agent_link(std::string command);
  ~agent_link();
  agent_link(const agent_link&) = delete;
  agent_link& operator=(const agent_link&) = delete;

  const std::string& command() const { return command_; }
  void say(const nlohmann::json& message);
  /// The next message that is of this kind, or of the other; others are shown or passed over.
  nlohmann::json hear(std::string_view kind, duration limit, std::string_view or_kind = {});

  /// How its clock stands to ours, and how exactly that is known: half of the shortest round trip.
  struct comparison {
    std::int64_t ahead_ns = 0;
    std::int64_t within_ns = 0;
  };
  comparison compare_clocks();

 private:
  void release() noexcept;
  [[noreturn]] void fail(const std::string& why) const;

  std::string command_;
  pid_t pid_ = -1;
  int socket_ = -1;
  std::unique_ptr<agent_stream> stream_;
};

class agents {
 public:
  /// `loads`: who loads, in this machine's place; none: it does so itself. `server`: who tells of
  /// the server's process; empty: this machine. Throws std::runtime_error.
  agents(const std::vector<std::string>& loads, const std::string& server);

  bool load() const { return !loads_.empty(); }
  bool watch() const { return server_ != nullptr; }
  /// One window of all of them. Never throws: outcome::failure says why there is nothing.
  outcome measure(const plan& of, const run_settings& how);
  /// What the server has used so far.
  process_figures usage(const watched_server& of);

 private:
  struct part {
    agent_link* by;
    agent_link::comparison clock;
    outcome seen;
    bool over = false;
  };
  std::vector<part> start(const plan& of, const run_settings& how);
  void wait_until_warm(std::vector<part>& parts, const plan& of);
  void call_off(std::vector<part>& parts);
  void run_window(std::vector<part>& parts, const plan& of, const run_settings& how, outcome& sum);
  void collect(part& one, duration limit);

  std::vector<std::unique_ptr<agent_link>> loads_;
  std::unique_ptr<agent_link> server_;
};

}  // namespace weir::load
