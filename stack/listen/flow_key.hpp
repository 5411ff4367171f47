// What names a flow: both endpoints, ours first. Compared and hashed as words.
#pragma once

#include <cstdint>
#include <cstring>

#include "weir/stack/address.hpp"
#include "wire/siphash.hpp"

namespace weir::stack {

struct flow_key {
  endpoint local, remote;

  bool operator==(const flow_key&) const = default;

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
