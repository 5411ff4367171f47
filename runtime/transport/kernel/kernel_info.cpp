// See kernel_info.hpp. The kernel's tcp_info comes from <linux/tcp.h>, which does not go together
// with <netinet/tcp.h>; it grows with the kernel, and how much of it was filled says what is known.
#include "runtime/transport/kernel/kernel_info.hpp"

#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include "runtime/transport/kernel/kernel_socket.hpp"
#include "weir/stack/info.hpp"

namespace weir::detail::kernel {
namespace {

using info = ::tcp_info;

/// The kernel's TCP_INFINITE_SSTHRESH: slow start has not ended yet.
constexpr std::uint32_t infinite_threshold = 0x7fffffff;

/// Whether the kernel filled a member that ends here.
#define WEIR_FILLED(size, member) ((size) >= offsetof(info, member) + sizeof(info::member))

std::string_view state_name(std::uint8_t state) {
  using enum stack::tcp_state;
  // The order of the kernel's enum in include/net/tcp_states.h, from 1.
  constexpr std::array states = {established,
                                 syn_sent,
                                 syn_received,
                                 fin_wait_1,
                                 fin_wait_2,
                                 time_wait,
                                 stack::tcp_state::closed,
                                 close_wait,
                                 last_ack,
                                 stack::tcp_state::listen,
                                 closing};
  if (state == 0 || state > states.size()) return "unknown";
  return stack::name(states[state - 1u]);
}

std::string_view phase_name(std::uint8_t state) {
  using enum stack::congestion_phase;
  // The order of the kernel's enum tcp_ca_state in <linux/tcp.h>.
  constexpr std::array phases = {open, disorder, reduced, recovery, loss};
  return state < phases.size() ? stack::name(phases[state]) : std::string_view();
}

/// Bytes filled; 0 where the kernel refuses.
std::size_t read_info(int fd, info& into) {
  socklen_t size = sizeof into;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &into, &size) == 0 ? size : 0;
}

known queue_of(int fd, unsigned long question) {
  int bytes = 0;
  if (::ioctl(fd, question, &bytes) != 0 || bytes < 0) return {};
  return static_cast<std::uint64_t>(bytes);
}

void take_info(const info& from, std::size_t size, connection_snapshot& into) {
  into.state = state_name(from.tcpi_state);
  const std::uint64_t mss = from.tcpi_snd_mss;
  into.send_mss = mss;
  into.receive_mss = from.tcpi_rcv_mss;
  into.rtt = std::uint64_t{from.tcpi_rtt} * 1000;
  into.rtt_variance = std::uint64_t{from.tcpi_rttvar} * 1000;
  into.rto = std::uint64_t{from.tcpi_rto} * 1000;
  into.congestion_window = from.tcpi_snd_cwnd * mss;
  if (from.tcpi_snd_ssthresh < infinite_threshold)
    into.slow_start_threshold = from.tcpi_snd_ssthresh * mss;
  const bool scaling = (from.tcpi_options & TCPI_OPT_WSCALE) != 0;
  into.send_window_shift = scaling ? from.tcpi_snd_wscale : 0u;
  into.receive_window_shift = scaling ? from.tcpi_rcv_wscale : 0u;
  into.sack = (from.tcpi_options & TCPI_OPT_SACK) != 0;
  into.timestamps = (from.tcpi_options & TCPI_OPT_TIMESTAMPS) != 0;
  into.retransmissions = from.tcpi_total_retrans;
  into.phase = phase_name(from.tcpi_ca_state);
  into.lost = from.tcpi_lost * mss;
  into.sacked = from.tcpi_sacked * mss;
  into.retransmitted = from.tcpi_retrans * mss;
  if (WEIR_FILLED(size, tcpi_reord_seen)) into.reordering = from.tcpi_reord_seen != 0;
  if (WEIR_FILLED(size, tcpi_bytes_received)) into.bytes_received = from.tcpi_bytes_received;
  if (WEIR_FILLED(size, tcpi_segs_in)) {
    into.segments_sent = from.tcpi_segs_out;
    into.segments_received = from.tcpi_segs_in;
  }
  if (WEIR_FILLED(size, tcpi_bytes_retrans)) {
    into.bytes_sent = from.tcpi_bytes_sent - from.tcpi_bytes_retrans;
    into.bytes_retransmitted = from.tcpi_bytes_retrans;
  }
  if (WEIR_FILLED(size, tcpi_snd_wnd)) into.send_window = from.tcpi_snd_wnd;
}

}  // namespace

