// What the hosts of one device share: one host per shard, each single-threaded, and this beside
// them. It says which listeners form a group and which member gets the next connection, remembers
// which shard a flow lives on, and carries what arrived on the wrong shard to the right one. It
// makes no system call and knows no thread: how a shard is woken is its owner's to say, so that
// several shards can be tested in one thread under a virtual clock. Lookups take no lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "weir/stack/address.hpp"
#include "weir/stack/sharing.hpp"

namespace weir::stack {

namespace share {
class table;
}

/// Told when a shard's host has something to take (host::take_handovers). Called from any shard's
/// thread, never twice before the take; must not call back.
class shard_waker {
 public:
  virtual void wake() noexcept = 0;

 protected:
  ~shard_waker() = default;
};

/// One member of a sharing group, or the one listener of an exclusive address.
struct group_info {
  endpoint local;
  sharing_mode sharing = sharing_mode::exclusive;
  sharding_policy policy = sharding_policy::hash;
  std::vector<unsigned> members;  ///< shards; of a shared group the first has the queues
};

class shard_set {
 public:
  static constexpr unsigned max_shards = 255;

  /// `secret` becomes that of every host: a cookie of one is good on all. `flows` bounds the
  /// directory of flows; beyond it new ones go where no entry is needed. Throws
  /// std::invalid_argument for 0 or more than max_shards.
  shard_set(unsigned shards, const std::array<std::uint8_t, 32>& secret,
            std::size_t flows = std::size_t{1} << 20);
  ~shard_set();
  shard_set(const shard_set&) = delete;
  shard_set& operator=(const shard_set&) = delete;

  unsigned size() const;
  /// From now on, or null: no longer. Any thread; wake() is not called after detaching returned.
  void set_waker(unsigned shard, shard_waker* waker);
  /// Every address that is listened on, for reports. Any thread.
  std::vector<group_info> groups() const;

  share::table& inside() { return *table_; }
  /// Which shards have UDP sockets where. What moves between them goes through inside()'s inboxes.
  share::table& datagrams() { return *datagrams_; }

 private:
  std::unique_ptr<share::table> table_, datagrams_;
};

}  // namespace weir::stack
