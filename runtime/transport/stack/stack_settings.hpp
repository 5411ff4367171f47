// What a stack transport is made from, and how the configuration's words become the stack's. No
// I/O, no clock.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>

#include "runtime/backend/driver.hpp"
#include "runtime/observe/packet_tap.hpp"
#include "runtime/transport/stack/handover/input_handover.hpp"
#include "runtime/transport/stack/handover/predecessor_links.hpp"
#include "stack/link/ethernet_link.hpp"
#include "weir/config.hpp"
#include "weir/options.hpp"
#include "weir/stack/options.hpp"
#include "weir/stack/shards.hpp"

namespace weir::detail {

/// The longest frame of a device with offloads: a virtio_net_hdr and a super-segment. An Ethernet
/// header comes on top.
inline constexpr std::size_t max_frame = 10 + 65535;

struct stack_settings {
  stack::host_options host;
  std::optional<stack::link_options> link = {};  ///< where the device carries Ethernet frames
  config::listen_section listen;                 ///< defaults of listen options that are not set
  int device = -1;                               ///< for driver::open_packet_port(), unless:
  /// Where the packets pass through something else. The receiver outlives the port.
  std::function<std::unique_ptr<packet_port>(packet_receiver&)> open_port = nullptr;
  std::shared_ptr<void> device_owner;  ///< kept as long as the transport lives
  std::size_t frame_limit = max_frame;
  std::string_view name = "stack";  ///< "stack" or "sim"
  std::unique_ptr<packet_tap> tap;  ///< or none
  /// Where several shards have one device: what they share, and which of them this is.
  std::shared_ptr<stack::shard_set> shards = nullptr;
  unsigned shard = 0;
  bool writes_only = false;  ///< the device's queue is another shard's to read
  /// Where the device is handed over from program to program: to the next one, of a queue that is
  /// read here,
  std::shared_ptr<input_handover> handover = nullptr;
  unsigned queue = 0;
  /// and the way to those that had it before, or null.
  std::unique_ptr<predecessor_links> predecessors = nullptr;
};

/// Addresses, MTU and [tcp] as the stack takes them. The secret is left empty.
stack_settings stack_settings_from(const config& settings);

/// Options with the defaults filled in; `tcp`: what the host's connections have.
stack::listen_options listen_options_from(const listen_options& options,
                                          const config::listen_section& defaults,
                                          const stack::tcp_options& tcp);

/// Takes over what is set.
void apply(const stream_options& from, stack::tcp_options& to);

/// How a peer is told of it; what has no word of its own is `otherwise`.
stack::refusal refusal_for(std::error_code why, stack::refusal otherwise);

}  // namespace weir::detail
