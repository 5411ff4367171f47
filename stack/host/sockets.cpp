// The users' calls on sockets: listen, accept, connect, close, and how ids find their objects. See
// host/impl.hpp.
#include <algorithm>
#include <cassert>

#include "host/impl.hpp"

namespace weir::stack {

listener* host::impl::find_listener(socket_id id) {
  const auto raw = static_cast<std::uint64_t>(id);
  if ((raw & listener_bit) == 0) return nullptr;
  return listeners_.all().find(index_of(id), static_cast<std::uint32_t>(raw >> 32));
}

result<socket_id> host::impl::listen(const endpoint& local, const listen_options& options) {
  const bool wildcard = local.address.is_unspecified();
  if (wildcard && !options.allow_wildcard) return std::errc::permission_denied;
  if (!wildcard && !ip_.is_local(local.address)) return std::errc::address_not_available;
  if (listeners_.size() >= options_.limits.listeners) return std::errc::not_enough_memory;
  auto at = local;
  if (at.port == 0) {
    const auto port = ports_.choose(at.address, {}, [&](std::uint16_t p) {
      const endpoint there{at.address, p};
      return share_ == nullptr ? !listeners_.conflicts(there, {}) : !share_->taken(there);
    });
    if (!port) return std::errc::address_in_use;
    at.port = *port;
  }
  if (share_ == nullptr) {
    if (listeners_.conflicts(at, options)) return std::errc::address_in_use;
    return listener_id(add_listener(at, options));
  }
  if (auto error = join_group(at, options)) return error;
  const auto index = add_listener(at, options);
  auto& l = listeners_[index];
  l.group = view().find(at)->of;
  if (options.sharing == sharing_mode::shared) l.shared = std::make_unique<shared_queue>();
  return listener_id(index);
}

std::uint32_t host::impl::add_listener(const endpoint& at, const listen_options& options) {
  const auto index = listeners_.add(at, options);
  listeners_[index].tcp = options.tcp ? tcp::options_ref(*options.tcp) : accepted_options_;
  return index;
}

result<socket_id> host::impl::accept(instant now, socket_id id) {
  auto* l = find_listener(id);
  if (l == nullptr) return std::errc::bad_file_descriptor;
  if (l->accept_head == none || !may_accept(*l)) return std::errc::operation_would_block;
  if (l->shared) note_accepted(*l);
  ++l->accepted;
  const auto index = take_accepted(index_of(id));
  auto& s = sockets_[index];
  auto waited = s.queued.since.since(now);
  // Shards read their clocks apart: who took over a connection may be behind who queued it.
  if (waited > std::chrono::hours(24)) waited = duration{};
  l->accept_wait += waited;
  l->accept_wait_longest = std::max(l->accept_wait_longest, waited);
  s.owned = true;
  s.user = nullptr;
  if (const auto now_ready = s.connection.readiness(); now_ready != ready::none)
    post(index, now_ready);
  return id_of(index);
}

result<socket_id> host::impl::connect(instant now, const endpoint& remote, const endpoint& local,
                                      const tcp_options& options) {
  // RFC 9293 MUST-46.
  if (remote.port == 0 || remote.address.is_unspecified() || !ip_.is_unicast(remote.address)) {
    return std::errc::invalid_argument;
  }
  flow_key flow{local, remote};
  if (local.address.is_unspecified()) {
    const auto source = ip_.source_for(remote.address);
    if (!source) return std::errc::network_unreachable;
    flow.local.address = *source;
  } else if (local.address.family() != remote.address.family()) {
    return std::errc::invalid_argument;
  } else if (!ip_.is_local(local.address)) {
    return std::errc::address_not_available;
  }
  if (sockets_.size() >= options_.limits.connections) {
    counters_.add(counter::connections_refused_limit);
    return std::errc::not_enough_memory;
  }
  const auto taken = [&](std::uint16_t port) {
    const flow_key wanted{{flow.local.address, port}, remote};
    return find_flow(wanted) ||
           (share_ != nullptr &&
            share_->directory().find(share_->hash(wanted)) != share::flow_directory::none);
  };
  // Shards that share a device choose among different ports: those of the flows that are theirs.
  const auto free = [&](std::uint16_t p) {
    const endpoint own{flow.local.address, p};
    if (share_ == nullptr) return listeners_.match(own) == listener_table::none;
    return share_->home(share_->hash({own, remote})) == shard_ && view().match(own) == nullptr;
  };
  if (flow.local.port != 0) {
    if (taken(flow.local.port)) return std::errc::address_in_use;
  } else {
    const auto port = ports_.choose(flow.local.address, remote,
                                    [&](std::uint16_t p) { return free(p) && !taken(p); });
    if (!port) return std::errc::address_in_use;
    flow.local.port = *port;
  }
  // Found taken only now: another shard connects from there at this very moment.
  if (const auto owner = claim_flow(flow, true);
      owner != shard_ && owner != share::flow_directory::none)
    return std::errc::address_in_use;
  const auto index = sockets_.emplace(flow, tcp::options_ref(options));
  auto& s = sockets_[index];
  s.timer.index = index;
  s.owned = s.attached = true;
  flows_.insert(flow, {flow_ref::kind::connection, index});
  counters_.add(counter::active_opens);
  auto ctx = context(now);
  s.connection.open_active(ctx, isn_.next(now, flow), isn_.timestamp_offset(flow),
                           ip_.path_mtu(now, remote.address));
  settle(index, now);
  return id_of(index);
}

namespace {

/// In lent_chunk::token, where no window waits for its release.
constexpr std::uint32_t kept = 0xffffffff;
/// What may be kept at once; larger memory is copied.
constexpr std::size_t most_kept = 1u << 30;

}  // namespace

result<lent_chunk> host::impl::lend(instant now, socket_id id) {
  auto* s = find(id);
  if (s == nullptr) return std::errc::bad_file_descriptor;
  const auto bytes = s->connection.peek();
  auto ctx = context(now);
  const auto chunk = s->connection.lend(ctx);
  if (!chunk) return chunk.error();
  if (*chunk == nullptr) return lent_chunk{};
  ++lent_;
  (*chunk)->end = sockets_.generation(index_of(id));
  return lent_chunk{bytes.data(), static_cast<std::uint32_t>(bytes.size()), index_of(id), *chunk};
}

result<lent_chunk> host::impl::keep(std::span<const std::byte> bytes,
                                    void (*when_done)(void*) noexcept, void* context) {
  if (bytes.empty()) return std::errc::invalid_argument;
  if (bytes.size() > std::min<std::uint64_t>(most_kept, pool_.account().share()))
    return std::errc::not_enough_memory;
  auto* chunk = pool_.take_foreign(bytes.size(), when_done, context);
  if (chunk == nullptr) return std::errc::not_enough_memory;
  ++lent_;
  return lent_chunk{bytes.data(), static_cast<std::uint32_t>(bytes.size()), kept, chunk};
}

result<std::size_t> host::impl::send_lent(instant now, socket_id id, const lent_chunk& from,
                                          std::span<const std::byte> bytes, bool more) {
  auto* s = find(id);
  if (s == nullptr) return std::errc::bad_file_descriptor;
  assert(bytes.empty() ||
         (bytes.data() >= from.data && bytes.data() + bytes.size() <= from.data + from.size));
  auto ctx = context(now);
  auto out = s->connection.send_kept(ctx, *static_cast<buffer::chunk*>(from.chunk), bytes,
                                     from.size, more);
  settle(index_of(id), now);
  return out;
}

void host::impl::release(instant now, const lent_chunk& lent) {
  if (lent.size == 0) return;
  --lent_;
  auto* chunk = static_cast<buffer::chunk*>(lent.chunk);
  auto* s = lent.token == kept ? nullptr : sockets_.find(lent.token, chunk->end);
  if (s == nullptr || !s->owned) return (void)pool_.let_go(chunk);
  auto ctx = context(now);
  s->connection.take_back(ctx, chunk, lent.size);
}

void host::impl::close(instant now, socket_id id) {
  if (find_listener(id) != nullptr) {
    close_listener(now, index_of(id));
    return;
  }
  if (find_udp(id) != nullptr) return udp_close(id);
  auto* s = find(id);
  if (s == nullptr) return;
  s->owned = false;
  s->pending = ready::none;
  s->connection.disown();
  add_orphan(index_of(id));
  auto ctx = context(now);
  s->connection.close(ctx);
  settle(index_of(id), now);
  if (orphans_ > options_.limits.orphans) {
    counters_.add(counter::orphans_over_limit);
    reset_orphan(now, oldest_orphan_);
  }
}

void host::impl::abort(instant now, socket_id id) {
  if (find_listener(id) != nullptr) {
    close_listener(now, index_of(id));
    return;
  }
  if (find_udp(id) != nullptr) return udp_close(id);
  if (find(id) != nullptr) abort_connection(now, index_of(id));
}

void host::impl::abort_connection(instant now, std::uint32_t index) {
  auto& s = sockets_[index];
  s.owned = false;
  s.pending = ready::none;
  s.connection.disown();
  auto ctx = context(now);
  s.connection.abort(ctx);
  settle(index, now);
}

void host::impl::reset_unfinished(instant now) {
  for (std::uint32_t i = 0; i < sockets_.capacity(); ++i)
    if (sockets_.live(i) && sockets_[i].connection.state() != tcp_state::fin_wait_2)
      abort_connection(now, i);
  flush(now);
}

void host::impl::set_user(socket_id id, void* user) {
  if (auto* s = find(id))
    s->user = user;
  else if (auto* l = find_listener(id))
    l->user = user;
  else if (auto* u = find_udp(id))
    u->user = user;
}

endpoint host::impl::local_endpoint(socket_id id) {
  if (auto* s = find(id)) return s->connection.flow().local;
  if (auto* l = find_listener(id)) return l->local;
  if (auto* u = find_udp(id)) return u->local;
  return {};
}

}  // namespace weir::stack
