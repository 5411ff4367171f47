// What the scripts about sending share: a path with a known round trip, acknowledgements as text,
// and times that are exact but for the timer wheel's tick.
#pragma once

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "packet/script.hpp"

namespace weir::test {

inline host_options reno() {
  host_options o;
  o.tcp.congestion = congestion_algorithm::reno;
  return o;
}

inline std::string r(std::uint32_t from, std::uint32_t to) {
  return std::to_string(from) + ":" + std::to_string(to);
}

/// ". 1 ack N", with the blocks that the peer reports.
inline std::string ack(std::uint32_t n,
                       std::initializer_list<std::pair<std::uint32_t, std::uint32_t>> sacks = {}) {
  auto out = ". 1 ack " + std::to_string(n);
  if (sacks.size() == 0) return out;
  out += " <sack";
  for (const auto& [from, to] : sacks) out += " " + r(from, to);
  return out + ">";
}

/// `n` segments of 1000 bytes, each acknowledged after `round_trip`; returns the next sequence
/// number.
inline std::uint32_t warm_up(script& t, int n = 1, duration round_trip = 100ms) {
  std::uint32_t at = 1;
  for (int i = 0; i < n; ++i) {
    CHECK(t.send(1000u).value() == 1000);
    t.skip();
    t.after(round_trip);
    at += 1000;
    t.in(ack(at));
  }
  return at;
}

/// Timers fire at the first tick of their wheel (131 us) that is not early.
inline bool exactly(duration took, duration wanted) {
  return took >= wanted && took <= wanted + std::chrono::microseconds(132);
}

/// Takes all that was sent; where the segments with data begin.
inline std::vector<std::uint32_t> data_sent(script& t) {
  std::vector<std::uint32_t> out;
  while (t.sent() > 0) {
    const auto s = t.take();
    if (!s.payload.empty()) out.push_back(t.place(s));
  }
  return out;
}

}  // namespace weir::test
