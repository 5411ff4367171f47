// UDP on a host: the users' calls, datagrams that arrive, ICMP errors about what was sent, and the
// sockets that several hosts of one device bind to one address. The table of sockets is
// udp/udp_sockets.hpp's. RFC 768, RFC 1122 4.1, RFC 8085 5.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <system_error>

#include "stack/host/core.hpp"
#include "stack/host/event_queue.hpp"
#include "stack/listen/ports.hpp"
#include "stack/share/group_table.hpp"
#include "stack/udp/udp_sockets.hpp"
#include "weir/stack/result.hpp"
#include "weir/stack/shards.hpp"

namespace weir::stack {

class datagrams {
 public:
  /// `shards`: null where the host has its device to itself.
  datagrams(host_core& core, event_queue& events, shard_set* shards, unsigned shard);
  /// The host goes: others get what comes for its sockets.
  void leave_all();

  void on_datagram(instant now, const wire::udp_datagram& datagram, unsigned hops);
  void on_icmp(instant now, const icmp_report& report, unsigned hops);
  void on_echo(instant now, const echo_request& request);

  result<socket_id> bind(const endpoint& local, const udp_options& options);
  result<socket_id> connect(const endpoint& remote, const endpoint& local,
                            const udp_options& options);
  std::error_code connect(socket_id id, const endpoint& remote);
  result<std::size_t> send(instant now, socket_id id, const endpoint* to,
                           std::span<const std::span<const std::byte>> payload,
                           const udp_header_choice& header);
  result<received_datagram> receive(socket_id id, std::span<std::byte> into);
  result<lent_datagram> lend(socket_id id);
  void give_back(socket_id id, std::uint32_t token);
  void close(socket_id id);

  // Flows of others' addresses (udp_flows.cpp).
  result<socket_id> bind_any(const any_destination& where, const udp_flow_options& options);
  result<socket_id> accept(socket_id any);
  void refuse(instant now, socket_id id, refusal how);
  void tell_too_long(instant now, socket_id id, std::uint16_t mtu);
  void advance(instant now);
  instant next_deadline() const { return sockets_.next_deadline(); }

  /// Null where there is no such socket.
  udp_socket* find(socket_id id) {
    return is_udp(id) ? sockets_.find(place_of(id), generation_of(id)) : nullptr;
  }

 private:
  bool hand_over(const flow_key& flow, share::handover&& item, std::span<const std::byte> payload);
  std::uint32_t begin_flow(instant now, const endpoint& local, const endpoint& from, bool echo,
                           bool& dropped);
  void queue(std::uint32_t index, const udp_sockets::arrival& of,
             std::span<const std::byte> payload);
  std::error_code next_of(udp_socket* s);
  result<ip_address> source_of(const udp_socket& s, const ip_address& chosen,
                               const ip_address& remote) const;
  result<std::size_t> send_echo(instant now, socket_id id,
                                std::span<const std::span<const std::byte>> payload);
  result<endpoint> choose_port(const ip_address& address);
  std::error_code check_destination(const ip_address& from, const endpoint& to) const;
  void post(std::uint32_t index, ready what) { events_.post(sockets_[index], id_of(index), what); }
  socket_id id_of(std::uint32_t index) const {
    return static_cast<socket_id>(std::uint64_t{sockets_.generation(index)} << 32 | udp_bit |
                                  index);
  }
  static std::uint32_t place_of(socket_id id) { return index_of(id) & ~udp_bit; }
  share::table& groups() { return shards_->datagrams(); }

  host_core& core_;
  event_queue& events_;
  shard_set* shards_;
  unsigned shard_;
  udp_sockets sockets_;
  port_allocator ports_;
  std::uint32_t opened_ = 0;
  std::shared_ptr<const share::snapshot> view_;
  std::uint64_t view_version_ = 0;
};

}  // namespace weir::stack
