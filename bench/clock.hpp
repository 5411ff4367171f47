// The clocks that the benchmark reads, in nanoseconds.
#pragma once

#include <cstdint>
#include <ctime>

namespace weir::bench {

inline std::uint64_t read_clock_ns(clockid_t which) noexcept {
  timespec now{};
  ::clock_gettime(which, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

inline std::uint64_t now_ns() noexcept { return read_clock_ns(CLOCK_MONOTONIC); }
inline std::uint64_t thread_cpu_ns() noexcept { return read_clock_ns(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace weir::bench
