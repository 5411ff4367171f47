// What weir-bench measures beside the echo load: one call each, which prints its figures and
// returns the exit code. Each says what it did when something did not hold.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace weir::bench {

/// `idle`: a services process on the stack holds this many established connections, whose clients
/// exist only as packets; how fast it took them, what each costs in memory, and whether they serve.
struct idle_settings {
  std::uint32_t connections = 100'000;
  std::uint32_t window = 256;    // handshakes in flight
  std::uint32_t checked = 1000;  // connections that echo a message at the end
  std::uint32_t at_most = 0;     // bytes per connection; more fails. 0: whatever
  std::string bin_dir;
  bool quiet = false;
};
int run_idle(const idle_settings& settings);

/// `flood`: forged SYNs at a rate while kernel clients connect, send a request and wait for its
/// echo.
struct flood_settings {
  double seconds = 5;
  double rate = 0;  // SYNs per second; 0: as many as the sender's core makes
  double clients_per_s = 50;
  double limit_s = 3;  // a client that was not served by then has failed
  std::string bin_dir;
};
int run_flood(const flood_settings& settings);

/// Calls `step` so many times and does nothing else, under a name that a profiler can be told
/// (callgrind's --toggle-collect='*counted_steps*').
void counted_steps(std::uint64_t count, const std::function<void()>& step);

/// `wire`: two whole stacks in one thread, joined by memory: round trips and short connections.
struct wire_settings {
  unsigned rounds = 5;
  double seconds = 0.5;  // per figure and round
  /// Not 0: no time is measured; each figure's step is made this many times at a clock that moves
  /// by itself, in counted_steps(), for a tool that counts instructions.
  std::uint64_t count = 0;
  std::string only{};  // figures whose name begins so
};
int run_wire(const wire_settings& settings);

/// The two figures of `wire` that others are compared with, in nanoseconds, one for each round.
struct wire_rounds {
  std::vector<double> round_trip;         // 64 B there and back, checksums left to the device
  std::vector<double> summed_round_trip;  // the same with checksums
  std::vector<double> short_life;         // connect, one request, close
};
wire_rounds measure_wire(const wire_settings& settings);

/// `lookup`: what a packet costs with few and many listeners, few and many flows.
struct lookup_settings {
  unsigned rounds = 15;
  double seconds = 0.1;  // per figure and round
  std::uint32_t flows = 1'000'000;
  std::uint32_t listeners = 1000;
  std::uint64_t count = 0;  // as wire_settings'
  std::string only{};
};
int run_lookup(const lookup_settings& settings);

/// `tasks`: a shard holds tasks that wait, and is asked what for: how long that takes, and how long
/// a piece of the answer holds the shard up.
struct tasks_settings {
  std::uint64_t tasks = 1'000'000;
  unsigned rounds = 5;
};
int run_tasks(const tasks_settings& settings);

/// `watched`: what being watched costs an echo: CPU time for each request beside servers that are
/// not, and its p99 while /metrics is read. 0 when every row has a figure.
struct watched_settings {
  std::string server = "asio";
  unsigned rounds = 9;
  unsigned connections = 64;
  double duration_s = 1;              // of each window of the CPU rows
  double rate = 20'000;               // requests a second while it is scraped, and while it is not
  double scrape_s = 2;                // of each window
  std::uint64_t scrapes_per_s = 600;  // nine windows of two seconds: 10,000
  std::string without_tasks;          // folders of programs that were built so
  std::string without_probes;
  std::string bin_dir;
  bool quiet = false, markdown = false;
};
int run_watched(const watched_settings& settings);

/// `datagrams`: what a UDP datagram costs by itself, in batches, and with GSO and GRO.
struct datagrams_settings {
  std::string backend = "uring";
  unsigned rounds = 5;
  double seconds = 0.5;  // of the processor's, per way and round
};
int run_datagrams(const datagrams_settings& settings);

/// `gate`: weir-gate beside slirp4netns, pasta and the kernel's own forwarding: bulk data,
/// requests, new connections, from guests to a server in the world. 0 when weir-gate has all its
/// figures; a rival that is missing is said.
struct gate_settings {
  unsigned rounds = 5;
  double warmup_s = 0.3;
  double duration_s = 1;
  std::vector<std::string> only;  // subjects; none: all
  std::string bin_dir, json_file;
  bool markdown = false;
  bool quiet = false;
};
int run_gate(const gate_settings& settings);

}  // namespace weir::bench
