// What every part of a host works with: its settings and counters, its memory, IP and the timers,
// and the way out for segments. It knows no flow and no socket.
#pragma once

#include <cstdint>
#include <span>

#include "stack/buffer/chunk_pool.hpp"
#include "stack/ip/ip_layer.hpp"
#include "stack/tcp/context.hpp"
#include "stack/tcp/isn.hpp"
#include "stack/tcp/timer_wheel.hpp"
#include "weir/stack/counters.hpp"
#include "weir/stack/options.hpp"
#include "weir/stack/packets.hpp"

namespace weir::stack {

struct host_core final : tcp::egress {
  host_core(host_options asked, packet_sink& sink)
      : options(std::move(asked)),
        pool(options.limits.memory),
        ip(options, sink, counters),
        isn(derive_key(options.secret, 3)) {}

  /// For a call into a connection.
  tcp::context context(instant now) {
    latest = now;
    return {now, pool, counters, *this};
  }
  void send_segment(instant now, const wire::tcp_segment& segment,
                    std::span<const std::span<const std::byte>> payload, std::uint8_t ttl) override;
  /// To a segment that belongs to no flow (RFC 9293 3.10.7.1).
  void answer_with_reset(instant now, const wire::tcp_segment& segment);
  /// True: what is being taken in belongs to nobody here, and another program has got it.
  bool forward_arrived() {
    return forwarder != nullptr && !arrived.empty() && forwarder->forward(arrived, arrived_as);
  }
  /// The same, else a reset.
  void forward_or_reset(instant now, const wire::tcp_segment& segment) {
    if (!forward_arrived()) answer_with_reset(now, segment);
  }
  std::uint16_t path_mtu(instant now, const ip_address& destination) const override {
    return ip.path_mtu(now, destination);
  }
  std::uint16_t path_limit(instant now, const ip_address& destination) const override {
    return ip.path_limit(now, destination);
  }

  host_options options;
  host_counters counters;
  buffer::chunk_pool pool;
  ip_layer ip;
  tcp::timer_wheel wheel;
  tcp::isn_source isn;
  packet_forwarder* forwarder = nullptr;
  // Where there is a forwarder, while a packet is taken in: all of it, and what is known of it.
  std::span<const std::byte> arrived;
  receive_meta arrived_as;
  instant latest;       ///< the last `now` that a call brought
  bool silent = false;  ///< the host goes: nothing is sent any more
};

}  // namespace weir::stack
