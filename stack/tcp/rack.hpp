// Losses by time (RACK, RFC 8985): of what was sent before something that has arrived, what has not
// arrived within a round trip and the room that reordering gets is lost. What follows from a loss
// is recovery.cpp's.
#pragma once

#include <cstdint>

#include "stack/tcp/rtt.hpp"
#include "stack/tcp/scoreboard.hpp"
#include "stack/tcp/seq.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

inline constexpr std::uint8_t duplicate_threshold = 3;  // RFC 5681 3.2

struct losses {
  bool any = false;
  bool retransmission = false;  ///< one that was sent within this recovery
};

class rack {
 public:
  /// The connection is established; `una` is SND.UNA.
  void start(seq una) { round_ = una - 1; }
  /// An acknowledgement brought `outcome` (6.2 steps 1 to 3).
  void update(const ack_outcome& outcome, instant now, const rtt_estimator& rtt);
  /// Step 5: marks what is lost on `board`. `window` is how long the others may yet take, `episode`
  /// when this recovery began; `wait` becomes how long until the next may be lost, 0: none.
  losses detect(scoreboard& board, instant now, duration window, instant episode, duration& wait);
  /// The room for reordering; none that was never seen once losses are plain.
  duration window(const scoreboard& board, const rtt_estimator& rtt, std::uint16_t mss,
                  bool undisturbed) const;
  /// A D-SACK for what was sent twice: the room was too small. It grows once a round trip, and is
  /// kept for 16 recoveries.
  void on_duplicate(seq una, seq nxt);
  void note_reordering() { reordering_ = true; }
  bool reordering() const { return reordering_; }
  void leave_recovery();
  /// Numbers that were passed long ago must stay behind.
  void refresh(seq una) {
    if (round_ < una) round_ = una - 1;
  }

 private:
  friend struct connection_probe;

  instant sent_;  // when the newest of what has arrived left
  seq end_;       // and where it ends
  seq round_;     // the room grows again when this is acknowledged
  std::uint32_t rtt_us_ = 0;
  std::uint8_t steps_ = 1;  // reo_wnd_mult
  std::uint8_t persist_ = 0;
  bool reordering_ = false;
};

}  // namespace weir::stack::tcp
