// What other threads may see of a shard's loop while it runs, for whoever watches that it turns
// (runtime/tasks/stall_watch.hpp), and how its turns are spread. Written by the shard alone, with
// plain stores; nothing waits for a reader.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "weir/detail/place.hpp"

namespace weir {

/// How often values were how large, by powers of two: bucket i counts those below 2^i that are in
/// no bucket before; the last one takes what is larger.
struct power_histogram {
  static constexpr std::size_t size = 40;
  std::array<std::uint64_t, size> counts{};
  std::uint64_t sum = 0;

  void add(std::uint64_t value) {
    const auto width = static_cast<std::size_t>(std::bit_width(value));
    ++counts[width < size ? width : size - 1];
    sum += value;
  }
};

/// Of a shard's loop.
struct shard_histograms {
  power_histogram turn_ns;        ///< from a turn's begin to its wait
  power_histogram ready;          ///< coroutines that a turn resumed, where it resumed any
  power_histogram timer_late_ns;  ///< by how much deadlines were judged late
};

namespace detail {

/// Rung by a shard that wakes while its watcher sleeps.
struct watcher_bell {
  std::atomic<bool> asleep{false};
  void ring() noexcept {
    asleep.store(false);
    asleep.notify_all();
  }
};

struct pulse {
  std::atomic<std::uint64_t> turns{0};
  std::atomic<bool> sleeping{false};
  std::atomic<int> thread{0};  ///< its number, for the system
  std::atomic<source_at> resumed{
      nullptr};  ///< where the coroutine had waited that was resumed last
  std::atomic<watcher_bell*> bell{nullptr};
};

}  // namespace detail
}  // namespace weir
