// What a connection is handed with every call: the instant, the memory, the counters and the way
// out. A connection keeps none of them, so that it stays a value without an environment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/buffer/chunk_pool.hpp"
#include "stack/wire/tcp.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/counters.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

/// Where segments leave a connection.
class egress {
 public:
  /// Addresses, ports and header fields are set; `payload` is valid during the call only.
  virtual void send_segment(instant now, const wire::tcp_segment& segment,
                            std::span<const std::span<const std::byte>> payload,
                            std::uint8_t ttl) = 0;
  /// What fits through to `destination` as far as the host knows, headers included.
  virtual std::uint16_t path_mtu(instant now, const ip_address& destination) const {
    (void)now, (void)destination;
    return 65535;
  }
  /// What a probe may try.
  virtual std::uint16_t path_limit(instant now, const ip_address& destination) const {
    return path_mtu(now, destination);
  }

 protected:
  ~egress() = default;
};

struct context {
  instant now;
  buffer::chunk_pool& pool;
  host_counters& counters;
  egress& out;
  bool shortcuts = true;  ///< off in tests that compare them with the long way
  bool stays = false;     ///< a segment's payload stays where it is until chunk_pool::fill()
};

}  // namespace weir::stack::tcp
