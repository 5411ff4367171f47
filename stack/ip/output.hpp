// The way out: builds IP and transport headers in an array on the stack, completes or offloads
// checksums, cuts super- segments where the device cannot, fragments datagrams that are too large,
// and hands the parts to the sink. Payload is never copied, except to the host itself. RFC 791,
// 1122 3.2.1 and 3.3, 6864, 8200.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "stack/base/parts.hpp"
#include "stack/base/siphash.hpp"
#include "stack/ip/addresses.hpp"
#include "stack/ip/loop_queue.hpp"
#include "stack/wire/tcp.hpp"
#include "weir/stack/counters.hpp"
#include "weir/stack/options.hpp"
#include "weir/stack/packets.hpp"

namespace weir::stack {

/// The IP header's variable fields.
struct ip_route {
  ip_address source, destination;
  std::uint8_t protocol = 0;
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;  ///< all 8 bits
};

class ip_output {
 public:
  ip_output(const host_options& options, const address_set& addresses, packet_sink& sink,
            host_counters& counters);

  bool send_tcp(const wire::tcp_segment& segment, part_list payload, std::uint8_t ttl);
  /// `transport` is a header of at most 8 bytes, its checksum in place but where `checksum_at` is
  /// not zero: there it is filled in or left to the device. Larger than `mtu`: fragmented.
  bool send_datagram(const ip_route& route, std::span<std::byte> transport, part_list payload,
                     std::size_t mtu, std::uint16_t checksum_at = 0);

  loop_queue& looped() { return looped_; }

 private:
  struct tcp_frame;
  bool may_send(const ip_address& source, const ip_address& destination, bool& local) const;
  /// `length`: of all parts together.
  bool transmit(part_list parts, std::size_t length, const transmit_meta& meta);
  bool send_plain(const wire::tcp_segment& segment, part_list payload, std::size_t total,
                  std::uint16_t gso_size, std::uint8_t ttl);
  bool emit_tcp(tcp_frame& frame, std::size_t payload_size, std::uint16_t gso_size);
  bool cut_tcp(tcp_frame& frame, part_list payload, std::size_t total, std::uint16_t size);
  bool send_fragments(const ip_route& route, part_list parts, std::size_t total, std::size_t mtu);
  std::uint32_t next_identification(const ip_route& route);

  const host_options& options_;
  const address_set& addresses_;
  packet_sink& sink_;
  host_counters& counters_;
  loop_queue looped_;
  /// Source and destination of the last plain segment, between which packets may be sent to the
  /// device: the next one's are often the same. Zero: none yet.
  std::uint64_t last_pair_ = 0;
  siphash_key identification_key_;
  std::array<std::uint32_t, 1024> identifications_{};
};

/// Writes the IP header for `length` bytes of transport header and payload; returns its length, 20
/// or 40. The datagram is atomic: DF set, identification zero (RFC 6864 4.1).
std::size_t emit_ip_header(std::byte* into, const ip_route& route, std::size_t length);

}  // namespace weir::stack
