// A datagram that a host shows its user without copying it, for a user who cannot take the bytes
// at once: another thread of his reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "weir/stack/address.hpp"

namespace weir::stack {

/// Out of a socket's queue and still charged to it, until host::udp_give_back(), which its user
/// calls once, before the socket is closed. The bytes stay where they are, and as they are.
struct lent_datagram {
  std::span<const std::byte> bytes;
  std::uint32_t token = 0;
  endpoint from;
  ip_address to;         ///< which of the host's addresses it was sent to
  std::uint8_t ecn = 0;  ///< of its IP header (RFC 3168 5)
};

}  // namespace weir::stack
