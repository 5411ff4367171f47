// Who has which of a pool's addresses: a table with a place for each, by the client's identifier. A
// client has one. Bounded by the pool; knows neither addresses nor messages, reads no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "weir/stack/time.hpp"

namespace weir::stack {

enum class lease_state : std::uint8_t { unused, offered, leased, declined };

class lease_table {
 public:
  static constexpr std::uint32_t most_leases = 256;
  /// That an address is kept for who was offered it, and kept from all after it was declined.
  static constexpr duration offer_time = std::chrono::seconds(30);
  static constexpr duration declined_time = std::chrono::minutes(10);

  struct lease {
    lease_state state = lease_state::unused;
    std::string client;  // kept after the end
    instant until;

    bool is_free(instant now) const { return state == lease_state::unused || until <= now; }
  };

  /// For so many addresses: one at least, most_leases at most.
  explicit lease_table(std::uint32_t addresses);

  /// Null: beyond the pool.
  lease* at(std::uint32_t index) { return index < leases_.size() ? &leases_[index] : nullptr; }
  std::uint32_t index_of(const lease& l) const {
    return static_cast<std::uint32_t>(&l - leases_.data());
  }
  /// What the client has now, and is not declined; null: nothing.
  lease* held_by(instant now, const std::string& client);
  /// The client's own or the one it had, else `wanted` where that is free, else the one that nobody
  /// had for longest (RFC 2131 4.3.1). Null: none is free.
  lease* choose(instant now, const std::string& client, lease* wanted);
  /// Keeps it for the client for a while, unless it has it already.
  void offer(instant now, lease& l, const std::string& client);
  void withdraw_offer(const std::string& client);
  /// Others that the client has are free again.
  void give(instant now, lease& l, const std::string& client, duration time);
  /// False: the client does not have it.
  bool give_back(instant now, lease* l, const std::string& client, bool declined);
  /// How many are leased, offered or declined.
  std::size_t taken(instant now) const;

 private:
  std::vector<lease> leases_;
};

}  // namespace weir::stack
