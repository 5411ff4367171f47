// The users' calls, datagrams that arrive, and ICMP errors about what was sent.
#include "stack/host/datagrams.hpp"

#include <algorithm>

#include "stack/base/parts.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack {
namespace {

/// The largest payload: what the 16-bit lengths of UDP and IP leave (RFC 768; RFC 8200 3).
std::size_t largest_payload(const ip_address& to) {
  const std::size_t most = 65535 - wire::udp_header;
  return to.is_v4() ? most - wire::min_ipv4_header : most;
}

}  // namespace

datagrams::datagrams(host_core& core, event_queue& events, shard_set* shards, unsigned shard)
    : core_(core),
      events_(events),
      shards_(shards),
      shard_(shard),
      sockets_(derive_key(core.options.secret, 6), core.pool),
      ports_(derive_key(core.options.secret, 7)) {}

void datagrams::leave_all() {
  if (shards_ != nullptr)
    sockets_.for_each([&](const udp_socket& s) { groups().leave(shard_, s.bound); });
}

// --- What arrives.

/// Where hosts share a device: true when another one has the socket, to which this goes. The kernel
/// chooses the queue that a datagram comes by without knowing who is bound where.
bool datagrams::hand_over(const flow_key& flow, share::handover&& item,
                          std::span<const std::byte> payload) {
  auto& all = groups();
  if (view_ == nullptr || all.version() != view_version_) view_ = all.current(view_version_);
  const auto* where = view_->match(flow.local);
  if (where == nullptr) return false;
  const auto target = share::table::pick_by_hash(*where, all.hash(flow));
  if (target == shard_) return false;
  item.hops = 1;
  switch (shards_->inside().inbox_of(target).post(std::move(item), payload)) {
    case share::posted::closed: return false;  // it goes this very moment
    case share::posted::full: core_.counters.add(counter::handovers_dropped); break;
    case share::posted::yes: core_.counters.add(counter::datagrams_handed_over); break;
  }
  return true;
}

void datagrams::on_datagram(instant now, const wire::udp_datagram& datagram, unsigned hops) {
  const endpoint local{datagram.destination, datagram.destination_port};
  const endpoint from{datagram.source, datagram.source_port};
  if (shards_ != nullptr && hops == 0) {
    share::handover item;
    item.what = share::handover::kind::datagram;
    item.datagram = datagram;
    item.datagram.payload = item.datagram.packet = {};
    if (hand_over({local, from}, std::move(item), datagram.payload)) return;
  }
  auto index = sockets_.match(local, from);
  bool dropped = false;
  if (index == udp_sockets::none && sockets_.any_size() != 0)
    index = begin_flow(now, local, from, false, dropped);
  if (dropped) return;
  if (index == udp_sockets::none) {
    if (core_.forward_arrived()) return;
    core_.counters.add(counter::drop_udp_no_socket);
    // What was handed over had a socket a moment ago.
    if (hops == 0) core_.ip.send_port_unreachable(now, datagram);
    return;
  }
  sockets_.touch(index, now);
  // A batch from a device is as many datagrams as it carries.
  auto left = datagram.payload;
  do {
    const auto one =
        left.first(datagram.gso_size == 0 ? left.size()
                                          : std::min<std::size_t>(left.size(), datagram.gso_size));
    left = left.subspan(one.size());
    queue(index, {from, local.address, datagram.ecn}, one);
  } while (!left.empty());
}

void datagrams::queue(std::uint32_t index, const udp_sockets::arrival& of,
                      std::span<const std::byte> payload) {
  switch (sockets_.push(index, of, payload)) {
    case udp_sockets::admission::queued:
      core_.counters.add(counter::datagrams_received);
      // Before accept() nobody asks; it tells what happened meanwhile.
      if (sockets_[index].has_user()) post(index, ready::readable);
      break;
    case udp_sockets::admission::queue_full:
      core_.counters.add(counter::drop_udp_queue_full);
      break;
    case udp_sockets::admission::no_memory: core_.counters.add(counter::drop_udp_memory); break;
  }
}

