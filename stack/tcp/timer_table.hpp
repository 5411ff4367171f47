// The timers of one connection: what each is for, and when it is due. The host's wheel holds one
// node for the nearest. Firing them is timers.cpp's.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

enum class timer : std::uint8_t {
  // About what was sent. One of them runs at a time, and arming one stops the others (RFC 8985 7.2,
  // RFC 9293 3.8.6.1); all of them stop when nothing is out and nothing waits for a window.
  retransmit,  ///< nothing of it was acknowledged for too long (RFC 6298 5)
  persist,     ///< the next probe of a closed window
  tail_probe,  ///< the end of it may be lost, without anything behind that would tell
  reorder,     ///< what others overtook has had its time (RFC 8985 6.2)
  none,        ///< none of these
  // Beside them.
  delayed_ack,  ///< the acknowledgement that waited for company goes alone
  keep,         ///< keep-alive; of an orphan, the patience with its peer is at an end
};

class timer_table {
 public:
  /// Replaces what was there, of the first four whichever ran.
  void arm(timer which, instant at) {
    at_[place(which)] = at;
    if (which <= timer::none) about_sent_ = which;
  }
  void disarm(timer which) { at_[place(which)] = instant::never(); }
  /// None of the first four runs any more.
  void stop_about_sent() { arm(timer::none, instant::never()); }
  void stop_all() {
    at_.fill(instant::never());
    about_sent_ = timer::none;
  }

  /// Which of the first four runs.
  timer about_sent() const { return about_sent_; }
  bool runs(timer which) const {
    return which <= timer::none ? about_sent_ == which : !at_[place(which)].is_never();
  }
  /// When it is due; never() where it does not run.
  instant at(timer which) const { return at_[place(which)]; }
  bool due(timer which, instant now) const { return at_[place(which)] <= now; }
  /// When the next one is due.
  instant next() const { return std::min({at_[0], at_[1], at_[2]}); }

 private:
  static constexpr std::size_t place(timer which) {
    return which <= timer::none ? 0 : which == timer::delayed_ack ? 1 : 2;
  }

  std::array<instant, 3> at_{instant::never(), instant::never(), instant::never()};
  timer about_sent_ = timer::none;
};

}  // namespace weir::stack::tcp
