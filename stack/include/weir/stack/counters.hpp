// What a host counts: every packet in and out, and every drop under the name of its reason.
// Counters only grow; each has one name, which /metrics and the tests use. What seldom happens is
// told at once, too, to who watches the host.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "weir/stack/address.hpp"

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

constexpr std::string_view name(counter c) {
  constexpr std::string_view names[] = {
#define WEIR_X(name) #name,
      WEIR_STACK_COUNTERS(WEIR_X)
#undef WEIR_X
  };
  return names[static_cast<std::size_t>(c)];
}

/// Whether it counts what was turned away: each drop, and what found a queue full.
constexpr bool is_turned_away(counter c) {
  switch (c) {
    case counter::accept_queue_overflow:
    case counter::syn_queue_overflow:
    case counter::syn_asked_overflow:
    case counter::connections_refused_limit:
    case counter::handovers_dropped:
    case counter::device_full: return true;
    default: return name(c).starts_with("drop_");
  }
}
/// Whether it is told beside being counted: what is turned away, and what a connection meets that
/// does not go well.
constexpr bool is_told(counter c) {
  switch (c) {
    case counter::timeouts:
    case counter::user_timeouts:
    case counter::syn_expired:
    case counter::resets_received:
    case counter::path_black_holes:
    case counter::shortage_orphans_reset:
    case counter::shortage_stalled_reset: return true;
    default: return is_turned_away(c);
  }
}

/// Is told of what seldom happens, from within a call of the host, which it must not call.
class host_watcher {
 public:
  /// Something that is_told() of happened `n` times.
  virtual void counted(counter what, std::uint64_t n) noexcept = 0;
  /// `bytes` were sent again; 0: a SYN, or its answer.
  virtual void sent_again(const endpoint& local, const endpoint& remote,
                          std::uint32_t bytes) noexcept = 0;

 protected:
  ~host_watcher() = default;
};

class host_counters {
 public:
  static constexpr std::size_t size = static_cast<std::size_t>(counter::count_);

  void add(counter c, std::uint64_t n = 1) {
    values_[static_cast<std::size_t>(c)] += n;
    if (told[static_cast<std::size_t>(c)]) tell(c, n);
  }
  /// Counts retransmissions, and tells of them.
  void add_sent_again(const endpoint& local, const endpoint& remote, std::uint32_t segments,
                      std::uint32_t bytes) noexcept;
  std::uint64_t operator[](counter c) const { return values_[static_cast<std::size_t>(c)]; }
  /// Null: nobody watches. It stays until another is set. Copies have none.
  void set_watcher(host_watcher* watcher) { watcher_.to = watcher; }

 private:
  static constexpr std::array<bool, size> told = [] {
    std::array<bool, size> out{};
    for (std::size_t i = 0; i < size; ++i) out[i] = is_told(static_cast<counter>(i));
    return out;
  }();
  struct link {
    link() = default;
    link(const link&) {}
    link& operator=(const link&) { return *this; }
    host_watcher* to = nullptr;
  };
  void tell(counter c, std::uint64_t n) noexcept;  // of stack/base/counters.cpp

  std::array<std::uint64_t, size> values_{};
  link watcher_;
};

}  // namespace weir::stack
