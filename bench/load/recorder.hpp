// What one shard writes down while it loads. An open loop counts the requests that were due in the
// window, whenever they are answered; a closed one the answers that came in it.
#pragma once

#include <cstdint>
#include <string_view>

#include "load/control.hpp"
#include "load/in_flight.hpp"
#include "load/outcome.hpp"

namespace weir::load {

class recorder {
 public:
  recorder(const plan& of, control& shared, unsigned shard);

  /// Open loop: a request's instant has come.
  void due(std::int64_t at) {
    if (in_window(at)) ++seen_.scheduled;
  }
  void wrote(in_flight::request& one, std::size_t bytes, std::int64_t now);
  void received(std::size_t bytes, std::int64_t now) {
    if (in_window(now)) seen_.received_bytes += bytes;
  }
  void answered(const in_flight::request& one, std::int64_t now);
  /// A piece of what was not asked for (chargen).
  void piece(std::int64_t now);
  void failed(std::int64_t due, std::string_view why, std::int64_t now);
  void unfinished(std::int64_t due);
  void connected() { ++seen_.connects; }

  /// Open loop: whether requests waited for a connection when this one was due.
  void waiting(bool any, std::int64_t now) {
    if (!any) last_caught_up_ = now;
  }

  /// The window's edges, and those of its slices.
  void open(std::int64_t now, duration cpu);
  void roll(std::int64_t now);
  void close(std::int64_t now, duration cpu);

  outcome& seen() { return seen_; }

 private:
  bool in_window(std::int64_t at) const {
    return at >= control_.begin.load(std::memory_order_relaxed) &&
           at < control_.end.load(std::memory_order_relaxed);
  }
  bool counts(std::int64_t due, std::int64_t now) const {
    return in_window(plan_.mode == loop::open ? due : now);
  }
  void came(std::int64_t now);

  const plan& plan_;
  control& control_;
  control::count& mine_;
  outcome seen_;
  bench::latency_histogram part_;  // of the slice
  std::int64_t opened_ = 0, part_begin_ = 0, last_answer_ = 0, last_caught_up_ = INT64_MIN;
  std::uint64_t part_answers_ = 0, part_errors_ = 0;
  duration cpu_at_open_{};
};

}  // namespace weir::load
