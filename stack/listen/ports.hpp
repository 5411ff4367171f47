// Ephemeral ports by RFC 6056 3.3.4 (double hash): a keyed hash of the destination says where to
// start, a counter per group of destinations where to go on, so that ports are neither guessable
// nor soon reused for one destination.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "stack/base/flow_key.hpp"

namespace weir::stack {

class port_allocator {
 public:
  /// RFC 6056 3.2: the widest range; ports that listeners use are left out by the caller's test.
  static constexpr std::uint32_t first = 1024;
  static constexpr std::uint32_t count = 65536 - first;

  explicit port_allocator(siphash_key key) : key_(key) {}

  /// A port for which `free(port)` holds; nothing when all are taken.
  template <class Free>
  std::optional<std::uint16_t> choose(const ip_address& local, const endpoint& remote,
                                      Free&& free) {
    const auto h = flow_key{{local, 0}, remote}.hash<2, 4>(key_);
    auto& counter = counters_[static_cast<std::size_t>(h >> 40) % counters_.size()];
    for (std::uint32_t tried = 0; tried < count; ++tried) {
      const auto port =
          static_cast<std::uint16_t>(first + (static_cast<std::uint32_t>(h) + counter++) % count);
      if (free(port)) return port;
    }
    return std::nullopt;
  }

 private:
  siphash_key key_;
  std::array<std::uint32_t, 64> counters_{};
};

}  // namespace weir::stack
