// udp_socket's own calls and the parts of its awaiters that need not be inline: what every back end
// judges alike is judged here, before one is asked.
#include "weir/udp.hpp"

#include <algorithm>
#include <cassert>

#include "runtime/backend/transport.hpp"
#include "runtime/core/sockets/arguments.hpp"
#include "weir/config.hpp"
#include "weir/shard.hpp"
#include "weir/unix_datagrams.hpp"

namespace weir {

int detail::native_handle_of(const datagram_socket& socket) {
  const int fd = socket.at->native_handle(socket);
  if (fd < 0)
    throw io_error(std::make_error_code(std::errc::operation_not_supported), "native_handle");
  return fd;
}

namespace {

std::error_code code(std::errc e) { return std::make_error_code(e); }

/// Where a network's datagrams are.
result<detail::datagram_transport*> datagrams_at(shard& owner, std::string_view network,
                                                 const udp_options& options = {},
                                                 const endpoint& local = {},
                                                 const endpoint& remote = {}) {
  if (auto error = detail::check_options(options)) return error;
  const auto at = owner.network(network);
  if (!at) return at.error();
  if (auto error = detail::check_interface(options, local, remote, (*at)->on_kernel()))
    return error;
  auto* datagrams = (*at)->datagrams();
  if (datagrams == nullptr) return std::errc::operation_not_supported;
  return datagrams;
}

result<udp_socket> opened(detail::datagram_transport& at,
                          const result<detail::datagram_socket*>& made, ip_family family,
                          const endpoint* remote, const udp_options& options) {
  if (!made) return made.error();
  auto& s = **made;
  s.at = &at;
  s.family = family;
  s.connected = remote != nullptr;
  s.joins = options.gro;
  s.traffic_class = static_cast<std::uint8_t>(options.dscp.value_or(0) << 2);
  if (remote != nullptr) s.remote = *remote;
  return udp_socket(s);
}

/// Options as a back end takes them: with everything that the configuration says where they do not.
/// What it says of listeners' sharing is not for clients, who share their ports only when told to.
/// operation_not_supported: one socket for several shards, whose queue would need a lock.
result<udp_options> completed(udp_options options, bool client, const config& settings) {
  auto& share = options.sharing;
  if (!share) share = client ? sharing::exclusive : settings.listen.sharing;
  if (share == sharing::shared && settings.shard_count() != 1)
    return std::errc::operation_not_supported;
  if (!options.allow_wildcard) options.allow_wildcard = settings.listen.allow_wildcard;
  return options;
}

detail::datagram_transport& datagrams_of(const detail::datagram_socket& socket) {
  return *socket.at;
}

bool has_room(std::span<const incoming_datagram> batch) {
  return std::ranges::none_of(batch, [](const auto& slot) { return slot.buffer.empty(); });
}

std::error_code check_destination(const detail::datagram_socket& from, const endpoint* to) {
  if (to == nullptr) return from.connected ? std::error_code() : code(std::errc::not_connected);
  return from.connected ? code(std::errc::already_connected)
                        : detail::check_remote(from.family, *to);
}

std::error_code check_name(const detail::send_datagram_operation& op) {
  if (op.name == nullptr && !op.socket->connected) return code(std::errc::not_connected);
  if (op.name != nullptr && op.socket->connected) return code(std::errc::already_connected);
  const bool bad = (op.name != nullptr && op.name->is_unnamed()) ||
                   op.descriptors.size() > unix_datagram_socket::max_descriptors;
  return bad ? code(std::errc::invalid_argument) : std::error_code();
}

std::error_code check_size(ip_family family, std::size_t size, std::size_t segment) {
  const auto most =
      family == ip_family::v4 ? udp_socket::max_payload_v4 : udp_socket::max_payload_v6;
  const bool fits = size <= most && (segment == 0 || size <= segment * udp_socket::max_segments);
  return fits ? std::error_code() : code(std::errc::message_size);
}

std::error_code check(const detail::datagram_socket& socket, const outgoing_datagram& one) {
  const bool to_remote = socket.connected && one.to == endpoint();
  if (auto error = check_destination(socket, to_remote ? nullptr : &one.to)) return error;
  const auto& source = one.from.address;
  if (!source.is_unspecified() && source.family() != socket.family)
    return code(std::errc::address_family_not_supported);
  return check_size(socket.family, one.bytes.size(), one.segment);
}

}  // namespace

namespace detail {

void receive_datagram_awaiter::begin() noexcept {
  assert(&owner() == socket->owner && "a socket is used on the shard that owns it");
  if (connected_only_ && !socket->connected) return complete(code(std::errc::not_connected));
  if (socket->receiver != nullptr) return complete(code(std::errc::device_or_resource_busy));
  if (!batch.empty() ? !has_room(batch) : into.empty() || socket->joins)
    return complete(code(std::errc::invalid_argument));
  if (heeds_stop() && socket->owner->stop_requested()) {
    stopped_ = true;
    return complete(canceled_error());
  }
  datagrams_of(*socket).start_receive(*this);
}

void receive_datagram_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<receive_datagram_operation&>(op);
  datagrams_of(*self.socket).cancel_receive(self);
}

void receive_datagram_awaiter::tell(const detail::cancel_node& node, wait_told& out) noexcept {
  const auto& self = static_cast<const receive_datagram_awaiter&>(told(node, out));
  out.operation = self.name_;
  out.datagrams = self.socket;
}

void send_datagram_awaiter::tell(const detail::cancel_node& node, wait_told& out) noexcept {
  const auto& self = static_cast<const send_datagram_awaiter&>(told(node, out));
  out.operation = self.name_;
  out.datagrams = self.socket;
}

void receive_datagram_awaiter::stop_hook::on_stop(detail::cancel_node& node) noexcept {
  auto& awaiter = *static_cast<stop_hook&>(node).awaiter;
  if (!awaiter.pending()) return;
  awaiter.stopped_ = true;
  awaiter.ask_to_end();
}

datagram receive_datagram_awaiter::outcome() const noexcept {
  datagram out;
  out.ec = final_error();
  if (out.ec) {
    if (stopped_ && out.ec == std::errc::operation_canceled)
      out.ec = make_error_code(weir::error::closed);
    return out;
  }
  out.n = out.size = size;
  if (!batch.empty()) return out;
  out.n = std::min(size, into.size());
  out.from = from;
  if (out.n < out.size) out.ec = code(std::errc::message_size);
  return out;
}

void send_datagram_awaiter::begin() noexcept {
  assert(&owner() == socket->owner && "a socket is used on the shard that owns it");
  if (several_) return begin_batch();
  auto error =
      socket->named ? check_name(*this) : check_destination(*socket, to_remote ? nullptr : &to);
  if (!error && !socket->named) error = check_size(socket->family, bytes.size(), 0);
  if (error) return complete(error);
  datagrams_of(*socket).start_send(*this);
}

// What comes before one that cannot be sent is sent all the same: its destination may be what a
// stranger said.
void send_datagram_awaiter::begin_batch() noexcept {
  std::size_t good = 0;
  while (good < batch.size() && !(refused_ = check(*socket, batch[good]))) ++good;
  batch = batch.first(good);
  if (good == 0) return complete();
  datagrams_of(*socket).start_send(*this);
}

void send_datagram_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<send_datagram_operation&>(op);
  datagrams_of(*self.socket).cancel_send(self);
}

}  // namespace detail

