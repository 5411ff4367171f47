// What a connection keeps of what went wrong on its way: losses, reordering, duplicates, marks,
// probes, and of corks and pauses. Most connections never need it and an idle server holds very
// many of them, so it lives apart, from the first need to the end of the connection. Values only;
// what they mean is said by the files that use them: recovery.cpp, receive.cpp, path_probe.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "stack/tcp/path_search.hpp"
#include "stack/tcp/seq.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

struct setbacks {
  // Reducing the window (RFC 9937), and taking that back.
  std::uint32_t prr_delivered = 0, prr_out = 0, prr_flight = 0;
  std::uint32_t undo_bytes = 0;  // sent again since the last reduction, not reported twice yet
  instant episode_at;            // when recovery began, or the first timeout of several
  // What the next acknowledgements report.
  seq duplicate_from, duplicate_to;  // a D-SACK, once; empty when equal
  bool has_duplicate() const { return duplicate_from != duplicate_to; }
  std::array<seq, 4> reported{};  // in the ranges reported first of late, newest first
  seq tail_probe_end;             // what acknowledges the probe that is out
  path_search path;
  instant cork_at = instant::never();
  instant pace_at;  // no new data before it
  // Statistics.
  std::uint64_t bytes_retransmitted = 0;
  std::uint32_t retransmissions = 0, timeouts = 0, fast_retransmits = 0, window_probes = 0;
};

/// Setbacks that are there from the first change on. Until then they read as new ones.
class setbacks_ref {
 public:
  const setbacks& operator*() const { return has_ == nullptr ? none : *has_; }
  const setbacks* operator->() const { return &**this; }
  /// For changing them.
  setbacks& change() {
    if (has_ == nullptr) has_ = std::make_unique<setbacks>();
    return *has_;
  }
  /// Null while there are none.
  setbacks* get() { return has_.get(); }
  std::uint32_t bytes() const {
    return has_ == nullptr ? 0 : static_cast<std::uint32_t>(sizeof(setbacks));
  }

 private:
  static const setbacks none;

  std::unique_ptr<setbacks> has_;
};

inline const setbacks setbacks_ref::none{};

}  // namespace weir::stack::tcp
