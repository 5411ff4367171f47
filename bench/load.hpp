// The load generator: one thread, one epoll, any number of connections to an echo server, every
// echoed byte compared. Closed loop (a fixed number of requests in flight per connection) and open
// loop (requests leave at intended instants, and latency is counted from those, not from when the
// sender got round to it). Measures the client's side only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "endpoint.hpp"
#include "histogram.hpp"
#include "schedule.hpp"

namespace weir::bench {

enum class load_mode { closed, open };

struct load_settings {
  endpoint target;
  unsigned connections = 1;
  std::size_t size = 64;  // bytes of one request, and of its echo
  unsigned depth = 1;     // most requests in flight on one connection
  load_mode mode = load_mode::closed;
  double rate = 0;  // open loop: requests per second over all connections
  arrivals arrival_kind = arrivals::poisson;
  std::uint64_t warmup_ns = 0;
  std::uint64_t duration_ns = 0;
  std::uint64_t min_requests =
      1;              // closed loop: the window stays open for these, up to 10 s longer
  bool spin = false;  // poll without sleeping
  std::uint64_t silence_limit_ns = 5'000'000'000;  // give up when nothing is answered for so long
  std::uint64_t seed = 1;
};

struct load_result {
  std::uint64_t requests = 0;  // completed inside the measured window
  std::uint64_t bytes = 0;     // of payload that arrived inside it, both ways together
  double seconds = 0;          // length of the measured window
  latency_histogram latency;
  std::uint64_t unfinished = 0;  // open loop: meant for the window, never answered
  std::uint64_t failed_connections = 0;
  /// Requests of the connection that had fewest, over the median connection's. Of echoes alone.
  double slowest = 0;
  double busy = 0;    // share of the window in which the load's own thread was on a core
  std::string error;  // empty when every connection was served and every byte was right
};

/// What the caller wants done at the edges of the measured window (read the server's CPU clock,
/// say) and about every half second in between.
struct load_hooks {
  std::function<void()> window_begins = [] {};
  std::function<void()> window_ends = [] {};
  std::function<void(std::uint64_t requests, double seconds)> progress = [](std::uint64_t, double) {
  };
};

/// Runs one measurement. Returns within connect limit + warm-up + duration + drain limit; never
/// throws for what the server does.
load_result run_load(const load_settings& settings, const load_hooks& hooks);

}  // namespace weir::bench
