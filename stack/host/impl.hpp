// What a host consists of, and how packets, time and users' calls get to the part that they
// concern. The parts know nothing of each other but what they are given here: flows (connections,
// handshakes, TIME_WAIT), passive_opens (listeners and their queues), shard_link (other hosts of
// the device), shortage_relief (whom a lack of memory costs his connection), datagrams (UDP).
// input.cpp: what arrives, and time. sockets.cpp: users' calls. host.cpp: the facade.
#pragma once

#include <cstdint>
#include <memory>

#include "stack/host/core.hpp"
#include "stack/host/datagrams.hpp"
#include "stack/host/event_queue.hpp"
#include "stack/host/flows.hpp"
#include "stack/host/passive_opens.hpp"
#include "stack/host/shard_link.hpp"
#include "stack/host/shortage.hpp"
#include "stack/listen/ports.hpp"
#include "weir/stack/host.hpp"
#include "weir/stack/shards.hpp"

namespace weir::stack {

class host::impl final : handover_receiver {
 public:
  impl(host_options options, packet_sink& sink, std::shared_ptr<shard_set> shards, unsigned shard);
  ~impl();

  // input.cpp
  void expect(std::span<const std::span<const std::byte>> packets) noexcept;
  void input(instant now, std::span<const std::byte> packet, const receive_meta& meta);
  void flush(instant now);
  void advance(instant now);
  instant next_deadline() const;
  bool next_event(event& out);
  void take_handovers(instant now) { link_.take_handovers(now, *this); }

  // sockets.cpp
  result<socket_id> listen(const endpoint& local, const listen_options& options);
  result<socket_id> listen_any(const any_destination& where, const listen_options& options);
  result<socket_id> next_request(socket_id listener);
  std::error_code accept_request(instant now, socket_id request);
  result<socket_id> accept(instant now, socket_id id);
  void accept_wanted(instant now, socket_id id);
  void accept_unwanted(instant now, socket_id id);
  result<socket_id> connect(instant now, const endpoint& remote, const endpoint& local,
                            const tcp_options& options);
  result<lent_chunk> lend(instant now, socket_id id);
  result<lent_chunk> keep(std::span<const std::byte> bytes, void (*give_back)(void*) noexcept,
                          void* context);
  result<std::size_t> send_lent(instant now, socket_id id, const lent_chunk& from,
                                std::span<const std::byte> bytes, bool more);
  void release(instant now, const lent_chunk& lent);
  void close(instant now, socket_id id);
  void abort(instant now, socket_id id);
  void reset_unfinished(instant now);
  void set_user(socket_id id, void* user);
  endpoint local_endpoint(socket_id id);
  listener_info info_of(const listener& l);
  std::uint64_t memory_in_use() const {
    return core_.pool.account().used() + flows_.memory_in_use();
  }

  // The parts, for the facade's calls; each may only use those above it.
  host_core core_;
  event_queue events_;
  std::shared_ptr<shard_set> shards_;  // null: the host has its device to itself
  share::flow_claims claims_;
  flows flows_;
  passive_opens opens_;
  shard_link link_;
  shortage_relief relief_;
  datagrams datagrams_;
  std::span<const std::byte> held_;  // during input_held(): the packet
  bool behind_ = false;              // the device had more than the last batch took
  std::size_t lent_ = 0;             // chunks that users hold

 private:
  // input.cpp
  void arrived(std::span<const std::byte> packet, const receive_meta& meta);
  void take(instant now, const delivery& what);
  void on_segment(instant now, const wire::tcp_segment& segment, unsigned hops) override;
  void on_icmp(instant now, const icmp_report& report, unsigned hops) override;
  void on_datagram(instant now, const wire::udp_datagram& datagram, unsigned hops) override;
  void on_connection_segment(instant now, std::uint32_t index, const wire::tcp_segment& segment);
  void on_new_segment(instant now, const flow_key& flow, const wire::tcp_segment& segment,
                      unsigned hops);
  void on_syn_in_time_wait(instant now, std::uint32_t index, const wire::tcp_segment& segment);
  void on_timer(instant now, const tcp::timer_node& node);
  void take_looped(instant now);
  // sockets.cpp
  result<flow_key> choose_flow(const endpoint& remote, const endpoint& local);
  void close_listener(instant now, std::uint32_t index);

  port_allocator ports_;
};

}  // namespace weir::stack
