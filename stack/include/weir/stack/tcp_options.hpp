// Settings of one TCP connection. Where the RFCs leave a choice, the default is what Linux does,
// since that is what the world's peers and middleboxes are used to.
#pragma once

#include <cstdint>

#include "weir/stack/time.hpp"

namespace weir::stack {

enum class congestion_algorithm : std::uint8_t { reno, cubic };
/// Explicit congestion notification (RFC 3168). `accept`, as Linux: where the peer asks for it;
/// `request` asks for it as well.
enum class ecn_mode : std::uint8_t { off, accept, request };
/// Finding out what a path carries without a router's word (RFC 4821): `black_hole` once repeated
/// timeouts suggest that large packets vanish; `always` starts small and searches upwards.
enum class path_probing : std::uint8_t { off, black_hole, always };

/// Per-connection settings. Defaults are what Linux does (DESIGN.md, section 3).
struct tcp_options {
  bool nodelay = true;  ///< true: Nagle off
  /// Payload of a segment at most, either way, as Linux's TCP_MAXSEG: the peer is offered no more
  /// and is sent no more. Counts when a connection opens; 0: what the MTU allows.
  std::uint16_t max_segment = 0;
  std::uint32_t receive_buffer = 6u << 20;  ///< bytes, upper bound of auto-tuning
  std::uint32_t send_buffer = 4u << 20;     ///< bytes, upper bound of auto-tuning
  congestion_algorithm congestion = congestion_algorithm::cubic;
  std::uint8_t initial_window = 10;                      ///< segments, RFC 6928
  duration initial_rto = std::chrono::seconds(1);        ///< RFC 6298 2.1
  duration min_rto = std::chrono::milliseconds(200);     ///< Linux's; RFC 6298 2.4 says 1 s
  duration max_rto = std::chrono::seconds(120);          ///< RFC 6298 2.5: at least 60 s
  duration delayed_ack = std::chrono::milliseconds(40);  ///< RFC 9293 MUST-40: under 0.5 s
  duration challenge_interval =
      std::chrono::milliseconds(500);             ///< RFC 5961 7: one challenge in this time
  duration time_wait = std::chrono::seconds(60);  ///< 2 MSL
  duration fin_wait_2 =
      std::chrono::seconds(60);  ///< after close(), an orphan waits this long for the peer's FIN
  duration orphan_timeout =
      std::chrono::seconds(60);   ///< and this long for the peer to take anything of what is queued
  std::uint8_t syn_retries = 7;   ///< RFC 9293 MUST-23: over 3 minutes with doubling
  std::uint8_t retries = 15;      ///< R2 of RFC 9293 3.8.3, in retransmissions
  std::uint8_t warn_retries = 3;  ///< R1: `warned` is raised, a black hole is suspected
  /// How long data may wait for the peer, unacknowledged or behind a closed window whose probes it
  /// answers (as Linux's TCP_USER_TIMEOUT). 0: `retries` decides, and a closed window is waited
  /// for.
  duration user_timeout{};
  /// RFC 5482: tells the peer the user timeout and, where none is set here, adopts the peer's.
  bool user_timeout_option = false;
  bool keep_alive = false;                           ///< RFC 9293 MUST-25
  duration keep_alive_idle = std::chrono::hours(2);  ///< RFC 9293 MUST-28
  duration keep_alive_interval = std::chrono::seconds(75);
  std::uint8_t keep_alive_probes = 9;
  bool sack = true;
  bool timestamps = true;
  bool window_scaling = true;
  ecn_mode ecn = ecn_mode::accept;
  bool pacing = false;  ///< spreads each window over the round trip
  path_probing probing = path_probing::black_hole;
  std::uint16_t probe_base = 1024;  ///< bytes of the packet that a search starts from
  bool report_soft_errors = false;  ///< ready::warned on what may pass: ICMP, R1 (soft_error())
  bool report_sent = false;         ///< ready::sent whenever the send queue has drained
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
};

}  // namespace weir::stack
