// The users' calls on sockets that take more than one part of the host: listen, accept, connect,
// lend, close.
#include <algorithm>
#include <cassert>

#include "stack/host/impl.hpp"

namespace weir::stack {

result<socket_id> host::impl::listen(const endpoint& local, const listen_options& options) {
  const bool wildcard = local.address.is_unspecified();
  if (wildcard && !options.allow_wildcard) return std::errc::permission_denied;
  if (!wildcard && !core_.ip.is_local(local.address)) return std::errc::address_not_available;
  if (opens_.size() >= core_.options.limits.listeners) return std::errc::not_enough_memory;
  auto at = local;
  if (at.port == 0) {
    const auto port = ports_.choose(at.address, {}, [&](std::uint16_t p) {
      const endpoint there{at.address, p};
      return link_.shares() ? !link_.taken(there) : !opens_.conflicts(there, {});
    });
    if (!port) return std::errc::address_in_use;
    at.port = *port;
  }
  if (link_.shares() && options.ask) return std::errc::operation_not_supported;
  if (link_.shares()) {
    if (auto error = link_.join(at, options)) return error;
  } else if (opens_.conflicts(at, options)) {
    return std::errc::address_in_use;
  }
  const auto index = opens_.add(at, options);
  if (link_.shares()) link_.joined(index);
  return opens_.id_of(index);
}

result<socket_id> host::impl::listen_any(const any_destination& where,
                                         const listen_options& options) {
  if (link_.shares()) return std::errc::operation_not_supported;
  if (where.ports.first == 0 || where.ports.first > where.ports.last)
    return std::errc::invalid_argument;
  if (opens_.conflicts(where)) return std::errc::address_in_use;
  const auto& limits = core_.options.limits;
  if (opens_.size() >= limits.listeners || opens_.any_size() >= limits.any_listeners ||
      !core_.ip.take_also(where.network))
    return std::errc::not_enough_memory;
  return opens_.id_of(opens_.add(where, options));
}

result<socket_id> host::impl::next_request(socket_id id) {
  const auto* l = opens_.find(id);
  if (l == nullptr) return std::errc::bad_file_descriptor;
  if (!l->options.ask) return std::errc::invalid_argument;
  const auto request = opens_.next_request(index_of(id));
  if (request == socket_id::none) return std::errc::operation_would_block;
  return request;
}

std::error_code host::impl::accept_request(instant now, socket_id id) {
  const auto* e = opens_.find_request(id);
  if (e == nullptr) return std::make_error_code(std::errc::connection_aborted);
  if (e->request != request_state::told) return std::make_error_code(std::errc::invalid_argument);
  opens_.accept_request(now, id);
  return {};
}

void host::impl::close_listener(instant now, std::uint32_t index) {
  if (link_.shares()) link_.leave(now, index);
  opens_.close(now, index);
}

listener_info host::impl::info_of(const listener& l) {
  auto out = l.info();
  out.members = link_.members(l.local);
  return out;
}

result<socket_id> host::impl::accept(instant now, socket_id id) {
  auto* l = opens_.find(id);
  if (l == nullptr) return std::errc::bad_file_descriptor;
  if (l->accept_head == listener::none || !link_.may_accept(*l))
    return std::errc::operation_would_block;
  if (l->shared) link_.note_accepted(*l);
  const auto index = opens_.accept(now, index_of(id));
  auto& s = flows_[index];
  s.owned = true;
  s.user = nullptr;
  if (const auto now_ready = s.connection.readiness(); now_ready != ready::none)
    flows_.post(index, now_ready);
  return flows_.id_of(index);
}

void host::impl::accept_wanted(instant now, socket_id id) {
  if (opens_.find(id) != nullptr) link_.accept_wanted(now, index_of(id));
}

void host::impl::accept_unwanted(instant now, socket_id id) {
  if (opens_.find(id) != nullptr) link_.accept_unwanted(now, index_of(id));
}

/// Where a connection to `remote` comes from: its address, and a port that nobody has.
result<flow_key> host::impl::choose_flow(const endpoint& remote, const endpoint& local) {
  flow_key flow{local, remote};
  if (local.address.is_unspecified()) {
    const auto source = core_.ip.source_for(remote.address);
    if (!source) return std::errc::network_unreachable;
    flow.local.address = *source;
  } else if (local.address.family() != remote.address.family()) {
    return std::errc::invalid_argument;
  } else if (!core_.ip.is_local(local.address)) {
    return std::errc::address_not_available;
  }
  if (flows_.full()) {
    core_.counters.add(counter::connections_refused_limit);
    return std::errc::not_enough_memory;
  }
  const auto taken = [&](const flow_key& wanted) {
    return flows_.find(wanted) || link_.has(wanted);
  };
  if (flow.local.port != 0) {
    if (taken(flow)) return std::errc::address_in_use;
    return flow;
  }
  // Shards that share a device choose among different ports: those of the flows that are theirs.
  const auto free = [&](const flow_key& wanted) {
    if (!link_.shares()) return opens_.match_specific(wanted.local) == passive_opens::none;
    return link_.at_home(wanted) && !link_.listens(wanted.local);
  };
  const auto port = ports_.choose(flow.local.address, remote, [&](std::uint16_t p) {
    const flow_key wanted{{flow.local.address, p}, remote};
    return free(wanted) && !taken(wanted);
  });
  if (!port) return std::errc::address_in_use;
  flow.local.port = *port;
  return flow;
}

result<socket_id> host::impl::connect(instant now, const endpoint& remote, const endpoint& local,
                                      const tcp_options& options) {
  // RFC 9293 MUST-46.
  if (remote.port == 0 || remote.address.is_unspecified() || !core_.ip.is_unicast(remote.address))
    return std::errc::invalid_argument;
  const auto flow = choose_flow(remote, local);
  if (!flow) return flow.error();
  // Found taken only now: another shard connects from there at this very moment.
  if (const auto owner = claims_.claim(*flow, true);
      owner != link_.shard() && owner != share::flow_claims::nobody)
    return std::errc::address_in_use;
  const auto index = flows_.add(*flow, tcp::options_ref(options));
  auto& s = flows_[index];
  s.owned = true;
  core_.counters.add(counter::active_opens);
  auto ctx = core_.context(now);
  s.connection.open_active(ctx, core_.isn.next(now, *flow), core_.isn.timestamp_offset(*flow),
                           core_.ip.path_mtu(now, remote.address));
  flows_.settle(index, now);
  return flows_.id_of(index);
}

namespace {

/// In lent_chunk::token, where no window waits for its release.
constexpr std::uint32_t kept = 0xffffffff;
/// What may be kept at once; larger memory is copied.
constexpr std::size_t most_kept = 1u << 30;

}  // namespace

result<lent_chunk> host::impl::lend(instant now, socket_id id) {
  auto* s = flows_.find(id);
  if (s == nullptr) return std::errc::bad_file_descriptor;
  core_.pool.fill();
  const auto bytes = s->connection.peek();
  auto ctx = core_.context(now);
  const auto chunk = s->connection.lend(ctx);
  if (!chunk) return chunk.error();
  if (*chunk == nullptr) return lent_chunk{};
  ++lent_;
  (*chunk)->end = flows_.generation(index_of(id));
  return lent_chunk{bytes.data(), static_cast<std::uint32_t>(bytes.size()), index_of(id), *chunk};
}

result<lent_chunk> host::impl::keep(std::span<const std::byte> bytes,
                                    void (*when_done)(void*) noexcept, void* context) {
  if (bytes.empty()) return std::errc::invalid_argument;
  if (bytes.size() > std::min<std::uint64_t>(most_kept, core_.pool.account().share()))
    return std::errc::not_enough_memory;
  auto* chunk = core_.pool.take_foreign(bytes.size(), when_done, context);
  if (chunk == nullptr) return std::errc::not_enough_memory;
  ++lent_;
  return lent_chunk{bytes.data(), static_cast<std::uint32_t>(bytes.size()), kept, chunk};
}

result<std::size_t> host::impl::send_lent(instant now, socket_id id, const lent_chunk& from,
                                          std::span<const std::byte> bytes, bool more) {
  auto* s = flows_.find(id);
  if (s == nullptr) return std::errc::bad_file_descriptor;
  assert(bytes.empty() ||
         (bytes.data() >= from.data && bytes.data() + bytes.size() <= from.data + from.size));
  auto ctx = core_.context(now);
  auto out = s->connection.send_kept(ctx, *static_cast<buffer::chunk*>(from.chunk), bytes,
                                     from.size, more);
  flows_.settle(index_of(id), now);
  return out;
}

void host::impl::release(instant now, const lent_chunk& lent) {
  if (lent.size == 0) return;
  --lent_;
  auto* chunk = static_cast<buffer::chunk*>(lent.chunk);
  auto* s = lent.token == kept ? nullptr : flows_.find(lent.token, chunk->end);
  if (s == nullptr || !s->owned) return (void)core_.pool.let_go(chunk);
  auto ctx = core_.context(now);
  s->connection.take_back(ctx, chunk, lent.size);
}

void host::impl::close(instant now, socket_id id) {
  if (is_request(id)) return opens_.refuse_request(now, id, refusal::reset);
  if (opens_.find(id) != nullptr) return close_listener(now, index_of(id));
  if (datagrams_.find(id) != nullptr) return datagrams_.close(id);
  if (flows_.find(id) != nullptr) flows_.close(now, index_of(id));
}

void host::impl::abort(instant now, socket_id id) {
  if (is_request(id)) return opens_.refuse_request(now, id, refusal::reset);
  if (opens_.find(id) != nullptr) return close_listener(now, index_of(id));
  if (datagrams_.find(id) != nullptr) return datagrams_.close(id);
  if (flows_.find(id) != nullptr) flows_.abort(now, index_of(id));
}

void host::impl::reset_unfinished(instant now) {
  for (std::uint32_t i = 0; i < flows_.capacity(); ++i)
    if (flows_.live(i) && flows_[i].connection.state() != tcp_state::fin_wait_2)
      flows_.abort(now, i);
  flush(now);
}

void host::impl::set_user(socket_id id, void* user) {
  if (auto* s = flows_.find(id))
    s->user = user;
  else if (auto* l = opens_.find(id))
    l->user = user;
  else if (auto* e = opens_.find_request(id))
    e->user = user;
  else if (auto* u = datagrams_.find(id))
    u->user = user;
}

endpoint host::impl::local_endpoint(socket_id id) {
  if (auto* s = flows_.find(id)) return s->connection.flow().local;
  if (auto* l = opens_.find(id)) return l->local;
  if (auto* e = opens_.find_request(id)) return e->flow.local;
  if (auto* u = datagrams_.find(id)) return u->local;
  return {};
}

}  // namespace weir::stack
