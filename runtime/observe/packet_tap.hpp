// Where a transport shows the packets that it sends and receives. A tap only looks: it never
// delays, drops or fails a packet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "weir/stack/time.hpp"

namespace weir::detail {

enum class packet_direction : std::uint8_t { received, sent };

class packet_tap {
 public:
  virtual ~packet_tap() = default;
  /// One IP packet, gathered from parts.
  virtual void packet(instant when, packet_direction direction,
                      std::span<const std::span<const std::byte>> parts) = 0;
  /// Called when there is time: once a turn of the shard's loop.
  virtual void idle(instant now) = 0;
};

}  // namespace weir::detail