void udp_socket::connect(const endpoint& remote, std::error_code& error) noexcept {
  auto& s = socket();
  error = detail::check_remote(s.family, remote);
  if (!error && (s.receiver != nullptr || s.sends != 0))
    error = code(std::errc::device_or_resource_busy);
  if (!error) error = datagrams_of(s).connect(s, remote);
  if (error) return;
  s.connected = true;
  s.remote = remote;
}

void udp_socket::connect(const endpoint& remote) {
  std::error_code error;
  connect(remote, error);
  if (error) throw io_error(error, "connect to " + remote.to_string());
}

void udp_socket::close() noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  assert(s.receiver == nullptr && s.sends == 0 && "a socket was closed under a pending operation");
  datagrams_of(s).close(s);
}

void udp_socket::tell_too_long(std::uint16_t mtu) noexcept {
  datagrams_of(socket()).tell_too_long(socket(), mtu);
}

void udp_socket::refuse(std::error_code why) noexcept {
  if (socket_ == nullptr) return;
  datagrams_of(*socket_).refuse(*socket_, why);
  close();
}

// --- Flows to others' addresses.

namespace detail {

void accept_flow_awaiter::begin() noexcept {
  assert(&owner() == socket->owner && "a listener is used on the shard that owns it");
  if (owner().stop_requested()) {
    stopped_ = true;
    return complete(canceled_error());
  }
  socket->acceptors.push_back(*this);
  socket->at->start_accept(*this);
}

void accept_flow_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<accept_flow_operation&>(op);
  self.socket->acceptors.remove(self);
  self.complete(canceled_error());
}

