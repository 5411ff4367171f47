// Options of listeners, connections and streams. Trivially destructible throughout, so that a
// braced temporary of one is safe inside a co_await expression (g++ 12.2 destroys others twice).
// Unset members take the configuration's value.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "weir/stack/address.hpp"
#include "weir/stack/sharing.hpp"
#include "weir/stack/time.hpp"

namespace weir {

/// How listeners on one address and port share what arrives. See docs/backends.md for what each
/// back end honours.
using sharing = stack::sharing_mode;
using sharding_policy = stack::sharding_policy;
/// What happens to a handshake that completes while the accept queue is full.
using overflow = stack::overflow_policy;

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
  /// Who lacks it cannot join the listeners of an address (stack); 0: the configuration's.
  std::uint64_t owner_key = 0;
  /// Where: empty is the back end; "kernel" is this machine's own sockets, on the stack's back ends
  /// too, beside the stack's.
  std::string_view network = {};
};

struct stream_options {
  std::optional<bool> nodelay = {};                  ///< true: Nagle off
  std::optional<std::uint32_t> receive_buffer = {};  ///< bytes
  std::optional<std::uint32_t> send_buffer = {};     ///< bytes
  std::optional<bool> keep_alive = {};
  /// How long the peer may leave unacknowledged, or behind a closed window, what was written; then
  /// the connection fails with timed_out. 0: never for want of a window.
  std::optional<duration> user_timeout = {};
  std::optional<bool> cork = {};  ///< hold segments that are not full until released
};

struct connect_options {
  endpoint local = {};  ///< to bind to; unspecified and port 0: chosen by the back end
  stream_options stream = {};
  std::string_view network = {};  ///< as listen_options::network
};

struct udp_options {
  std::optional<std::uint32_t> receive_buffer =
      {};                                     ///< bytes of datagrams that wait to be received
  std::optional<weir::sharing> sharing = {};  ///< `sharded`: one socket per shard (kernel sockets)
  std::optional<bool> allow_wildcard = {};    ///< permit 0.0.0.0 and [::]
};

}  // namespace weir
