// The last events of a shard, in a ring of fixed size: who was accepted, what broke and why, what
// was dropped, when a drain began. For whoever wants to know what went before: /recorder, SIGQUIT,
// the end of a program. The shard alone writes, without a lock and without allocating; any thread
// reads at any time, and so does a signal's handler. Reads and writes that go well are no events.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <system_error>
#include <type_traits>

#include "weir/detail/place.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/time.hpp"

namespace weir::detail {

/// What `about` is.
enum class flight_about : std::uint8_t {
  nothing,
  socket,   ///< an address that names it; it may be gone
  place,    ///< a source_at
  counter,  ///< a stack::counter's name
};

// X(kind, words, about). One list, so that no kind lacks its words.
// clang-format off
#define WEIR_FLIGHT_KINDS(X)                                  \
  X(accepted, "accept", socket)                               \
  X(accept_failed, "accept failed", nothing)                  \
  X(connected, "connect", socket)                             \
  X(connect_failed, "connect failed", nothing)                \
  X(closed, "close", socket)                                  \
  X(aborted, "abort", socket)                                 \
  X(detached, "detach", socket)                               \
  X(attached, "attach", socket)                               \
  X(broke, "connection broke", socket)                        \
  X(timed_out, "timeout of an operation", place)              \
  X(stalled, "stall", place)                                  \
  X(counted, "of the stack", counter)                         \
  X(sent_again, "retransmission", nothing)                    \
  X(stop_requested, "stop requested", nothing)                \
  X(cancel_requested, "everything cancelled", nothing)        \
  X(drain_begun, "drain begins", place)                       \
  X(drain_ended_early, "drain cancels those left", place)     \
  X(task_failed, "task failed", place)                        \
  X(task_refused, "task refused by a full scope", place)
// clang-format on

struct flight_event {
  enum class kind : std::uint8_t {
#define WEIR_X(name, words, about) name,
    WEIR_FLIGHT_KINDS(WEIR_X)
#undef WEIR_X
  };

  instant at = {};          ///< the turn's time; of what lasted, when it began
  std::uint64_t count = 1;  ///< of the kind's: bytes, tasks, or how often
  const void* about = nullptr;
  endpoint peer = {};      ///< port 0: none
  std::uint16_t port = 0;  ///< our own; 0: none
  kind what = kind::accepted;
  bool of_weir = false;  ///< `error` is a weir::error's number, not an errno
  std::int32_t error = 0;
  std::uint32_t lasted_us = 0;

  void set_error(std::error_code from) noexcept;
};

/// Static texts.
const char* words_of(flight_event::kind what) noexcept;
flight_about about_of(flight_event::kind what) noexcept;

class flight_recorder {
 public:
  /// Keeps `events` of them; at least one.
  explicit flight_recorder(std::size_t events);

  /// On the shard's thread. The same drop, retransmission, timeout or refusal over and over is one
  /// event a second, with a count: a flood does not wash away what went before it.
  void add(const flight_event& event) noexcept;

  std::size_t size() const noexcept { return size_; }
  /// Since the beginning.
  std::uint64_t written() const noexcept { return written_.load(std::memory_order_acquire); }
  /// The last ones that fit, the oldest first; how many that is. What the shard overwrites
  /// meanwhile is left out. Any thread; calls nothing of the system.
  std::size_t last(std::span<flight_event> into) const noexcept;

 private:
  static constexpr std::size_t words = sizeof(flight_event) / sizeof(std::uint64_t);
  static_assert(sizeof(flight_event) % sizeof(std::uint64_t) == 0 &&
                std::is_trivially_copyable_v<flight_event>);
  using slot = std::array<std::atomic<std::uint64_t>, words>;

  static constexpr duration together = std::chrono::seconds(1);
  bool goes_with_last(const flight_event& event) const noexcept;
  void put(std::uint64_t index, const flight_event& event) noexcept;

  std::size_t size_;
  std::unique_ptr<slot[]> slots_;  // one more, which may be half written
  std::atomic<std::uint64_t> written_{0};
  flight_event last_;  // the writer's
};

}  // namespace weir::detail
