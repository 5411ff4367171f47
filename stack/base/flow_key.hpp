// What names a flow: both endpoints, ours first. Compared and hashed as words.
#pragma once

#include <cstdint>
#include <cstring>

#include "stack/base/siphash.hpp"
#include "weir/stack/address.hpp"

namespace weir::stack {

struct flow_key {
  endpoint local, remote;

  /// Ports first: they tell two flows of one pair of hosts apart, addresses hardly ever.
  bool operator==(const flow_key& other) const {
    return local.port == other.local.port && remote.port == other.remote.port &&
           same(local.address, other.local.address) && same(remote.address, other.remote.address);
  }
  /// The default comparison, in two words instead of a call of memcmp.
  static bool same(const ip_address& a, const ip_address& b) {
    std::uint64_t x[2], y[2];  // an IPv4 address fills the rest of its 16 bytes with zeros
    std::memcpy(x, a.bytes().data(), sizeof x);
    std::memcpy(y, b.bytes().data(), sizeof y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0 && a.family() == b.family();
  }

  template <int C, int D>
  std::uint64_t hash(siphash_key key) const {
    const auto ports = std::uint64_t{local.port} << 16 | remote.port;
    if (local.address.is_v4()) {
      const std::uint64_t words[] = {
          std::uint64_t{local.address.to_v4_number()} << 32 | remote.address.to_v4_number(), ports};
      return siphash_words<C, D>(key, words);
    }
    std::uint64_t words[5];
    std::memcpy(words, local.address.bytes().data(), 16);
    std::memcpy(words + 2, remote.address.bytes().data(), 16);
    words[4] = ports;
    return siphash_words<C, D>(key, words);
  }
};

/// Hash of one endpoint, for listeners.
template <int C, int D>
std::uint64_t hash_endpoint(siphash_key key, const endpoint& e) {
  std::uint64_t words[3] = {
      0, 0, std::uint64_t{e.port} << 8 | static_cast<std::uint64_t>(e.address.family())};
  std::memcpy(words, e.address.bytes().data(), e.address.bytes().size());
  return siphash_words<C, D>(key, words);
}

}  // namespace weir::stack