// Nobody vouches for an ICMP error, and UDP has no sequence number to check: it must be about the
// destination that this socket is connected to or sent to last, and no longer than what it sent
// (RFC 8085 5.2).
void datagrams::on_icmp(instant now, const icmp_report& report, unsigned hops) {
  if (shards_ != nullptr && hops == 0) {
    share::handover item;
    item.what = share::handover::kind::icmp;
    item.report = report;
    if (hand_over({report.local, report.remote}, std::move(item), {})) return;
  }
  const auto index = sockets_.sender(report.local, report.remote);
  if (index == udp_sockets::none) return (void)core_.forward_arrived();
  auto& s = sockets_[index];
  const bool sent_there = s.last_destination == report.remote && s.longest_packet != 0;
  if (!sent_there || (s.connected && s.remote != report.remote))
    return (void)core_.forward_arrived();
  ++s.icmp_errors;
  s.last_icmp_type = report.type;
  s.last_icmp_code = report.code;
  if (report.kind == icmp_kind::packet_too_big) {
    // What comes next is cut to fit; that one datagram was lost is nothing new to UDP.
    const bool plausible = report.quoted_length <= s.longest_packet &&
                           (report.mtu == 0 || report.mtu < report.quoted_length);
    if (plausible) (void)core_.ip.lower_path_mtu(now, report);
    return;
  }
  // As Linux does, hard errors reach connected sockets; the others are to be seen in info_udp().
  const bool hard =
      report.kind == icmp_kind::port_unreachable || report.kind == icmp_kind::protocol_unreachable;
  if (!hard || !s.connected) return;
  s.error = std::make_error_code(std::errc::connection_refused);
  post(index, ready::readable);
}

// --- The users' calls.

/// RFC 8085 5.1: a port that an off-path attacker cannot guess. Each socket is a destination of its
/// own to the allocator, so that one port tells nothing of the next.
result<endpoint> datagrams::choose_port(const ip_address& address) {
  const endpoint label{ip_address::v4(opened_++), 0};
  const auto port = ports_.choose(address, label, [&](std::uint16_t p) {
    const endpoint at{address, p};
    return !sockets_.conflicts(at) && (shards_ == nullptr || !groups().taken(at));
  });
  if (!port) return std::errc::address_in_use;
  return endpoint{address, *port};
}

result<socket_id> datagrams::bind(const endpoint& local, const udp_options& options) {
  const bool wildcard = local.address.is_unspecified();
  if (wildcard && !options.allow_wildcard) return std::errc::permission_denied;
  if (!wildcard && !core_.ip.is_local(local.address)) return std::errc::address_not_available;
  if (sockets_.size() >= core_.options.limits.udp_sockets) return std::errc::not_enough_memory;
  auto at = local;
  if (at.port == 0) {
    auto chosen = choose_port(at.address);
    if (!chosen) return chosen.error();
    at = *chosen;
  } else if (sockets_.conflicts(at)) {
    // Where hosts share a device, each has one member.
    const bool joins = options.sharing == sharing_mode::sharded && shards_ == nullptr;
    if (!joins || !sockets_.may_join(at)) return std::errc::address_in_use;
  }
  if (options.sharing == sharing_mode::shared) return std::errc::operation_not_supported;
  if (shards_ != nullptr) {
    listen_options group;
    group.sharing = options.sharing;
    if (auto error = groups().join(shard_, at, group)) return error;
  }
  return id_of(sockets_.add(at, options));
}

void datagrams::close(socket_id id) {
  if (shards_ != nullptr) groups().leave(shard_, sockets_[place_of(id)].bound);
  if (sockets_[place_of(id)].any) sockets_.drop_unaccepted(place_of(id));
  sockets_.remove(place_of(id));
}

std::error_code datagrams::check_destination(const ip_address& from, const endpoint& to) const {
  if (from.family() != to.address.family())
    return std::make_error_code(std::errc::address_family_not_supported);
  if (to.port == 0 || to.address.is_unspecified() || !core_.ip.is_unicast(to.address))
    return std::make_error_code(std::errc::invalid_argument);
  return {};
}

result<socket_id> datagrams::connect(const endpoint& remote, const endpoint& local,
                                     const udp_options& options) {
  auto at = local;
  if (local.address.is_unspecified()) {
    const auto source = core_.ip.source_for(remote.address);
    if (!source) return std::errc::network_unreachable;
    at.address = *source;
  }
  if (auto error = check_destination(at.address, remote)) return error;
  auto id = bind(at, options);
  if (id) sockets_.connect(place_of(*id), at.address, remote);
  return id;
}

