// Which listener a SYN belongs to: the one on that very address, else the wildcard of its family.
// Two probes of a hash table, whatever the number of listeners. It decides whether an address may
// be listened on (address_in_use); what happens on a listener is the host's. After both come, one
// after the other, the few that take any destination of a network.
#pragma once

#include <cstdint>
#include <vector>

#include "stack/base/flow_key.hpp"
#include "stack/base/hash_index.hpp"
#include "stack/base/slab.hpp"
#include "stack/listen/listener.hpp"

namespace weir::stack {

class listener_table {
 public:
  static constexpr std::uint32_t none = hash_index::none;

  explicit listener_table(siphash_key key) : key_(key) {}

  /// The listener for segments to `local`; none when there is no such.
  std::uint32_t match(const endpoint& local) const;
  /// The same without those of an any_destination: who keeps a port from others.
  std::uint32_t match_specific(const endpoint& local) const;
  /// The listener on this very address.
  std::uint32_t exact(const endpoint& local) const;
  /// Whether a new listener would take connections from one that is there: the same address, or a
  /// wildcard on either side, on the same port and family. Members of a sharing group with one key
  /// may stand beside each other's wildcard.
  bool conflicts(const endpoint& local, const listen_options& options) const;
  bool conflicts(const any_destination& where) const;
  std::uint32_t add(const endpoint& local, const listen_options& options);
  std::uint32_t add(const any_destination& where, const listen_options& options);
  /// How many of an any_destination there are.
  std::size_t any_size() const { return any_.size(); }
  void remove(std::uint32_t index);

  slab<listener, 16>& all() { return listeners_; }
  const slab<listener, 16>& all() const { return listeners_; }
  listener& operator[](std::uint32_t i) { return listeners_[i]; }
  std::size_t size() const { return listeners_.size(); }

 private:
  siphash_key key_;
  hash_index index_;
  slab<listener, 16> listeners_;
  std::vector<std::uint32_t> any_;  // in the order in which they are asked
};

}  // namespace weir::stack
