// Initial sequence numbers and timestamp offsets (RFC 6528 3, RFC 7323 5.4): a clock plus a keyed
// hash of the 4-tuple, so that nobody outside computes them and the same 4-tuple, opened again,
// starts later than it ended.
#pragma once

#include <cstdint>

#include "stack/base/flow_key.hpp"
#include "stack/base/siphash.hpp"
#include "stack/tcp/seq.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

class isn_source {
 public:
  explicit isn_source(siphash_key key) : key_(key) {}

  /// One step every 4.096 us (RFC 9293 MUST-8 asks for about 4).
  seq next(instant now, const flow_key& flow) const {
    const auto clock = static_cast<std::uint32_t>(static_cast<std::uint64_t>(now.ns()) >> 12);
    return seq(clock + static_cast<std::uint32_t>(flow.hash<2, 4>(key_)));
  }
  /// Added to the timestamp clock of every connection of this 4-tuple (stable, so that PAWS and RFC
  /// 6191 work).
  std::uint32_t timestamp_offset(const flow_key& flow) const {
    return static_cast<std::uint32_t>(flow.hash<2, 4>(key_) >> 32);
  }

 private:
  siphash_key key_;
};

/// The timestamp clock: 1 ms ticks (RFC 7323 5.4 allows 1 ms to 1 s).
inline std::uint32_t timestamp_clock(instant now, std::uint32_t offset) {
  return static_cast<std::uint32_t>(now.ns() / 1'000'000) + offset;
}

}  // namespace weir::stack::tcp