unsigned observe_listener(int fd, listener_snapshot& into) {
  info about{};
  if (read_info(fd, about) == 0 || about.tcpi_state != 10) return 1;  // TCP_LISTEN
  // For a listener the kernel puts sk_ack_backlog and sk_max_ack_backlog there (tcp_get_info());
  // it admits one more than the latter (sk_acceptq_is_full()).
  into.accept_queue = about.tcpi_unacked;
  into.backlog = std::uint64_t{about.tcpi_sacked} + 1;
  int seconds = 0;
  socklen_t size = sizeof seconds;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, &size) == 0)
    into.defer_accept = static_cast<std::uint64_t>(seconds) * 1'000'000'000;
  return 2;
}

void describe_sharing(sharing how, std::size_t members, listener_snapshot& into) {
  into.sharing = how == sharing::shared    ? "shared"
                 : how == sharing::sharded ? "sharded"
                                           : "exclusive";
  if (how == sharing::sharded) into.policy = "hash";
  into.members = std::max<std::size_t>(members, 1);
}

unsigned observe_datagram(int fd, udp_snapshot& into) {
  into.local = local_endpoint_of(fd);
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t size = sizeof memory;
  if (::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory.data(), &size) == 0 &&
      size > SK_MEMINFO_DROPS * sizeof(std::uint32_t)) {
    into.receive_queued = memory[SK_MEMINFO_RMEM_ALLOC];
    into.receive_limit = memory[SK_MEMINFO_RCVBUF];
    into.dropped = memory[SK_MEMINFO_DROPS];
  }
  return 2;
}

void show(const tcp_counters& counters, shard_snapshot& into) {
  auto& c = into.counts;
  c.push_back({"transport", "accepted", "connections accepted", counters.accepted});
  c.push_back({"transport", "connected", "connections opened", counters.connected});
  c.push_back(
      {"transport", "detached", "connections that left for another shard", counters.detached});
  c.push_back(
      {"transport", "attached", "connections that came from another shard", counters.attached});
  c.push_back(
      {"transport", "bytes_received", "payload that TCP sockets brought", counters.bytes_received});
  c.push_back({"transport", "bytes_sent", "payload that TCP sockets took", counters.bytes_sent});
  c.push_back({"transport", "file_bytes_sent", "of it, bytes of files that were not copied",
               counters.file_bytes_sent});
  c.push_back({"transport", "accept_exhausted", "waits for a descriptor or for memory",
               counters.accept_exhausted});
}

unsigned observe_connection(int fd, const socket_base& s, connection_snapshot& into) {
  into.local = local_endpoint_of(fd);
  into.remote = s.at->remote_endpoint(s);
  into.read_waits = s.reader != nullptr;
  into.write_waits = !s.writers.empty();
  info about{};
  into.state = "unknown";
  if (const auto size = read_info(fd, about); size != 0) take_info(about, size, into);
  into.receive_queued = queue_of(fd, SIOCINQ);
  into.send_queued = queue_of(fd, SIOCOUTQ);
  if (const auto unsent = queue_of(fd, SIOCOUTQNSD); unsent && into.send_queued)
    into.unacknowledged = *into.send_queued - std::min(*unsent, *into.send_queued);
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t size = sizeof memory;
  if (::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory.data(), &size) == 0 &&
      size > SK_MEMINFO_WMEM_QUEUED * sizeof(std::uint32_t)) {
    into.receive_limit = memory[SK_MEMINFO_RCVBUF];
    into.send_limit = memory[SK_MEMINFO_SNDBUF];
    into.memory = std::uint64_t{memory[SK_MEMINFO_RMEM_ALLOC]} + memory[SK_MEMINFO_WMEM_QUEUED];
  }
  std::array<char, 16> name{};  // TCP_CA_NAME_MAX
  size = sizeof name;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) == 0)
    into.congestion = std::string(name.data(), ::strnlen(name.data(), size));
  return 7;
}

}  // namespace weir::detail::kernel
