// What a host, a listener and a UDP socket are given when they begin. Each is a plain value with
// defaults; a TCP connection's settings are weir/stack/tcp_options.hpp's.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "weir/stack/address.hpp"
#include "weir/stack/any_destination.hpp"
#include "weir/stack/sharing.hpp"
#include "weir/stack/tcp_options.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

/// Whom a host that is short of memory resets, beside refusing what is no small send: nobody; those
/// that were closed and still have something to deliver, the oldest first; after those the fullest
/// queues that make no progress.
enum class shortage_policy : std::uint8_t { refuse, reset_orphans, reset_stalled };

/// Bounds on what a host holds. Each has a counter for what it turned away.
struct host_limits {
  std::uint32_t connections = 1u << 20;
  std::uint32_t orphans =
      1u << 16;  ///< closed and not delivered yet; beyond it the oldest is reset
  std::uint32_t listeners = 4096;
  std::uint32_t any_listeners = 64;  ///< of them and of UDP's, those of an any_destination
  std::uint32_t udp_sockets = 1u << 16;
  std::uint32_t time_wait = 1u << 16;  ///< beyond it the oldest entry goes
  /// Bytes in all queues together, at their true size. The last eighth is for what arrives and for
  /// small sends.
  std::uint64_t memory = 1ull << 30;
  shortage_policy shortage = shortage_policy::reset_stalled;
  /// Once large queues have used up their part, those that made no progress for this long go; a
  /// tenth of it is enough once half of the reserve is gone as well.
  duration stalled_after = std::chrono::seconds(10);
  std::uint32_t reassembly_bytes = 1u << 20;  ///< IP fragments held
  std::uint32_t icmp_errors_per_second = 1000;
};

struct host_options {
  std::vector<ip_prefix> addresses;            ///< the host's own, any number, both families
  std::uint16_t mtu = 1500;                    ///< at least 1280 if a v6 address is there, else 68
  bool transmit_checksum_offload = false;      ///< the sink honours needs_checksum
  bool transmit_segmentation_offload = false;  ///< the sink honours gso_size
  std::array<std::uint8_t, 32>
      secret{};  ///< keys of every keyed hash and of the ISNs: random per start
  tcp_options tcp;
  host_limits limits;
};

struct listen_options {
  std::uint32_t backlog = 1024;      ///< accept queue bound: exactly this many may wait
  std::uint32_t syn_backlog = 1024;  ///< SYN queue bound
  overflow_policy overflow = overflow_policy::drop;
  bool allow_wildcard = false;  ///< else 0.0.0.0 and [::] are permission_denied
  /// A connection is accepted when its first data or its end is there, or after this long without
  /// either; 0: at once. Until then it waits in the SYN queue, as Linux's TCP_DEFER_ACCEPT has it.
  duration defer_accept{};
  /// Settings of the connections that are accepted here, from their SYN-ACK on; none: the host's.
  std::optional<tcp_options> tcp{};
  sharing_mode sharing = sharing_mode::exclusive;
  sharding_policy policy =
      sharding_policy::hash;  ///< of a sharded group; the first member's counts
  /// A SYN is answered when the user says how, and not before: host::next_request(). Those that
  /// wait are in the SYN queue; beyond its bound a SYN is dropped, without a cookie. Where hosts
  /// share a device: operation_not_supported.
  bool ask = false;
  duration answer_within = std::chrono::minutes(3);  ///< then it is refused, with a reset
  /// Of the group's owner; none, where hosts share a device: that device's own, drawn at random.
  stack::owner_key owner_key = stack::owner_key::none;
};

/// Settings of one UDP socket.
struct udp_options {
  std::uint32_t receive_buffer = 256u << 10;  ///< bytes of the receive queue, at their true size
  std::uint32_t receive_datagrams = 1024;     ///< datagrams in it
  bool allow_wildcard = false;                ///< else 0.0.0.0 and [::] are permission_denied
  /// `sharded`: where hosts share a device, one socket on each, chosen by hash. Not `shared`.
  sharing_mode sharing = sharing_mode::exclusive;
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
};

/// Flows of UDP to others' addresses: each a pair of endpoints, with a socket of its own.
struct udp_flow_options {
  std::uint32_t flows = 4096;                ///< at once; what would begin one more is dropped
  duration idle = std::chrono::seconds(60);  ///< without a datagram either way: the flow ends
  udp_options each = {};                     ///< settings of their sockets
  /// Not UDP: echo requests of ICMP, whatever their ports. A flow's endpoints have the identifier
  /// for a port, its datagrams are sequence number (2 bytes) and data; what is sent, in one part,
  /// is the reply.
  bool echo = false;
};

}  // namespace weir::stack
