// The send sequence space of a connection (RFC 9293 3.3.1): what is acknowledged, what was sent,
// and the window that the peer grants. Its names are the RFC's. How much of it may be used at once
// is congestion.hpp's, what became of what is in flight scoreboard.hpp's.
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/tcp/seq.hpp"

namespace weir::stack::tcp {

struct send_space {
  seq iss, una, nxt, wl1, wl2;
  std::uint32_t wnd = 0;
  std::uint32_t max_wnd = 0;  ///< the largest that the peer has granted
  std::uint8_t shift = 0;     ///< of its window field (RFC 7323 2.2)

  void begin(seq initial, seq next) {
    iss = una = initial;
    nxt = next;
  }
  /// The first window, from the segment `sequence` that acknowledges `ack`.
  void open_window(std::uint32_t window, seq sequence, seq ack) {
    wnd = max_wnd = window;
    wl1 = sequence;
    wl2 = ack;
  }
  /// RFC 9293 3.10.7.4: SND.WL1 and SND.WL2 keep an old segment from granting an old window. False:
  /// it was old.
  bool update_window(std::uint32_t window, seq sequence, seq ack) {
    const bool newer =
        ack > una || wl1 < sequence || (wl1 == sequence && (wl2 < ack || window > wnd));
    if (!newer && !(wl1 == sequence && wl2 == ack)) return false;
    wnd = window;
    wl1 = sequence;
    wl2 = ack;
    max_wnd = std::max(max_wnd, window);
    return true;
  }

  std::uint32_t out() const { return span_of(una, nxt); }
  bool idle() const { return una == nxt; }
  bool in_flight(seq sequence) const { return una <= sequence && sequence < nxt; }
  /// RFC 5961 5.2: neither of what was never sent nor older than any window.
  bool plausible(seq ack) const { return ack <= nxt && ack >= una - std::max(max_wnd, 1u); }
  /// The number of a segment that carries nothing. Where the peer has moved its window's edge back
  /// below what was sent, SND.NXT lies beyond the window: the segment would be dropped, and with it
  /// its acknowledgement or its reset (RFC 9293 3.10.7.4; Linux's tcp_acceptable_seq). What the
  /// scale's rounding takes off a window has not moved its edge.
  seq bare() const {
    const auto edge = una + wnd;
    return edge + ((1u << shift) - 1) < nxt ? edge : nxt;
  }
};

}  // namespace weir::stack::tcp
