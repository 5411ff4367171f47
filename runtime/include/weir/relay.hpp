// relay: what one stream brings goes to the other, both ways at once, until both have ended.
//
//   auto done = co_await weir::relay(std::move(client), std::move(server), {.idle = 5min});
//
// The streams may be of different kinds and networks: kernel and stack, TCP and TLS.
#pragma once

#include <cstdint>
#include <system_error>

#include "weir/error.hpp"
#include "weir/stream.hpp"
#include "weir/task.hpp"

namespace weir {

struct relay_limits {
  duration idle = no_limit;   ///< without a byte carried in either direction
  duration total = no_limit;  ///< of the whole relay
};

struct relay_result {
  std::uint64_t a_to_b = 0;  ///< bytes that b has taken
  std::uint64_t b_to_a = 0;
  /// Why it ended before both directions did: what ended one of the connections, timed_out (also of
  /// a limit), operation_canceled. Never thrown.
  std::error_code ec;
};

/// Carries bytes until both streams have ended. The end of one is passed on by shutdown_send(), and
/// the other direction goes on: a half-close stays one. Anything else (`ec`) resets both streams,
/// so that neither peer takes a part for the whole. Each direction reads on only when the other
/// side has taken what was read: a slow reader slows its writer down. An idle relay holds no
/// buffer.
///
/// What was read is written from where it was lent, a few buffers at a time. Lent buffers are the
/// shard's to share: where `relay_lent` directions of a shard wait with some, what others have is
/// copied into memory of their own.
task<relay_result> relay(any_stream a, any_stream b, relay_limits limits = {});
inline constexpr unsigned relay_lent = 16;

}  // namespace weir
