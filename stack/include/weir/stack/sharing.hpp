// How listeners share an address, and what a full accept queue does: said with the same words in
// the stack, in the runtime's options and in configuration.
#pragma once

#include <cstdint>

namespace weir::stack {

/// Listeners on one address and port: one alone; one queue for all of them; a queue for each.
enum class sharing_mode : std::uint8_t { exclusive, shared, sharded };
/// Which member of a sharded group gets a new connection.
enum class sharding_policy : std::uint8_t { hash, round_robin, least_loaded };
/// What a listener does with a handshake that completes while its accept queue is full.
enum class overflow_policy : std::uint8_t { drop, reset };

/// Fixed by the first member of a sharing group; a listener without it cannot join.
enum class owner_key : std::uint64_t { none = 0 };

}  // namespace weir::stack
