// A relay from the inside: two streams, what is carried between them each way, and what ends them
// both. Most relays are idle most of the time, so what one keeps while nothing moves is small: one
// coroutine for each way, with the read that it waits in; whatever moves bytes is a task that goes
// when they are taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <system_error>

#include "weir/relay.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

class two_ways;

/// Hears of the end of a relay that no coroutine awaits.
class relay_told {
 public:
  /// Both streams have ended, or are reset after this. `note` is what was given at the beginning.
  virtual void relay_over(const relay_result& result, void* note) noexcept = 0;

 protected:
  ~relay_told() = default;
};

/// weir::relay() without anybody who waits for it, whose frame would be kept for as long.
task<> carry_both_ways(any_stream a, any_stream b, relay_limits limits, relay_told& told,
                       void* note);

/// From one stream to the other.
class direction {
 public:
  explicit direction(two_ways& of) : of_(&of) {}

  any_stream& from() const;
  any_stream& to() const;
  two_ways& of() const { return *of_; }
  std::uint64_t carried() const { return carried_; }
  /// Notes what became of a piece. False: it was the last.
  bool passed(const transfer& done) noexcept;
  /// The stream has ended: that is passed on.
  void ended() noexcept;

 private:
  two_ways* of_;
  std::uint64_t carried_ = 0;
};

/// Until one stream has ended and the other has taken all that it brought, or the relay is over.
task<> carry_one_way(direction& way);

}  // namespace weir::detail
