// The one table of what a listener and a connection show: name, unit, meaning. /metrics, /sockets
// and docs/observe.md go by it; no field is named elsewhere but in weir-ss, which reads the JSON.
#pragma once

#include <array>
#include <string_view>

#include "runtime/observe/snapshot.hpp"

namespace weir::detail {

template <class Snapshot>
struct field {
  std::string_view name;
  known Snapshot::* value;
  unit in;
  bool level;  ///< goes up and down; else it only grows
  std::string_view help;
};

using listener_field = field<listener_snapshot>;
using connection_field = field<connection_snapshot>;
using udp_field = field<udp_snapshot>;

// clang-format off
inline constexpr std::array listener_fields = {
    listener_field{"accept_queue", &listener_snapshot::accept_queue, unit::things, true,
                   "connections that wait to be accepted"},
    listener_field{"accept_queue_peak", &listener_snapshot::accept_queue_peak, unit::things, true,
                   "the most that ever waited to be accepted"},
    listener_field{"backlog", &listener_snapshot::backlog, unit::things, true,
                   "how many may wait to be accepted"},
    listener_field{"accepted", &listener_snapshot::accepted, unit::things, false,
                   "connections that the program took"},
    listener_field{"accept_overflows", &listener_snapshot::accept_overflows, unit::things, false,
                   "SYNs and final ACKs turned away because the accept queue was full"},
    listener_field{"accept_wait", &listener_snapshot::accept_wait, unit::nanoseconds, false,
                   "time spent in the accept queue by all connections that were accepted"},
    listener_field{"accept_wait_longest", &listener_snapshot::accept_wait_longest,
                   unit::nanoseconds, true, "the longest time one connection waited to be accepted"},
    listener_field{"accepted_ahead", &listener_snapshot::accepted_ahead, unit::things, true,
                   "connections that the ring took from the kernel before the program asked"},
    listener_field{"accepted_ahead_limit", &listener_snapshot::accepted_ahead_limit, unit::things,
                   true, "how many the ring may take ahead of the program"},
    listener_field{"syn_queue", &listener_snapshot::syn_queue, unit::things, true,
                   "handshakes that wait for their last step"},
    listener_field{"syn_queue_peak", &listener_snapshot::syn_queue_peak, unit::things, true,
                   "the most handshakes that ever waited"},
    listener_field{"syn_backlog", &listener_snapshot::syn_backlog, unit::things, true,
                   "how many handshakes may wait"},
    listener_field{"syn_overflows", &listener_snapshot::syn_overflows, unit::things, false,
                   "SYNs that found the SYN queue full"},
    listener_field{"syn_expired", &listener_snapshot::syn_expired, unit::things, false,
                   "handshakes that were given up"},
    listener_field{"cookies_sent", &listener_snapshot::cookies_sent, unit::things, false,
                   "SYN cookies sent"},
    listener_field{"cookies_accepted", &listener_snapshot::cookies_accepted, unit::things, false,
                   "connections made from a SYN cookie"},
    listener_field{"defer_accept", &listener_snapshot::defer_accept, unit::nanoseconds, true,
                   "how long a connection without data waits before it is accepted; 0: not at all"},
    listener_field{"deferred", &listener_snapshot::deferred, unit::things, false,
                   "handshakes that were complete and waited for data"},
    listener_field{"members", &listener_snapshot::members, unit::things, true,
                   "listeners that share the address, this one included"},
    listener_field{"owner_key", &listener_snapshot::owner_key, unit::flag, true,
                   "an owner key was given: nobody joins without it"},
};

inline constexpr std::array udp_fields = {
    udp_field{"receive_queued", &udp_snapshot::receive_queued, unit::bytes, true,
              "received and not read by the program, at true size"},
    udp_field{"receive_limit", &udp_snapshot::receive_limit, unit::bytes, true,
              "what the receive queue may hold"},
    udp_field{"datagrams_queued", &udp_snapshot::datagrams_queued, unit::things, true,
              "datagrams received and not read"},
    udp_field{"datagrams_limit", &udp_snapshot::datagrams_limit, unit::things, true,
              "how many may wait"},
    udp_field{"received", &udp_snapshot::received, unit::things, false, "datagrams received"},
    udp_field{"sent", &udp_snapshot::sent, unit::things, false, "datagrams sent"},
    udp_field{"dropped", &udp_snapshot::dropped, unit::things, false,
              "datagrams that found the receive queue full"},
    udp_field{"icmp_errors", &udp_snapshot::icmp_errors, unit::things, false,
              "ICMP errors about what it sent"},
    udp_field{"read_waits", &udp_snapshot::read_waits, unit::flag, true,
              "the program waits for a datagram"},
};

inline constexpr std::array connection_fields = {
    connection_field{"receive_queued", &connection_snapshot::receive_queued, unit::bytes, true,
                     "received in order and not read by the program"},
    connection_field{"receive_limit", &connection_snapshot::receive_limit, unit::bytes, true,
                     "what the receive queue may hold now"},
    connection_field{"out_of_order", &connection_snapshot::out_of_order, unit::bytes, true,
                     "received beyond a gap"},
    connection_field{"send_queued", &connection_snapshot::send_queued, unit::bytes, true,
                     "given by the program and not acknowledged by the peer"},
    connection_field{"send_limit", &connection_snapshot::send_limit, unit::bytes, true,
                     "what the send queue may hold now"},
    connection_field{"unacknowledged", &connection_snapshot::unacknowledged, unit::bytes, true,
                     "of what is queued to be sent: sent already"},
    connection_field{"memory", &connection_snapshot::memory, unit::bytes, true,
                     "charged for both queues"},
    connection_field{"read_waits", &connection_snapshot::read_waits, unit::flag, true,
                     "the program waits for bytes"},
    connection_field{"write_waits", &connection_snapshot::write_waits, unit::flag, true,
                     "the program waits for room in the send queue"},
    connection_field{"rtt", &connection_snapshot::rtt, unit::nanoseconds, true,
                     "smoothed round-trip time"},
    connection_field{"rtt_variance", &connection_snapshot::rtt_variance, unit::nanoseconds, true,
                     "its mean deviation"},
    connection_field{"rto", &connection_snapshot::rto, unit::nanoseconds, true,
                     "retransmission timeout"},
    connection_field{"congestion_window", &connection_snapshot::congestion_window, unit::bytes,
                     true, "what may be under way at once"},
    connection_field{"slow_start_threshold", &connection_snapshot::slow_start_threshold,
                     unit::bytes, true, "where slow start ends; absent: nowhere yet"},
    connection_field{"send_window", &connection_snapshot::send_window, unit::bytes, true,
                     "what the peer has room for"},
    connection_field{"receive_window", &connection_snapshot::receive_window, unit::bytes, true,
                     "what the peer may send"},
    connection_field{"send_mss", &connection_snapshot::send_mss, unit::bytes, true,
                     "payload of a full segment to the peer"},
    connection_field{"receive_mss", &connection_snapshot::receive_mss, unit::bytes, true,
                     "payload of the peer's segments, as seen"},
    connection_field{"send_window_shift", &connection_snapshot::send_window_shift, unit::things,
                     true, "the peer's window scale"},
    connection_field{"receive_window_shift", &connection_snapshot::receive_window_shift,
                     unit::things, true, "our window scale"},
    connection_field{"sack", &connection_snapshot::sack, unit::flag, true,
                     "selective acknowledgements are in use"},
    connection_field{"timestamps", &connection_snapshot::timestamps, unit::flag, true,
                     "timestamps are in use"},
    connection_field{"lost", &connection_snapshot::lost, unit::bytes, true,
                     "of what is unacknowledged: thought lost"},
    connection_field{"sacked", &connection_snapshot::sacked, unit::bytes, true,
                     "of what is unacknowledged: arrived beyond a gap"},
    connection_field{"retransmitted", &connection_snapshot::retransmitted, unit::bytes, true,
                     "sent again and still on its way"},
    connection_field{"reordering", &connection_snapshot::reordering, unit::flag, true,
                     "segments have overtaken each other on this path"},
    connection_field{"bytes_sent", &connection_snapshot::bytes_sent, unit::bytes, false,
                     "payload sent, what was sent again left out"},
    connection_field{"bytes_received", &connection_snapshot::bytes_received, unit::bytes, false,
                     "payload received in order"},
    connection_field{"bytes_retransmitted", &connection_snapshot::bytes_retransmitted, unit::bytes,
                     false, "payload sent again"},
    connection_field{"segments_sent", &connection_snapshot::segments_sent, unit::things, false,
                     "segments sent"},
    connection_field{"segments_received", &connection_snapshot::segments_received, unit::things,
                     false, "segments received"},
    connection_field{"retransmissions", &connection_snapshot::retransmissions, unit::things, false,
                     "segments sent again"},
    connection_field{"timeouts", &connection_snapshot::timeouts, unit::things, false,
                     "retransmission timeouts"},
    connection_field{"fast_retransmits", &connection_snapshot::fast_retransmits, unit::things,
                     false, "losses repaired without a timeout"},
    connection_field{"zero_window_probes", &connection_snapshot::zero_window_probes, unit::things,
                     false, "probes of a window that was closed"},
};
// clang-format on

}  // namespace weir::detail
