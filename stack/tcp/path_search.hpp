// The search of RFC 4821 7 for what a path carries, as one connection sees it: sizes of whole IP
// packets between one that is known to arrive and one that may, and when the next may be tried. It
// sends nothing; see path_probe.cpp.
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/tcp/seq.hpp"
#include "stack/tcp/stamp.hpp"

namespace weir::stack::tcp {

class path_search {
 public:
  /// RFC 1191 6.3, RFC 8201 4: five minutes at least, ten are recommended, until a larger size is
  /// tried again (RFC 4821 7.3).
  static constexpr duration rest = std::chrono::minutes(10);
  /// A search is over when it has come this close (Linux's tcp_probe_threshold).
  static constexpr std::uint16_t close_enough = 8;
  /// RFC 4821 7.6.2: probes that fail are at least this far apart, and so many round trips.
  static constexpr duration pause = std::chrono::seconds(1);
  static constexpr int pause_round_trips = 16;

  bool running() const { return low_ != 0; }
  bool probing() const { return probe_ != 0; }
  std::uint16_t low() const { return low_; }
  std::uint16_t high() const { return high_; }
  std::uint16_t probe() const { return probe_; }
  seq probe_start() const { return start_; }

  /// `low` arrives, `high` may.
  void begin(std::uint16_t low, std::uint16_t high) {
    low_ = low;
    high_ = std::max(low, high);
    probe_ = 0;
    failed_ = false;
    over_ = high_ - low_ < close_enough;
  }
  /// A router named the size: nothing to be found for now.
  void settle(std::uint16_t size, instant now) {
    begin(size, size);
    over_ = true;
    waiting_since_ = stamp(now);
  }
  /// The packet size to try now; 0: none. `limit` is what the host knows of the path and the peer.
  std::uint16_t next(instant now, duration round_trip, std::uint16_t limit) {
    if (probe_ != 0) return 0;
    if (over_) {
      if (waiting_since_.never()) waiting_since_ = stamp(now);
      if (waiting_since_.since(now) < rest) return 0;
      begin(low_, limit);
      if (over_) {
        waiting_since_ = stamp(now);
        return 0;
      }
    } else if (failed_ && !waiting_since_.never() &&
               waiting_since_.since(now) < std::max(pause, round_trip * pause_round_trips)) {
      return 0;
    }
    high_ = std::max(low_, std::min(high_, limit));
    if (high_ - low_ < close_enough) {
      finish(now);
      return 0;
    }
    // The whole range at once while nothing speaks against it, then halves.
    return failed_ ? static_cast<std::uint16_t>((low_ + high_ + 1) / 2) : high_;
  }
  void sent(std::uint16_t size, seq start) {
    probe_ = size;
    start_ = start;
  }
  void arrived(instant now) {
    low_ = std::max(low_, probe_);
    probe_ = 0;
    waiting_since_ = stamp();
    if (high_ - low_ < close_enough) finish(now);
  }
  void lost(instant now) {
    high_ = static_cast<std::uint16_t>(std::max(probe_ - 1, int{low_}));
    probe_ = 0;
    failed_ = true;
    waiting_since_ = stamp(now);
    if (high_ - low_ < close_enough) finish(now);
  }
  /// A timeout says nothing about the probe (RFC 4821 7.6.4): it is tried again after the pause.
  void inconclusive(instant now) {
    if (probe_ == 0) return;
    probe_ = 0;
    failed_ = true;
    waiting_since_ = stamp(now);
  }

 private:
  void finish(instant now) {
    over_ = true;
    waiting_since_ = stamp(now);
  }

  std::uint16_t low_ = 0, high_ = 0;  // 0: no search
  std::uint16_t probe_ = 0;           // the size on its way; 0: none
  bool failed_ = false;
  bool over_ = false;
  seq start_;
  stamp waiting_since_;
};

}  // namespace weir::stack::tcp
