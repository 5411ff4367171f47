// Congestion control behind one small interface: a window and a threshold in bytes, told of
// acknowledgements and losses. Which bytes are lost, and the window during recovery (PRR), are
// recovery.cpp's. NewReno by RFC 5681 and CUBIC by RFC 9438.
#pragma once

#include <cstdint>

#include "weir/stack/host.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

class congestion_control {
 public:
  void start(congestion_algorithm algorithm, std::uint32_t mss, std::uint32_t initial_window);

  std::uint32_t window() const { return window_; }
  std::uint32_t threshold() const { return threshold_; }
  bool in_slow_start() const { return window_ < threshold_; }

  /// `acked` bytes newly acknowledged outside of recovery, while the window was what limited the
  /// sender.
  void on_ack(instant now, std::uint32_t acked, duration rtt);
  /// A loss is to be recovered without a timeout, with `flight` bytes out: sets the threshold (RFC
  /// 5681 3.2).
  void on_loss(instant now, std::uint32_t flight);
  /// A mark, not a loss (RFC 3168 6.1.2, RFC 9438 4.6): sets the threshold as on_loss() does, and
  /// returns the window to come down to, which may be a single segment.
  std::uint32_t on_mark(instant now, std::uint32_t flight);
  /// A retransmission timeout. `first`: not the back-off of an earlier one (RFC 5681 3.1 equation
  /// 4).
  void on_timeout(instant now, std::uint32_t flight, bool first);
  /// Recovery sets the window as it goes (RFC 6937), and ends at the threshold.
  void set_window(std::uint32_t bytes);
  void finish_recovery() { set_window(threshold_); }
  /// Nothing was sent for longer than the timeout (RFC 5681 4.1).
  void restart_after_idle(std::uint32_t restart_window);
  /// The last reduction was a mistake (a spurious timeout or reordering): takes it back.
  void undo();
  void set_mss(std::uint32_t mss);

 private:
  void cubic_increase(instant now, std::uint32_t acked, duration rtt);
  std::uint32_t reduced(std::uint32_t flight) const;
  void note_reduction();

  std::uint32_t window_ = 0;
  std::uint32_t threshold_ = 0x7fffffff;
  std::uint32_t mss_ = 536;
  std::uint32_t acked_ =
      0;  // bytes acknowledged towards the next increase (RFC 3465 style counting)
  std::uint32_t undo_window_ = 0;
  std::uint32_t undo_threshold_ = 0;
  // CUBIC, in segments (RFC 9438 4)
  float window_max_ = 0;
  float window_estimate_ = 0;  // W_est
  float epoch_window_ = 0;
  float k_ = 0;
  std::int64_t epoch_ns_ = -1;  // -1: no congestion avoidance epoch runs
  congestion_algorithm algorithm_ = congestion_algorithm::cubic;
};

}  // namespace weir::stack::tcp
