// What a host counts: every packet in and out, and every drop under the name of its reason.
// Counters only grow; each has one name, which /metrics and the tests use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::stack {

// One list, so that a counter cannot lack its name: X(identifier).
// clang-format off
#define WEIR_STACK_COUNTERS(X)                                                                    \
  X(packets_received) X(packets_sent) X(bytes_received) X(bytes_sent) X(device_full)              \
  /* drops of IP */                                                                               \
  X(drop_ip_malformed) X(drop_ip_checksum) X(drop_ip_version) X(drop_ip_bad_source)               \
  X(drop_ip_not_ours) X(drop_ip_protocol) X(drop_ip_options) X(drop_fragment_overlap)             \
  X(drop_fragment_limit) X(drop_fragment_timeout) X(drop_fragment_malformed)                      \
  X(datagrams_reassembled)                                                                        \
  /* ICMP */                                                                                      \
  X(icmp_echo_answered) X(icmp_errors_sent) X(icmp_errors_limited) X(icmp_errors_received)        \
  X(drop_icmp_malformed) X(drop_icmp_unknown) X(icmp_echo_ignored)                                \
  /* drops of TCP */                                                                              \
  X(drop_tcp_malformed) X(drop_tcp_checksum) X(drop_tcp_no_listener) X(drop_tcp_out_of_window)    \
  X(drop_tcp_no_ack) X(drop_tcp_bad_ack) X(drop_tcp_paws) X(drop_tcp_old_duplicate)               \
  X(drop_tcp_memory) X(drop_tcp_after_close) X(drop_tcp_reset_ignored)                            \
  /* TCP */                                                                                       \
  X(segments_received) X(segments_sent) X(segments_without_timestamp)                             \
  X(resets_received) X(resets_sent)                                                               \
  X(challenge_acks_sent) X(challenge_acks_limited) X(active_opens) X(passive_opens)               \
  X(failed_opens) X(retransmissions) X(timeouts) X(fast_retransmits) X(tail_loss_probes)          \
  X(zero_window_probes) X(delayed_acks) X(duplicate_acks_sent) X(out_of_order_segments)           \
  X(ecn_connections) X(ecn_marks_received) X(ecn_reductions)                                      \
  X(path_probes_sent) X(path_probes_lost) X(path_black_holes) X(path_mtu_lowered)                 \
  /* listening */                                                                                 \
  X(syn_received) X(syn_queue_overflow) X(syn_expired) X(syn_cookies_sent)                        \
  X(syn_cookies_accepted) X(syn_cookies_refused) X(syn_cookies_postponed)                         \
  X(accept_queue_overflow) X(accepts_deferred)                                                    \
  X(syn_asked) X(syn_asked_overflow) X(syn_asked_refused)                                         \
  X(connections_refused_limit)                                                                    \
  /* shards of one device */                                                                      \
  X(syns_handed_over) X(segments_handed_over) X(handovers_taken) X(handovers_dropped)             \
  X(handovers_early) X(connections_handed_over) X(connections_taken_over)                         \
  X(flow_directory_full) X(handovers_outdated)                                                                          \
  /* the end of connections */                                                                    \
  X(time_wait_entered) X(time_wait_recycled) X(time_wait_overflow) X(connections_aborted)         \
  X(orphans_reaped) X(orphans_over_limit) X(user_timeouts)                                        \
  X(shortage_orphans_reset) X(shortage_stalled_reset)                                                              \
  /* UDP */                                                                                       \
  X(datagrams_received) X(datagrams_sent) X(drop_udp_malformed) X(drop_udp_checksum)              \
  X(drop_udp_no_socket) X(drop_udp_queue_full) X(drop_udp_memory)                                 \
  X(datagrams_handed_over) X(udp_flows_begun) X(udp_flows_expired) X(drop_udp_flows_full)
// clang-format on

enum class counter : std::uint16_t {
#define WEIR_X(name) name,
  WEIR_STACK_COUNTERS(WEIR_X)
#undef WEIR_X
      count_
};

class host_counters {
 public:
  static constexpr std::size_t size = static_cast<std::size_t>(counter::count_);

  void add(counter c, std::uint64_t n = 1) { values_[static_cast<std::size_t>(c)] += n; }
  std::uint64_t operator[](counter c) const { return values_[static_cast<std::size_t>(c)]; }

 private:
  std::array<std::uint64_t, size> values_{};
};

constexpr std::string_view name(counter c) {
  constexpr std::string_view names[] = {
#define WEIR_X(name) #name,
      WEIR_STACK_COUNTERS(WEIR_X)
#undef WEIR_X
  };
  return names[static_cast<std::size_t>(c)];
}

}  // namespace weir::stack
