// What the loads other than echo share: client sockets, an epoll set, and the window in which is
// measured. Measures the client's side only; a server's clocks are read by the hooks.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <string>

#include "clock.hpp"
#include "load.hpp"

namespace weir::bench {

/// A connected non-blocking socket; throws std::system_error that names the endpoint.
int connect_client(const endpoint& target);
/// A socket whose connection is under way (writable when it is there), or -1 and errno.
int start_client(const endpoint& target) noexcept;

/// An epoll set, and the array that it fills.
class poller {
 public:
  poller();
  ~poller();
  poller(const poller&) = delete;
  poller& operator=(const poller&) = delete;
  void add(int fd, std::uint32_t interest, std::uint64_t data);
  void change(int fd, std::uint32_t interest, std::uint64_t data);
  /// Waits until something is ready, or `until`; not at all with `spin`. Calls
  /// `visit(data, events)`.
  template <class Visit>
  void wait(std::uint64_t until, bool spin, Visit&& visit) {
    const int count = wait_for_events(until, spin);
    for (int i = 0; i < count; ++i) {
      const auto& e = events_[static_cast<std::size_t>(i)];
      visit(e.data.u64, e.events);
    }
  }

 private:
  static constexpr int events_per_wait = 256;
  int wait_for_events(std::uint64_t until, bool spin);
  int fd_ = -1;
  std::array<epoll_event, events_per_wait> events_{};
};

/// Warm-up, measured window, end (later while fewer than `min_requests` were seen, up to 10 s);
/// with the hooks called at the edges and now and then in between.
class measured_window {
 public:
  measured_window(const load_settings& settings, const load_hooks& hooks);
  /// Call in each turn of the loop. True while there is anything left to do.
  bool running(load_result& result);
  bool open() const { return open_; }
  bool opened_now() const { return opened_now_; }
  /// No wait has to last longer than this.
  std::uint64_t next_instant() const { return next_; }
  /// Something was served: until then the window waits (5 s at most), so that a first packet that a
  /// new link has lost is no part of it.
  void progress_seen() {
    last_progress_ = now_ns();
    warm_ = true;
  }

 private:
  const load_settings& settings_;
  const load_hooks& hooks_;
  std::uint64_t begin_, end_, next_;
  std::uint64_t opened_ = 0, cpu_at_open_ = 0, last_progress_, next_report_;
  bool open_ = false, opened_now_ = false, warm_ = false;
};

}  // namespace weir::bench
