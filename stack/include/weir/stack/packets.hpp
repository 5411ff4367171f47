// Packets between a host and its device: what the device knows of one that it hands in, and what it
// is to do with one that it is given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "weir/stack/address.hpp"

namespace weir::stack {

/// What a device knows of a packet that it hands in (virtio_net_hdr's facts, without its layout).
struct receive_meta {
  bool checksum_good =
      false;  ///< the transport checksum was verified, or need not be (RFC 9293 MUST-3 is met)
  std::uint16_t gso_size =
      0;  ///< a super-segment: the payload bytes of each segment that it carries; 0 if single
};

/// What a device is to do with a packet that it is given.
struct transmit_meta {
  bool needs_checksum =
      false;  ///< the field holds the pseudo-header sum only; complete it from checksum_start on
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
  std::uint16_t gso_size = 0;  ///< cut the payload into segments of this size; 0: send as it is
  std::uint16_t header_length = 0;  ///< IP and transport header together
  ip_family family = ip_family::v4;
};

/// Where a host's packets go. Called from input(), flush(), advance() and the socket calls.
class packet_sink {
 public:
  virtual ~packet_sink() = default;
  /// Takes one IP packet, gathered from parts (headers first). The parts are valid only during the
  /// call. False: the device has no room; the host counts it and recovers as from a loss.
  virtual bool transmit(std::span<const std::span<const std::byte>> parts,
                        const transmit_meta& meta) = 0;
};

/// Where packets go that belong to nobody here: to the program that had the device before this one,
/// and has their flows still. Called from input() and take_handovers(), and must not call the host.
class packet_forwarder {
 public:
  /// Takes one IP packet, a reassembled one whole; valid during the call only. False: there is
  /// nobody any more, and the host answers it as its own.
  virtual bool forward(std::span<const std::byte> packet, const receive_meta& meta) = 0;

 protected:
  ~packet_forwarder() = default;
};

}  // namespace weir::stack
