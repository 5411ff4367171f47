// What one shard shows of itself at one instant: counters, listeners, connections. The same names
// on every back end; what a back end cannot know is absent, never zero. Filled on the shard's own
// thread, read anywhere afterwards; owns all that it holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/detail/pulse.hpp"
#include "weir/metrics.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/counters.hpp"

namespace weir::detail {

/// A number that a back end may not know.
using known = std::optional<std::uint64_t>;

/// How a number is to be read and printed.
enum class unit : std::uint8_t { things, bytes, nanoseconds, flag };

/// A listening socket. Durations in nanoseconds.
struct listener_snapshot {
  endpoint local;
  std::string name;     ///< the program's, for it; empty: none
  std::string network;  ///< empty: the back end's own, which has no other name
  known accept_queue, accept_queue_peak, backlog;
  known accepted, accept_overflows;
  known accept_wait, accept_wait_longest;
  known accepted_ahead, accepted_ahead_limit;
  known syn_queue, syn_queue_peak, syn_backlog;
  known syn_overflows, syn_expired, cookies_sent, cookies_accepted;
  known defer_accept, deferred;
  std::string_view sharing, policy;  ///< as the configuration names them; static
  known members, owner_key;          ///< owner_key: whether one was given, never which
};

/// A UDP socket.
struct udp_snapshot {
  endpoint local;
  std::string name, network;
  std::optional<endpoint> remote;  ///< while connected
  known receive_queued, receive_limit;
  known datagrams_queued, datagrams_limit;
  known received, sent, dropped, icmp_errors;
  known read_waits;  ///< whether the program waits in a receive
};

/// A connection. Durations in nanoseconds.
struct connection_snapshot {
  endpoint local, remote;
  std::string network;
  std::string_view state;  ///< of stack::name(tcp_state); static
  std::string congestion;  ///< empty: not known
  std::string_view phase;  ///< of stack::name(congestion_phase); static; empty: not known
  known receive_queued, receive_limit, out_of_order;
  known send_queued, send_limit, unacknowledged;
  known memory;
  known read_waits, write_waits;  ///< whether the program waits in a read, in a write
  known rtt, rtt_variance, rto;
  known congestion_window, slow_start_threshold, send_window, receive_window;
  known send_mss, receive_mss, send_window_shift, receive_window_shift;
  known sack, timestamps;
  known lost, sacked, retransmitted, reordering;
  known bytes_sent, bytes_received, bytes_retransmitted;
  known segments_sent, segments_received, retransmissions;
  known timeouts, fast_retransmits, zero_window_probes;
};

/// One counter or level of a shard, its driver, its transport or its device.
struct counted {
  /// "shard", "driver", "transport", "device", "stack", "http"; static
  std::string_view group;
  std::string_view name;  ///< static
  std::string_view help;  ///< static
  std::uint64_t value = 0;
  bool level = false;  ///< goes up and down; else it only grows
  unit in = unit::things;
};

/// A series of the program's own.
struct own_series {
  metrics::series of;
  std::uint64_t counter = 0;
  double gauge = 0;
  std::vector<double> bounds;         ///< of a histogram
  std::vector<std::uint64_t> counts;  ///< one more
  double sum = 0;
};

/// What a network beside the back end's own counts.
struct network_snapshot {
  std::string name;
  std::string_view kind;        ///< "uring", "asio", "stack", "sim"; static
  std::vector<counted> counts;  ///< of "transport", "device", "stack"
  std::optional<stack::host_counters> stack;
};

struct shard_snapshot {
  unsigned shard = 0;
  std::string backend, driver;
  bool stopping = false;  ///< it was asked to stop
  shard_histograms histograms;
  std::vector<own_series> own;
  std::vector<std::string> pages;  ///< the program's own, by name
  std::vector<counted> counts;
  std::optional<stack::host_counters> stack;  ///< of the back end's TCP/IP host
  std::vector<network_snapshot> networks;     ///< the others, as far as they were used
  std::vector<listener_snapshot> listeners;
  std::vector<connection_snapshot> connections;
  std::vector<udp_snapshot> udp_sockets;
  std::size_t listeners_total = 0, connections_total = 0, udp_sockets_total = 0;  ///< shown or not
};

/// How much one snapshot may show.
struct snapshot_bounds {
  std::size_t listeners = 1024;
  std::size_t connections = 0;
  std::size_t udp_sockets = 1024;
};

/// What a transport can be besides: one that shows its sockets.
class observable {
 public:
  /// On the shard's thread. Adds to `into` what the transport counts, and its sockets within the
  /// bounds.
  virtual void observe(shard_snapshot& into, const snapshot_bounds& bounds) = 0;

 protected:
  ~observable() = default;
};

}  // namespace weir::detail
