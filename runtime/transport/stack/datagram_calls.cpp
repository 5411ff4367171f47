// Options and counters as the stack has them, and how a batch and a piece become datagrams.
#include "runtime/transport/stack/datagram_calls.hpp"

#include <algorithm>

#include "weir/options.hpp"

namespace weir::detail {

result<stack::socket_id> open_datagrams(stack::host& host, const endpoint& local,
                                        const endpoint* remote, const udp_options& options) {
  stack::udp_options how;
  if (options.sharing == sharing::sharded) how.sharing = stack::sharing_mode::sharded;
  if (options.receive_buffer) how.receive_buffer = *options.receive_buffer;
  if (options.dscp) how.traffic_class = static_cast<std::uint8_t>(*options.dscp << 2);
  if (options.ttl) how.ttl = *options.ttl;
  how.allow_wildcard = options.allow_wildcard.value_or(false);
  return remote == nullptr ? host.udp_bind(local, how) : host.udp_connect(*remote, local, how);
}

namespace {

std::error_code send_segments(stack::host& host, instant now, stack::socket_id id, bool connected,
                              const outgoing_datagram& what) {
  if (what.from.interface != 0) return std::make_error_code(std::errc::no_such_device);
  if (what.to.address.zone() != 0 || what.from.address.zone() != 0)
    return std::make_error_code(std::errc::operation_not_supported);
  const stack::udp_header_choice header{what.from.address, static_cast<std::uint8_t>(what.mark)};
  auto left = what.bytes;
  do {
    const auto one =
        left.first(what.segment == 0 ? left.size() : std::min(left.size(), what.segment));
    left = left.subspan(one.size());
    const auto sent =
        host.udp_send(now, id, connected ? nullptr : &what.to, std::span(&one, 1), header);
    if (!sent) return sent.error();
  } while (!left.empty());
  return {};
}

}  // namespace

std::error_code send_datagrams(stack::host& host, instant now, stack::socket_id id,
                               send_datagram_operation& op) {
  const bool connected = op.socket->connected;
  if (op.batch.empty())
    return send_segments(host, now, id, connected, {.bytes = op.bytes, .to = op.to});
  for (; op.sent < op.batch.size(); ++op.sent)
    if (auto error = send_segments(host, now, id, connected, op.batch[op.sent])) return error;
  return {};
}

void show_datagrams(const stack::host& host, stack::socket_id id, known read_waits,
                    shard_snapshot& into) {
  const auto info = host.info_udp(id);
  if (!info) return;
  auto& out = into.udp_sockets.emplace_back();
  out.local = info->local;
  if (info->connected) out.remote = info->remote;
  out.receive_queued = info->queued_bytes;
  out.receive_limit = info->queued_bytes_limit;
  out.datagrams_queued = info->queued;
  out.datagrams_limit = info->queued_limit;
  out.received = info->received;
  out.sent = info->sent;
  out.dropped = info->dropped;
  out.icmp_errors = info->icmp_errors;
  out.read_waits = read_waits;
}

}  // namespace weir::detail
