// Which listeners stand on which address, over all shards of one device: groups with their owner
// key, their mode and policy, and their members. Changed under a mutex, read through immutable
// snapshots that each host keeps until the version moves on: no lock per segment. It decides who
// may listen (address_in_use) and who gets a SYN; what a listener does with it is the host's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>  // lint: allow, where shards meet
#include <system_error>
#include <vector>

#include "stack/base/flow_key.hpp"
#include "stack/base/hash_index.hpp"
#include "stack/share/flow_directory.hpp"
#include "stack/share/handover.hpp"
#include "weir/stack/options.hpp"

namespace weir::stack::share {

/// What the members of a group have in common. The owner key, the mode and the policy are the first
/// member's.
struct group {
  endpoint local;
  std::uint64_t id = 0;  ///< never used again, as the address may be
  stack::owner_key owner_key = stack::owner_key::none;
  sharing_mode sharing = sharing_mode::exclusive;
  sharding_policy policy = sharding_policy::hash;
  std::atomic<std::uint32_t> turn{0};       ///< round_robin: who is next
  std::atomic<std::int64_t> cookie_ns{-1};  ///< when a member last sent a SYN cookie
  /// shared: connections that nobody accepted yet, on all members and between them.
  std::atomic<std::uint32_t> unaccepted{0};

  /// Whether a flow may live anywhere, so that even a repeated SYN needs to be told where.
  bool places_freely() const {
    return sharing == sharing_mode::sharded && policy != sharding_policy::hash;
  }
};

/// A group and its members at one time, in the order of joining.
struct placement {
  std::shared_ptr<group> of;
  std::vector<std::uint16_t> members;

  bool has(unsigned shard) const;
};

class snapshot {
 public:
  snapshot(siphash_key key, std::vector<placement> all);
  /// The group on this very address; null when there is none.
  const placement* find(const endpoint& local) const;
  /// The group of this number, whose address that is; null when it has gone.
  const placement* find(const endpoint& local, std::uint64_t id) const;
  /// The same, or the one on the wildcard of its family.
  const placement* match(const endpoint& local) const;
  const std::vector<placement>& all() const { return all_; }

 private:
  siphash_key key_;
  std::vector<placement> all_;
  hash_index index_;
};

class table {
 public:
  table(unsigned shards, const std::array<std::uint8_t, 32>& secret, std::size_t flows);

  unsigned size() const { return static_cast<unsigned>(slots_.size()); }
  const std::array<std::uint8_t, 32>& secret() const { return secret_; }

  /// Listens with `shard` on `local`. address_in_use: somebody without the key, an exclusive
  /// listener, or this very shard is there, or a wildcard or specific address of another owner is
  /// on the port. invalid_argument: the group's mode or policy is another.
  std::error_code join(unsigned shard, const endpoint& local, const listen_options& options);
  void leave(unsigned shard, const endpoint& local);
  /// Whether nobody may listen there any more; for port choice.
  bool taken(const endpoint& local) const;

  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
  /// The newest snapshot and its version.
  std::shared_ptr<const snapshot> current(std::uint64_t& version) const;

  std::uint64_t hash(const flow_key& flow) const { return flow.hash<1, 3>(flow_hash_); }
  /// The shard on which a flow lives unless the directory says otherwise: the same for all time.
  unsigned home(std::uint64_t hash) const;
  /// Which member a new flow of this group goes to.
  unsigned pick(const placement& where, std::uint64_t hash);
  /// As the policy `hash` has it: stable as long as the members are.
  static unsigned pick_by_hash(const placement& where, std::uint64_t hash);

  flow_directory& directory() { return directory_; }
  inbox& inbox_of(unsigned shard) { return slots_[shard].inbox; }
  /// What least_loaded goes by: connections and handshakes, and those of them that nobody accepted
  /// yet. Told once a turn.
  void publish(unsigned shard, std::size_t flows, std::size_t unaccepted);

 private:
  struct alignas(64) slot {
    std::atomic<std::uint32_t> flows{0};
    std::atomic<std::uint32_t> unaccepted{0};
    share::inbox inbox;
  };

  std::error_code refusal(unsigned shard, const endpoint& local,
                          const listen_options& options) const;
  void replace(std::vector<placement> all);
  std::uint64_t load_of(unsigned shard) const;

  std::array<std::uint8_t, 32> secret_;
  siphash_key flow_hash_, group_hash_;
  owner_key process_owner_key_;
  flow_directory directory_;
  std::vector<slot> slots_;
  mutable std::mutex mutex_;
  std::shared_ptr<const snapshot> current_;
  std::uint64_t groups_made_ = 0;
  std::atomic<std::uint64_t> version_{1};
};

}  // namespace weir::stack::share
