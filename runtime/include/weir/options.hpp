// Options of listeners, connections and streams. Trivially destructible throughout, so that a
// braced temporary of one is safe inside a co_await expression (g++ 12.2 destroys others twice).
// Unset members take the configuration's value.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "weir/stack/address.hpp"
#include "weir/stack/any_destination.hpp"
#include "weir/stack/sharing.hpp"
#include "weir/stack/time.hpp"

namespace weir {

/// How listeners on one address and port share what arrives. See docs/backends.md for what each
/// back end honours.
using sharing = stack::sharing_mode;
using sharding_policy = stack::sharding_policy;
/// What happens to a handshake that completes while the accept queue is full.
using overflow = stack::overflow_policy;

struct stream_options {
  std::optional<bool> nodelay = {};                  ///< true: Nagle off
  std::optional<std::uint32_t> receive_buffer = {};  ///< bytes
  std::optional<std::uint32_t> send_buffer = {};     ///< bytes
  std::optional<bool> keep_alive = {};
  /// Of keep_alive: silence before the peer is probed, time between probes, and how many without an
  /// answer end the connection (timed_out). Kernel sockets count whole seconds, rounded up.
  std::optional<duration> keep_alive_idle = {};
  std::optional<duration> keep_alive_interval = {};
  std::optional<std::uint8_t> keep_alive_probes = {};  ///< 1 to 127
  std::optional<std::uint8_t> dscp = {};  ///< 0 to 63: how routers are to treat it (RFC 2474)
  std::optional<std::uint8_t> ttl = {};   ///< of its packets, 1 to 255; IPv6's hop limit
  /// How long the peer may leave unacknowledged, or behind a closed window, what was written; then
  /// the connection fails with timed_out. 0: never for want of a window.
  std::optional<duration> user_timeout = {};
  std::optional<bool> cork = {};  ///< hold segments that are not full until released
  /// Payload of a segment at most, either way, as TCP_MAXSEG: 88 to 32767. Told when a connection
  /// opens, so connections that are there cannot be given it: operation_not_supported.
  std::optional<std::uint16_t> max_segment = {};

  bool operator==(const stream_options&) const = default;
};

struct listen_options {
  std::optional<std::uint32_t> backlog = {};  ///< accept queue bound, connections
  std::optional<std::uint32_t> syn_backlog =
      {};  ///< SYN queue bound, half-open connections (stack)
  std::optional<weir::sharing> sharing = {};
  std::optional<sharding_policy> policy = {};
  std::optional<weir::overflow> overflow = {};
  std::optional<bool> allow_wildcard = {};  ///< permit 0.0.0.0 and [::]
  /// Accept a connection only when its first data is there, or after this long without any (kernel
  /// sockets: in whole seconds, and roughly). Unset or 0: at once.
  std::optional<duration> defer_accept = {};
  /// A SYN waits for tcp_listener::accept_request() and its answer, and accept() is not for it
  /// (stack). Those that wait are in the SYN queue; beyond its bound they are dropped and counted.
  bool ask = false;
  std::optional<duration> answer_within = {};  ///< then it is refused; unset: 3 minutes
  /// Who lacks it cannot join the listeners of an address (stack); 0: the configuration's.
  std::uint64_t owner_key = 0;
  /// Of the connections that are accepted, from their handshake on. `cork` is for one connection
  /// only: invalid_argument here. Of listeners that share, the first one's count.
  stream_options stream = {};
  /// Where: empty is the back end; "kernel" is this machine's own sockets, on the stack's back ends
  /// too, beside the stack's; else the name of a [network.NAME] of the configuration. One that is
  /// not there: operation_not_supported.
  std::string_view network = {};
  /// Only what comes through this interface, as SO_BINDTODEVICE has it (kernel sockets).
  std::string_view interface = {};
  /// Clients may use several paths for a connection (Multipath TCP, RFC 8684), where the kernel can
  /// and they want to; others are served as ever (kernel sockets).
  bool mptcp = false;
};

struct connect_options {
  endpoint local = {};  ///< to bind to; unspecified and port 0: chosen by the back end
  stream_options stream = {};
  std::string_view network = {};    ///< as listen_options::network
  std::string_view interface = {};  ///< only through this one (kernel sockets)
  bool mptcp = false;               ///< as listen_options::mptcp
};

struct udp_options {
  std::optional<std::uint32_t> receive_buffer =
      {};                                     ///< bytes of datagrams that wait to be received
  std::optional<weir::sharing> sharing = {};  ///< `sharded`: one socket per shard, by hash
  std::optional<bool> allow_wildcard = {};    ///< permit 0.0.0.0 and [::]
  /// Datagrams of one sender that arrive together may be received as one piece, told by
  /// incoming_datagram::segment: many for the price of one. Only receive_batch() receives then.
  bool gro = false;
  std::optional<std::uint8_t> dscp = {};  ///< as stream_options::dscp
  std::optional<std::uint8_t> ttl = {};   ///< as stream_options::ttl
  std::string_view network = {};          ///< as listen_options::network
  std::string_view interface = {};        ///< only through this one (kernel sockets)
};

/// Of shard::listen_any_udp().
struct udp_flow_options {
  std::uint32_t flows = 4096;  ///< at once; a datagram that would begin one more is dropped
  duration idle = std::chrono::seconds(60);          ///< without a datagram either way: it ends
  std::optional<std::uint32_t> receive_buffer = {};  ///< of each, bytes
  /// Not UDP: echo requests (ping). A flow is two addresses and an identifier, which stands where
  /// the ports are; a datagram is the sequence number and the data, and what is sent the reply.
  bool echo = false;
  std::string_view network = {};  ///< as listen_options::network
};

}  // namespace weir