void accept_flow_awaiter::stop_hook::on_stop(detail::cancel_node& node) noexcept {
  auto& awaiter = *static_cast<stop_hook&>(node).awaiter;
  if (!awaiter.pending()) return;
  awaiter.stopped_ = true;
  awaiter.ask_to_end();
}

}  // namespace detail

void udp_flow_listener::close() noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  while (auto* op = s.acceptors.pop_front()) op->complete(make_error_code(weir::error::closed));
  s.at->close_listener(s);
}

// --- Of the shard.

result<udp_flow_listener> shard::try_listen_any_udp(const any_destination& where,
                                                    const udp_flow_options& options) {
  assert(on_this_thread());
  const auto datagrams = datagrams_at(*this, options.network);
  if (!datagrams) return datagrams.error();
  auto made = (*datagrams)->listen_any(where, options);
  if (!made) return made.error();
  return udp_flow_listener(**made);
}

udp_flow_listener shard::listen_any_udp(const any_destination& where,
                                        const udp_flow_options& options) {
  auto listener = try_listen_any_udp(where, options);
  if (!listener)
    throw io_error(listener.error(), "listen on any address of " + where.network.to_string() +
                                         networks_hint(options.network));
  return std::move(*listener);
}

result<udp_socket> shard::try_bind_udp(const endpoint& local, const udp_options& options) {
  assert(on_this_thread());
  const auto datagrams = datagrams_at(*this, options.network, options, local);
  if (!datagrams) return datagrams.error();
  const auto how = completed(options, false, *settings_);
  if (!how) return how.error();
  if (auto error = detail::check_local(local, *how->allow_wildcard)) return error;
  return opened(**datagrams, (*datagrams)->open(local, nullptr, *how), local.address.family(),
                nullptr, options);
}

udp_socket shard::bind_udp(const endpoint& local, const udp_options& options) {
  auto socket = try_bind_udp(local, options);
  if (!socket)
    throw io_error(socket.error(), "bind to " + local.to_string() + networks_hint(options.network));
  return std::move(*socket);
}

result<udp_socket> shard::try_connect_udp(const endpoint& remote, const endpoint& local,
                                          const udp_options& options) {
  assert(on_this_thread());
  const auto datagrams = datagrams_at(*this, options.network, options, local, remote);
  if (!datagrams) return datagrams.error();
  if (auto error = detail::check_remote(remote.address.family(), remote)) return error;
  auto from = local;
  if (local.address.is_unspecified())
    from.address = remote.address.is_v4() ? ip_address() : ip_address::v6({});
  else if (local.address.family() != remote.address.family())
    return code(std::errc::address_family_not_supported);
  const auto how = completed(options, true, *settings_);
  if (!how) return how.error();
  return opened(**datagrams, (*datagrams)->open(from, &remote, *how), from.address.family(),
                &remote, options);
}

udp_socket shard::connect_udp(const endpoint& remote, const endpoint& local,
                              const udp_options& options) {
  auto socket = try_connect_udp(remote, local, options);
  if (!socket)
    throw io_error(socket.error(),
                   "connect to " + remote.to_string() + networks_hint(options.network));
  return std::move(*socket);
}

}  // namespace weir
