// A handshake that waits for its last step: what the SYN said and what was answered, in at most 128
// bytes, so that a flood of SYNs costs little (RFC 4987 3.5). No connection object exists before
// the handshake is complete.
#pragma once

#include <cstdint>

#include "stack/base/flow_key.hpp"
#include "stack/tcp/seq.hpp"
#include "stack/tcp/timer_wheel.hpp"

namespace weir::stack {

/// Where a handshake stands at a listener that asks.
enum class request_state : std::uint8_t {
  none,      ///< of another listener: its SYN was answered at once
  untold,    ///< nobody knows of it yet
  told,      ///< the user has its id, and the SYN no answer
  accepted,  ///< the SYN is answered: as any other handshake, but the user waits for this one
};

struct half_open {
  flow_key flow;
  tcp::timer_node timer;
  instant sent;          ///< the SYN-ACK's first transmission
  void* user = nullptr;  ///< of a request that was told
  tcp::seq iss, irs;
  std::uint32_t timestamp = 0, timestamp_offset = 0;
  std::uint32_t listener = 0;
  std::uint32_t previous = 0xffffffff, next = 0xffffffff;  ///< the listener's list
  std::uint32_t next_untold = 0xffffffff;                  ///< the listener's list of those
  std::uint16_t peer_mss = 0;                              ///< 0: no option
  std::uint8_t peer_shift = 0;
  std::uint8_t retransmissions = 0;
  request_state request = request_state::none;
  bool scaling : 1 = false;
  bool sack : 1 = false;
  bool timestamps : 1 = false;
  bool ecn : 1 = false;
  bool acknowledged : 1 = false;  ///< the peer is done and has said nothing yet (deferred accept)
};
static_assert(sizeof(half_open) <= 128);

}  // namespace weir::stack
