// How listeners share an address, and what a full accept queue does: said with the same words in
// the stack, in the runtime's options and in configuration.
#pragma once

#include <cstdint>
#include <system_error>

namespace weir::stack {

/// Listeners on one address and port: one alone; one queue for all of them; a queue for each.
enum class sharing_mode : std::uint8_t { exclusive, shared, sharded };
/// Which member of a sharded group gets a new connection.
enum class sharding_policy : std::uint8_t { hash, round_robin, least_loaded };
/// What a listener does with a handshake that completes while its accept queue is full.
enum class overflow_policy : std::uint8_t { drop, reset };

/// Fixed by the first member of a sharing group; a listener without it cannot join.
enum class owner_key : std::uint64_t { none = 0 };

/// What the members of a group must have in common.
struct sharing_terms {
  stack::owner_key owner_key = stack::owner_key::none;
  sharing_mode sharing = sharing_mode::exclusive;
  sharding_policy policy = sharding_policy::hash;
};

/// Whether a listener may join the group that is on its address, of which its shard may be a
/// `member`. address_in_use: it has another key, one of both is alone, or the shard is there.
/// invalid_argument: the group's mode or policy is another.
inline std::error_code refusal_to_join(const sharing_terms& there, const sharing_terms& asked,
                                       bool member) {
  if (there.owner_key != asked.owner_key || there.sharing == sharing_mode::exclusive ||
      asked.sharing == sharing_mode::exclusive || member)
    return std::make_error_code(std::errc::address_in_use);
  if (there.sharing != asked.sharing || there.policy != asked.policy)
    return std::make_error_code(std::errc::invalid_argument);
  return {};
}

}  // namespace weir::stack