std::error_code datagrams::connect(socket_id id, const endpoint& remote) {
  auto* s = find(id);
  if (s == nullptr) return std::make_error_code(std::errc::bad_file_descriptor);
  if (s->is_flow) return std::make_error_code(std::errc::already_connected);
  if (auto error = check_destination(s->local.address, remote)) return error;
  auto source = s->local.address;
  if (source.is_unspecified()) {
    const auto chosen = core_.ip.source_for(remote.address);
    if (!chosen) return std::make_error_code(std::errc::network_unreachable);
    source = *chosen;
  }
  sockets_.connect(place_of(id), source, remote);
  return {};
}

result<ip_address> datagrams::source_of(const udp_socket& s, const ip_address& chosen,
                                        const ip_address& remote) const {
  const auto& own = s.local.address;
  if (!chosen.is_unspecified()) {
    const bool ours = own.is_unspecified()
                          ? chosen.family() == own.family() && core_.ip.is_local(chosen)
                          : chosen == own;
    if (!ours) return std::errc::address_not_available;
    return chosen;
  }
  if (!own.is_unspecified()) return own;
  const auto source = core_.ip.source_for(remote);
  if (!source) return std::errc::network_unreachable;
  return *source;
}

result<std::size_t> datagrams::send(instant now, socket_id id, const endpoint* to,
                                    std::span<const std::span<const std::byte>> payload,
                                    const udp_header_choice& header) {
  auto* s = find(id);
  if (s == nullptr) return std::errc::bad_file_descriptor;
  if (s->error) return s->take_error();
  if (s->echo) return send_echo(now, id, payload);
  if (to == nullptr && !s->connected) return std::errc::not_connected;
  if (to != nullptr && s->connected) return std::errc::already_connected;
  const auto& remote = to != nullptr ? *to : s->remote;
  if (to != nullptr)
    if (auto error = check_destination(s->local.address, remote)) return error;
  wire::udp_datagram out;
  const auto source = source_of(*s, header.source, remote.address);
  if (!source) return source.error();
  out.source = *source;
  out.ecn = header.ecn;
  const auto size = total_size(payload);
  if (size > largest_payload(remote.address)) return std::errc::message_size;
  out.destination = remote.address;
  out.source_port = s->local.port;
  out.destination_port = remote.port;
  out.traffic_class = s->options.traffic_class;
  if (s->last_destination != remote) {
    s->last_destination = remote;
    s->longest_packet = 0;
  }
  const auto headers =
      wire::udp_header + (remote.address.is_v4() ? wire::min_ipv4_header : wire::ipv6_header);
  const auto packet = std::min<std::size_t>(headers + size, core_.ip.path_mtu(now, remote.address));
  s->longest_packet = std::max(s->longest_packet, static_cast<std::uint32_t>(packet));
  if (!core_.ip.send_udp(now, out, payload, s->options.ttl)) return std::errc::no_buffer_space;
  ++s->sent;
  sockets_.touch(place_of(id), now);
  core_.counters.add(counter::datagrams_sent);
  return size;
}

/// Why there is no datagram to be had; nothing: there is one.
std::error_code datagrams::next_of(udp_socket* s) {
  if (s == nullptr) return std::make_error_code(std::errc::bad_file_descriptor);
  const bool waits = s->head != udp_sockets::none;
  if (s->error && !(s->over && waits)) return s->take_error();
  return waits ? std::error_code() : std::make_error_code(std::errc::operation_would_block);
}

result<received_datagram> datagrams::receive(socket_id id, std::span<std::byte> into) {
  if (auto error = next_of(find(id))) return error;
  return sockets_.pop(place_of(id), into);
}

result<lent_datagram> datagrams::lend(socket_id id) {
  if (auto error = next_of(find(id))) return error;
  return sockets_.lend(place_of(id));
}

void datagrams::give_back(socket_id id, std::uint32_t token) {
  if (find(id) != nullptr) sockets_.give_back(place_of(id), token);
}

}  // namespace weir::stack
