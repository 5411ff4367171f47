// UDP to others' addresses: a datagram that no socket wants begins a flow, which is a connected
// socket from its first datagram on, and ends when it has been idle for too long.
#include "stack/host/datagrams.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack {

result<socket_id> datagrams::bind_any(const any_destination& where,
                                      const udp_flow_options& options) {
  if (shards_ != nullptr) return std::errc::operation_not_supported;
  if (where.ports.first == 0 || where.ports.first > where.ports.last)
    return std::errc::invalid_argument;
  if (sockets_.conflicts(where, options.echo)) return std::errc::address_in_use;
  const auto& limits = core_.options.limits;
  if (sockets_.size() >= limits.udp_sockets || sockets_.any_size() >= limits.any_listeners ||
      !core_.ip.take_also(where.network))
    return std::errc::not_enough_memory;
  return id_of(sockets_.add_any(where, options));
}

/// The flow that this datagram belongs to from now on; none: nobody takes it. `dropped`: somebody
/// would, and has no room.
std::uint32_t datagrams::begin_flow(instant now, const endpoint& local, const endpoint& from,
                                    bool echo, bool& dropped) {
  const auto any = sockets_.match_any(local, echo);
  if (any == udp_sockets::none) return udp_sockets::none;
  if (sockets_.size() >= core_.options.limits.udp_sockets || sockets_.flows_full(any)) {
    dropped = true;
    core_.counters.add(counter::drop_udp_flows_full);
    ++sockets_[any].dropped;
    return udp_sockets::none;
  }
  // RFC 1122 4.1.3.6: nobody can be answered there.
  if ((from.port == 0 && !echo) || !core_.ip.is_unicast(from.address)) return udp_sockets::none;
  core_.counters.add(counter::udp_flows_begun);
  const auto flow = sockets_.add_flow(any, now, local, from);
  post(any, ready::acceptable);
  return flow;
}

/// Only of those for whom nobody here answers.
void datagrams::on_echo(instant now, const echo_request& request) {
  const endpoint local{request.destination, request.identifier};
  const endpoint from{request.source, request.identifier};
  auto index = sockets_.flow(local, from, true);
  bool dropped = false;
  if (index == udp_sockets::none) index = begin_flow(now, local, from, true, dropped);
  if (dropped) return;
  if (index == udp_sockets::none) return core_.counters.add(counter::icmp_echo_ignored);
  sockets_.touch(index, now);
  queue(index, {from, local.address, 0}, request.data);
}

result<std::size_t> datagrams::send_echo(instant now, socket_id id,
                                         std::span<const std::span<const std::byte>> payload) {
  constexpr std::size_t sequence = 2;
  auto& s = *find(id);
  if (payload.size() != 1 || payload[0].size() < sequence) return std::errc::invalid_argument;
  // What an IPv4 packet has room for behind both headers.
  if (payload[0].size() > 65535 - wire::min_ipv4_header - 6) return std::errc::message_size;
  if (!core_.ip.send_echo_reply(now, {s.local.address, s.remote.address, s.local.port, payload[0]}))
    return std::errc::no_buffer_space;
  ++s.sent;
  sockets_.touch(place_of(id), now);
  return payload[0].size();
}

result<socket_id> datagrams::accept(socket_id id) {
  const auto* s = find(id);
  if (s == nullptr || !s->any) return std::errc::bad_file_descriptor;
  const auto flow = sockets_.take_unaccepted(place_of(id));
  if (flow == udp_sockets::none) return std::errc::operation_would_block;
  if (sockets_[flow].queued != 0 || sockets_[flow].error) post(flow, ready::readable);
  return id_of(flow);
}

void datagrams::refuse(instant now, socket_id id, refusal how) {
  const auto* s = find(id);
  if (s == nullptr || !s->connected || s->echo || how == refusal::silence) return;
  core_.ip.send_unreachable(now, {s->remote, s->local, wire::udp_protocol, 0, how});
}

void datagrams::tell_too_long(instant now, socket_id id, std::uint16_t mtu) {
  const auto* s = find(id);
  if (s == nullptr || !s->connected || s->echo) return;
  core_.ip.send_unreachable(
      now,
      {.from = s->remote, .to = s->local, .protocol = wire::udp_protocol, .too_long_for = mtu});
}

void datagrams::advance(instant now) {
  for (;;) {
    const auto flow = sockets_.take_expired(now);
    if (flow == udp_sockets::none) return;
    core_.counters.add(counter::udp_flows_expired);
    auto& s = sockets_[flow];
    if (!s.accepted) {
      sockets_.forget_unaccepted(flow);
      sockets_.remove(flow);
      continue;
    }
    s.error = std::make_error_code(std::errc::timed_out);
    s.over = true;
    post(flow, ready::readable);
  }
}

}  // namespace weir::stack
