// Congestion control behind one small interface: a window and a threshold in bytes, told of
// acknowledgements and losses. Which bytes are lost, and the window during recovery (PRR), are
// recovery.cpp's. NewReno by RFC 5681 and CUBIC by RFC 9438, both with HyStart++ (RFC 9406) in the
// first slow start.
#pragma once

#include <cstdint>
#include <memory>

#include "stack/tcp/hystart.hpp"
#include "weir/stack/tcp_options.hpp"
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
  /// Before on_ack(), also while the window was no limit: what HyStart++ judges by. `rtt_us` 0: the
  /// acknowledgement measured no round trip.
  void on_round_trip(seq una, seq next, std::uint32_t rtt_us);
  /// The window is not what limits the sender: CUBIC's clock stands still (RFC 9438 4.2).
  void pause(instant now);
  /// A loss is to be recovered without a timeout, with `flight` bytes out: sets the threshold (RFC
  /// 5681 3.2).
  void on_loss(instant now, std::uint32_t flight);
  /// A mark, not a loss (RFC 3168 6.1.2, RFC 9438 4.6): sets the threshold as on_loss() does, and
  /// returns the window to come down to, which may be a single segment.
  std::uint32_t on_mark(instant now, std::uint32_t flight);
  /// A retransmission timeout. `first`: not the back-off of an earlier one (RFC 5681 3.1 equation
  /// 4).
  void on_timeout(instant now, std::uint32_t flight, bool first);
  /// Recovery sets the window as it goes (RFC 9937), and ends at the threshold.
  void set_window(std::uint32_t bytes);
  void finish_recovery() { set_window(threshold_); }
  /// Nothing was sent for longer than the timeout (RFC 5681 4.1).
  void restart_after_idle(std::uint32_t restart_window);
  /// Half of the window or more went unused for minutes (RFC 7661 4.4.3).
  void forget_unused(std::uint32_t initial_window);
  /// The last reduction was a mistake (a spurious timeout or reordering): takes it back.
  void undo();
  void set_mss(std::uint32_t mss);

 private:
  void cubic_increase(instant now, std::uint32_t acked, duration rtt);
  std::uint32_t reduced(std::uint32_t flight) const;
  void reduce(std::uint32_t flight);
  void remember();
  void set_threshold(std::uint32_t bytes);
  void end_epoch();
  /// Nothing was lost yet: the threshold is out of reach (RFC 5681 3.1).
  bool searching() const { return threshold_ == no_threshold; }

  static constexpr std::uint32_t no_threshold = 0x7fffffff;

  /// In segments (RFC 9438 4).
  struct cubic_epoch {
    std::int64_t clock_ns;  // its start; paused: -2 less the time that has run
    float window_estimate;  // W_est
    float prior;            // cwnd_prior: the window before the reduction
    float k;

    static constexpr std::int64_t none = -1;
  };

  struct before_reduction {
    std::uint32_t window, threshold;  // window 0: nothing to take back
    float window_max;
    cubic_epoch epoch;
  };

  std::uint32_t window_ = 0;
  std::uint32_t threshold_ = no_threshold;
  std::uint32_t mss_ = 536;
  std::uint32_t acked_ =
      0;                  // bytes acknowledged towards the next increase (RFC 3465 style counting)
  float window_max_ = 0;  // CUBIC's W_max, in segments
  congestion_algorithm algorithm_ = congestion_algorithm::cubic;
  std::unique_ptr<before_reduction> before_;  // null until there is one
  // One is needed while searching(), the other afterwards: set_threshold() changes between them.
  union {
    hystart start_{};
    cubic_epoch epoch_;
  };
};

}  // namespace weir::stack::tcp
