// The facade: each public call finds its socket and hands on.
#include "weir/stack/host.hpp"

#include "stack/host/impl.hpp"

namespace weir::stack {
namespace {

std::error_code bad_id() { return std::make_error_code(std::errc::bad_file_descriptor); }

}  // namespace

std::string_view name(congestion_phase phase) {
  constexpr std::string_view names[] = {"open", "disorder", "reduced", "recovery", "loss"};
  return names[static_cast<std::size_t>(phase)];
}

std::string_view name(tcp_state state) {
  constexpr std::string_view names[] = {"closed",      "listen",     "syn_sent",   "syn_received",
                                        "established", "fin_wait_1", "fin_wait_2", "close_wait",
                                        "closing",     "last_ack",   "time_wait"};
  return names[static_cast<std::size_t>(state)];
}

host::host(host_options options, packet_sink& sink) : host(std::move(options), sink, nullptr, 0) {}
host::host(host_options options, packet_sink& sink, std::shared_ptr<shard_set> shards,
           unsigned shard)
    : impl_(std::make_unique<impl>(std::move(options), sink, std::move(shards), shard)) {}
host::~host() = default;

void host::input(instant now, std::span<const std::byte> packet, const receive_meta& meta) {
  impl_->input(now, packet, meta);
}
void host::input_held(instant now, std::span<const std::byte> packet, const receive_meta& meta) {
  impl_->held_ = packet;
  impl_->input(now, packet, meta);
  impl_->held_ = {};
}
bool host::let_go() { return impl_->core_.pool.fill(); }
void host::flush(instant now) { impl_->flush(now); }
void host::expect(std::span<const std::span<const std::byte>> packets) noexcept {
  impl_->expect(packets);
}
void host::device_is_ahead() { impl_->behind_ = true; }
void host::advance(instant now) { impl_->advance(now); }
instant host::next_deadline() const { return impl_->next_deadline(); }
bool host::next_event(event& out) { return impl_->next_event(out); }
void host::take_handovers(instant now) { impl_->take_handovers(now); }
void host::forward_unclaimed(packet_forwarder* to) { impl_->core_.forwarder = to; }

void host::accept_wanted(instant now, socket_id listener) { impl_->accept_wanted(now, listener); }
void host::accept_unwanted(instant now, socket_id listener) {
  impl_->accept_unwanted(now, listener);
}

result<socket_id> host::listen(const endpoint& local, const listen_options& options) {
  return impl_->listen(local, options);
}
result<socket_id> host::listen_any(const any_destination& where, const listen_options& options) {
  return impl_->listen_any(where, options);
}
result<socket_id> host::next_request(socket_id listener) { return impl_->next_request(listener); }
std::error_code host::accept_request(instant now, socket_id request) {
  return impl_->accept_request(now, request);
}
void host::refuse_request(instant now, socket_id request, refusal how) {
  impl_->opens_.refuse_request(now, request, how);
}
result<socket_id> host::accept(instant now, socket_id listener) {
  return impl_->accept(now, listener);
}
result<socket_id> host::accept(socket_id listener) {
  return impl_->accept(impl_->core_.latest, listener);
}
bool host::leave_to_others(instant now, socket_id listener) {
  auto& all = impl_->opens_;
  return all.find(listener) == nullptr || all.leave_to_others(now, index_of(listener));
}
result<socket_id> host::connect(instant now, const endpoint& remote, const endpoint& local,
                                const tcp_options& options) {
  return impl_->connect(now, remote, local, options);
}

result<std::size_t> host::send(instant now, socket_id id,
                               std::span<const std::span<const std::byte>> parts, bool more) {
  auto* s = impl_->flows_.find(id);
  if (s == nullptr) return bad_id();
  auto ctx = impl_->core_.context(now);
  auto out = s->connection.send(ctx, parts, more);
  impl_->flows_.settle(index_of(id), now);
  return out;
}

result<std::size_t> host::receive(instant now, socket_id id, std::span<std::byte> into) {
  auto* s = impl_->flows_.find(id);
  if (s == nullptr) return bad_id();
  auto ctx = impl_->core_.context(now);
  return s->connection.receive(ctx, into);
}

std::span<const std::byte> host::peek(socket_id id) const {
  impl_->core_.pool.fill();
  return peek_held(id);
}

std::span<const std::byte> host::peek_held(socket_id id) const {
  auto* s = impl_->flows_.find(id);
  return s == nullptr ? std::span<const std::byte>{} : s->connection.peek();
}

void host::consume(instant now, socket_id id, std::size_t n) {
  auto* s = impl_->flows_.find(id);
  if (s == nullptr) return;
  auto ctx = impl_->core_.context(now);
  s->connection.consume(ctx, n);
}

result<lent_chunk> host::lend(instant now, socket_id id) { return impl_->lend(now, id); }
result<lent_chunk> host::keep(std::span<const std::byte> bytes,
                              void (*give_back)(void* context) noexcept, void* context) {
  return impl_->keep(bytes, give_back, context);
}
result<std::size_t> host::send_lent(instant now, socket_id id, const lent_chunk& from,
                                    std::span<const std::byte> bytes, bool more) {
  return impl_->send_lent(now, id, from, bytes, more);
}
void host::release(instant now, const lent_chunk& lent) { impl_->release(now, lent); }
std::size_t host::lent_chunks() const { return impl_->lent_; }

bool host::at_end(socket_id id) const {
  auto* s = impl_->flows_.find(id);
  return s != nullptr && s->connection.at_end();
}

bool host::peer_ended(socket_id id) const {
  auto* s = impl_->flows_.find(id);
  return s != nullptr && s->connection.peer_ended();
}

std::error_code host::error(socket_id id) const {
  auto* s = impl_->flows_.find(id);
  if (s != nullptr) return s->connection.error();
  return impl_->opens_.find(id) != nullptr ? std::error_code{} : bad_id();
}

std::error_code host::soft_error(socket_id id) const {
  auto* s = impl_->flows_.find(id);
  return s == nullptr ? bad_id() : s->connection.soft_error();
}

std::error_code host::shutdown_send(instant now, socket_id id) {
  auto* s = impl_->flows_.find(id);
  if (s == nullptr) return bad_id();
  auto ctx = impl_->core_.context(now);
  const auto out = s->connection.shutdown_send(ctx);
  impl_->flows_.settle(index_of(id), now);
  return out;
}

std::error_code host::shutdown_receive(instant now, socket_id id) {
  auto* s = impl_->flows_.find(id);
  if (s == nullptr) return bad_id();
  auto ctx = impl_->core_.context(now);
  const auto out = s->connection.shutdown_receive(ctx);
  impl_->flows_.settle(index_of(id), now);
  return out;
}

void host::close(instant now, socket_id id) { impl_->close(now, id); }
void host::abort(instant now, socket_id id) { impl_->abort(now, id); }
void host::reset_unfinished(instant now) { impl_->reset_unfinished(now); }
void host::set_user(socket_id id, void* user) { impl_->set_user(id, user); }

std::error_code host::set_options(instant now, socket_id id, const tcp_options& options) {
  auto* s = impl_->flows_.find(id);
  if (s == nullptr) return bad_id();
  auto ctx = impl_->core_.context(now);
  s->connection.set_options(ctx, tcp::options_ref(options));
  impl_->flows_.settle(index_of(id), now);
  return {};
}

result<tcp_options> host::get_options(socket_id id) const {
  auto* s = impl_->flows_.find(id);
  if (s == nullptr) return bad_id();
  return *s->connection.options();
}

std::error_code host::set_cork(instant now, socket_id id, bool corked) {
  auto* s = impl_->flows_.find(id);
  if (s == nullptr) return bad_id();
  auto ctx = impl_->core_.context(now);
  s->connection.set_cork(ctx, corked);
  impl_->flows_.settle(index_of(id), now);
  return {};
}

result<socket_id> host::udp_bind(const endpoint& local, const udp_options& options) {
  return impl_->datagrams_.bind(local, options);
}
result<socket_id> host::udp_connect(const endpoint& remote, const endpoint& local,
                                    const udp_options& options) {
  return impl_->datagrams_.connect(remote, local, options);
}
std::error_code host::udp_connect(socket_id id, const endpoint& remote) {
  return impl_->datagrams_.connect(id, remote);
}
result<std::size_t> host::udp_send(instant now, socket_id id, const endpoint* to,
                                   std::span<const std::span<const std::byte>> payload,
                                   const udp_header_choice& header) {
  return impl_->datagrams_.send(now, id, to, payload, header);
}
result<received_datagram> host::udp_receive(socket_id id, std::span<std::byte> into) {
  return impl_->datagrams_.receive(id, into);
}
result<lent_datagram> host::udp_lend(socket_id id) { return impl_->datagrams_.lend(id); }
void host::udp_give_back(socket_id id, std::uint32_t token) {
  impl_->datagrams_.give_back(id, token);
}
result<socket_id> host::udp_bind_any(const any_destination& where,
                                     const udp_flow_options& options) {
  return impl_->datagrams_.bind_any(where, options);
}
result<socket_id> host::udp_accept(socket_id any) { return impl_->datagrams_.accept(any); }
void host::udp_refuse(instant now, socket_id id, refusal how) {
  impl_->datagrams_.refuse(now, id, how);
}
void host::udp_tell_too_long(instant now, socket_id id, std::uint16_t mtu) {
  impl_->datagrams_.tell_too_long(now, id, mtu);
}
result<udp_info> host::info_udp(socket_id id) const {
  auto* s = impl_->datagrams_.find(id);
  if (s == nullptr) return std::errc::bad_file_descriptor;
  return s->info();
}

endpoint host::local_endpoint(socket_id id) const { return impl_->local_endpoint(id); }

endpoint host::remote_endpoint(socket_id id) const {
  if (auto* u = impl_->datagrams_.find(id)) return u->remote;
  if (auto* e = impl_->opens_.find_request(id)) return e->flow.remote;
  auto* s = impl_->flows_.find(id);
  return s == nullptr ? endpoint{} : s->connection.flow().remote;
}

result<tcp_info> host::info(socket_id id) const {
  auto* s = impl_->flows_.find(id);
  if (s == nullptr) return bad_id();
  return s->connection.info();
}

result<listener_info> host::info_listener(socket_id id) const {
  auto* l = impl_->opens_.find(id);
  if (l == nullptr) return bad_id();
  return impl_->info_of(*l);
}

void host::for_each_listener(const std::function<void(const listener_info&)>& visit) const {
  auto& all = impl_->opens_;
  for (std::uint32_t i = 0; i < all.capacity(); ++i)
    if (all.live(i)) visit(impl_->info_of(all[i]));
}

void host::for_each_connection(const std::function<void(const tcp_info&)>& visit) const {
  const auto& all = impl_->flows_;
  for (std::uint32_t i = 0; i < all.capacity(); ++i)
    if (all.live(i)) visit(all[i].connection.info());
}

std::size_t host::visit_connections(
    std::size_t most, const std::function<void(const tcp_info&, void* user)>& visit) const {
  const auto& all = impl_->flows_;
  for (std::uint32_t i = 0; most > 0 && i < all.capacity(); ++i) {
    if (!all.live(i)) continue;
    visit(all[i].connection.info(), all[i].owned ? all[i].user : nullptr);
    --most;
  }
  return all.size();
}

std::size_t host::half_open_entries() const { return impl_->flows_.handshakes(); }
std::size_t host::time_wait_entries() const { return impl_->flows_.time_wait_entries(); }

const host_counters& host::counters() const { return impl_->core_.counters; }
void host::watch(host_watcher* watcher) { impl_->core_.counters.set_watcher(watcher); }
const host_options& host::options() const { return impl_->core_.options; }
std::uint64_t host::memory_in_use() const { return impl_->memory_in_use(); }

}  // namespace weir::stack
