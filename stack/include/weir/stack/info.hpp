// What a host shows of its connections, listeners and UDP sockets: plain numbers, of the moment at
// which they were asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "weir/stack/address.hpp"
#include "weir/stack/any_destination.hpp"
#include "weir/stack/sharing.hpp"
#include "weir/stack/tcp_options.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

enum class tcp_state : std::uint8_t {
  closed,
  listen,
  syn_sent,
  syn_received,
  established,
  fin_wait_1,
  fin_wait_2,
  close_wait,
  closing,
  last_ack,
  time_wait
};
std::string_view name(tcp_state state);

/// What a sender takes the path to be doing, as Linux's tcpi_ca_state tells it.
enum class congestion_phase : std::uint8_t {
  open,      ///< nothing unusual
  disorder,  ///< something arrived beyond a gap, and is not taken for a loss yet
  reduced,   ///< the window comes down after a mark (RFC 3168)
  recovery,  ///< losses are repaired without a timeout
  loss,      ///< a timeout's losses are repaired
};
std::string_view name(congestion_phase phase);

/// One connection's numbers, in the manner of Linux's tcp_info. Bytes and segments as named; times
/// as durations.
struct tcp_info {
  tcp_state state = tcp_state::closed;
  endpoint local, remote;
  std::uint16_t send_mss = 0, receive_mss = 0;  ///< payload bytes per segment, options taken off
  std::uint8_t send_window_shift = 0, receive_window_shift = 0;
  bool sack = false, timestamps = false, ecn = false;
  std::uint16_t path_mtu = 0;  ///< what this connection's packets are cut for, headers included
  duration rtt{}, rtt_variance{}, rto{}, min_rtt{};
  duration user_timeout{};        ///< in force, set here or adopted; 0: retransmissions are counted
  std::uint64_t pacing_rate = 0;  ///< bytes per second; 0: not paced
  std::uint32_t congestion_window = 0, slow_start_threshold = 0;  ///< bytes
  std::uint32_t send_window = 0, receive_window = 0;              ///< bytes
  std::uint32_t send_queued = 0;     ///< in the send queue, acknowledged not yet
  std::uint32_t unacknowledged = 0;  ///< of them, sent
  std::uint32_t receive_queued = 0;  ///< in order, not yet read
  std::uint32_t lent = 0;            ///< lent to the reader, not yet released
  std::uint32_t out_of_order = 0;    ///< received beyond a gap
  std::uint32_t memory = 0;          ///< charged for both queues
  std::uint32_t send_limit = 0;      ///< what the send queue may hold now, as tuned so far
  std::uint32_t receive_limit = 0;   ///< the same of the receive queue
  congestion_algorithm congestion = congestion_algorithm::cubic;
  congestion_phase phase = congestion_phase::open;
  /// Bytes of what is unacknowledged: thought lost, arrived beyond a gap (without SACK an
  /// estimate), and sent again and still on their way.
  std::uint32_t lost = 0, sacked = 0, retransmitted = 0;
  bool reordering = false;    ///< segments have overtaken each other on this path
  duration reorder_window{};  ///< how long a segment that others overtook is waited for (RFC 8985)
  std::uint64_t bytes_sent = 0, bytes_received = 0, bytes_retransmitted = 0;
  std::uint64_t segments_sent = 0, segments_received = 0, retransmissions = 0;
  std::uint32_t timeouts = 0, fast_retransmits = 0, zero_window_probes = 0;
};

struct listener_info {
  endpoint local;
  std::uint32_t syn_queue = 0, syn_backlog = 0, accept_queue = 0, backlog = 0,
                accept_queue_peak = 0;
  std::uint64_t accepted = 0, syn_overflows = 0, accept_overflows = 0, syn_expired = 0,
                cookies_sent = 0;
  std::uint32_t syn_queue_peak = 0;
  std::uint64_t cookies_accepted = 0;
  duration accept_wait{};          ///< time spent in the accept queue, of all that were accepted
  duration accept_wait_longest{};  ///< of one of them; both to the millisecond
  duration defer_accept{};         ///< 0: accepted at once
  std::uint64_t deferred = 0;      ///< handshakes that waited for data
  std::optional<any_destination> any = {};  ///< instead of `local`
  bool asks = false;                        ///< its SYN queue is of requests, too
  sharing_mode sharing = sharing_mode::exclusive;
  sharding_policy policy = sharding_policy::hash;
  std::uint32_t members = 1;   ///< listeners of the group, this one included
  bool has_owner_key = false;  ///< an owner key was given; which, is nobody's business
};

/// One UDP socket's numbers.
struct udp_info {
  endpoint local, remote;  ///< remote: only while connected
  bool connected = false;
  std::uint32_t queued = 0;        ///< datagrams received and not yet read
  std::uint32_t queued_bytes = 0;  ///< what they cost, at their true size
  std::uint32_t queued_limit = 0, queued_bytes_limit = 0;
  std::uint64_t received = 0, sent = 0;
  std::uint64_t dropped = 0;      ///< arrived while the queue was full
  std::uint64_t icmp_errors = 0;  ///< about what it sent, believed or not
  std::uint8_t last_icmp_type = 0, last_icmp_code = 0;
};

}  // namespace weir::stack
