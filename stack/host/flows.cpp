// How connections are found, how they begin and how they end. See time_wait.cpp for what is left of
// them.
#include "stack/host/flows.hpp"

#include <algorithm>

#include "stack/listen/read_flow.hpp"

namespace weir::stack {
namespace {

/// So many sockets are in the core's caches, more or less.
constexpr std::size_t hot_connections = 1024;

/// Asks for all of a socket's cache lines at once, instead of waiting for one after the other where
/// a segment's way through the connection touches them. Always inlined, see hash_index::fetch().
[[gnu::always_inline]] inline void fetch(const tcp_socket& s) {
  constexpr std::size_t cache_line = 64;
  const auto* at = reinterpret_cast<const std::byte*>(&s);
  for (std::size_t i = 0; i < sizeof s; i += cache_line) __builtin_prefetch(at + i, 1);
}

}  // namespace

flows::flows(host_core& core, event_queue& events, share::flow_claims& claims)
    : core_(core), events_(events), claims_(claims), table_(derive_key(core.options.secret, 2)) {}

flows::~flows() {
  for (std::uint32_t i = 0; i < sockets_.capacity(); ++i)
    if (sockets_.live(i)) sockets_[i].connection.release(core_.pool);
}

// --- Finding.

const flow_key& flows::key_of(flow_ref ref) const {
  switch (ref.what()) {
    case flow_ref::kind::half_open: return half_open_[ref.index()].flow;
    case flow_ref::kind::time_wait: return time_wait_[ref.index()].flow;
    default: return sockets_[ref.index()].connection.flow();
  }
}

flow_ref flows::find(const flow_key& flow) const {
  const bool cold = sockets_.size() > hot_connections;
  return table_.find(flow, [this, cold](flow_ref ref) -> const flow_key& {
    if (cold && ref.what() == flow_ref::kind::connection) fetch(sockets_[ref.index()]);
    return key_of(ref);
  });
}

bool flows::is_of(std::uint32_t socket, const flow_key& flow) const {
  return sockets_.live(socket) && sockets_[socket].attached &&
         sockets_[socket].connection.flow() == flow;
}

// Segments are announced, or come in trains: where this one's flow is the next of those, or that of
// the one before, no hash is needed. Of those that were announced one may not have come this far.
flow_ref flows::find_next(const flow_key& flow) {
  const auto end = std::min(announced_next_ + 2, +announced_count_);
  for (int i = announced_next_; i < end; ++i) {
    const auto socket = announced_[static_cast<std::size_t>(i)];
    if (!is_of(socket, flow)) continue;
    announced_next_ = static_cast<std::uint8_t>(i + 1);
    last_found_ = socket;
    return {flow_ref::kind::connection, socket};
  }
  if (is_of(last_found_, flow)) return {flow_ref::kind::connection, last_found_};
  const auto found = find(flow);
  if (found.what() == flow_ref::kind::connection) last_found_ = found.index();
  return found;
}

// Two misses stand before a segment of a cold flow: the slot of the table, and the connection that
// it names. Each is asked for for all packets before the first is waited for.
void flows::expect(std::span<const std::span<const std::byte>> packets) noexcept {
  announced_count_ = announced_next_ = 0;
  if (sockets_.size() <= hot_connections) return;
  std::array<std::uint64_t, most_announced> hashes;
  std::size_t count = 0;
  for (auto packet : packets.first(std::min(packets.size(), most_announced))) {
    flow_key flow;
    if (!read_flow(packet, flow)) continue;
    hashes[count] = table_.hash(flow);
    table_.fetch(hashes[count++]);
  }
  for (auto hash : std::span(hashes).first(count)) {
    const auto ref = table_.likely(hash);
    if (ref.what() != flow_ref::kind::connection) continue;
    fetch(sockets_[ref.index()]);
    announced_[announced_count_++] = ref.index();
  }
}

std::uint64_t flows::memory_in_use() const {
  return half_open_.size() * sizeof(half_open) + time_wait_.size() * sizeof(tcp::time_wait_entry);
}

void flows::forget_all() {
  for (std::uint32_t i = 0; i < sockets_.capacity(); ++i)
    if (sockets_.live(i) && sockets_[i].attached) claims_.forget(sockets_[i].connection.flow());
  for (std::uint32_t i = 0; i < time_wait_.capacity(); ++i)
    if (time_wait_.live(i)) claims_.forget(time_wait_[i].flow);
  for (std::uint32_t i = 0; i < half_open_.capacity(); ++i)
    if (half_open_.live(i)) claims_.forget(half_open_[i].flow);
}

// --- Connections.

std::uint32_t flows::add(const flow_key& flow, tcp::options_ref options) {
  const auto index = sockets_.emplace(flow, std::move(options));
  auto& s = sockets_[index];
  s.timer.index = index;
  s.attached = true;
  table_.insert(flow, {flow_ref::kind::connection, index});
  return index;
}

std::uint32_t flows::adopt(tcp::connection&& moved, bool attached) {
  const auto index = sockets_.emplace(std::move(moved));
  auto& s = sockets_[index];
  s.timer.index = index;
  s.attached = attached;
  if (attached) table_.insert(s.connection.flow(), {flow_ref::kind::connection, index});
  return index;
}

tcp::connection flows::take_out(std::uint32_t index) {
  auto& s = sockets_[index];
  auto moved = std::move(s.connection);
  if (s.attached) table_.erase(moved.flow(), {flow_ref::kind::connection, index});
  core_.wheel.disarm(s.timer);
  core_.pool.account().release(moved.charged());
  sockets_.erase(index);
  return moved;
}

void flows::settle(std::uint32_t index, instant now) {
  auto& s = sockets_[index];
  if (const auto events = s.connection.take_events(); events != ready::none) post(index, events);
  if (const auto mtu = s.connection.take_path_news(); mtu != 0)
    core_.ip.set_path_mtu(now, s.connection.flow().remote.address, mtu);
  const auto state = s.connection.state();
  if (s.attached && state == tcp_state::time_wait)
    enter_time_wait(index, now);
  else if (s.attached && state == tcp_state::closed)
    detach(index);
  if (!s.attached && s.connection.orphaned()) return free(index, now);
  if (s.attached) core_.wheel.arm_by(s.timer, s.connection.deadline());
}

void flows::detach(std::uint32_t index) {
  auto& s = sockets_[index];
  table_.erase(s.connection.flow(), {flow_ref::kind::connection, index});
  claims_.forget(s.connection.flow());
  s.attached = false;
  core_.wheel.disarm(s.timer);
}

void flows::free(std::uint32_t index, instant now) {
  auto ctx = core_.context(now);
  if (sockets_[index].orphan) remove_orphan(index);
  sockets_[index].connection.release(ctx);
  core_.wheel.disarm(sockets_[index].timer);
  sockets_.erase(index);
}

void flows::want_flush(std::uint32_t index) {
  auto& s = sockets_[index];
  if (s.in_flush) return;
  s.in_flush = true;
  flush_.push_back(index);
}

void flows::flush(instant now) {
  auto ctx = core_.context(now);
  flushing_.swap(flush_);
  for (const auto index : flushing_) {
    if (!sockets_.live(index)) continue;
    auto& s = sockets_[index];
    if (!s.in_flush) continue;
    s.in_flush = false;
    s.connection.output(ctx);
    settle(index, now);
  }
  flushing_.clear();
}

void flows::on_timer(instant now, std::uint32_t index) {
  auto& c = sockets_[index].connection;
  auto ctx = core_.context(now);
  if (c.deadline() <= now) {
    c.on_timer(ctx);
    if (c.wants_output()) c.output(ctx);
  }
  settle(index, now);
}

void flows::close(instant now, std::uint32_t index) {
  auto& s = sockets_[index];
  s.owned = false;
  s.pending = ready::none;
  s.connection.disown();
  add_orphan(index);
  auto ctx = core_.context(now);
  s.connection.close(ctx);
  settle(index, now);
  if (orphans_ <= core_.options.limits.orphans) return;
  core_.counters.add(counter::orphans_over_limit);
  reset(now, oldest_orphan_);
}

void flows::abort(instant now, std::uint32_t index) {
  auto& s = sockets_[index];
  s.owned = false;
  s.pending = ready::none;
  s.connection.disown();
  auto ctx = core_.context(now);
  s.connection.abort(ctx);
  settle(index, now);
}

void flows::give_up(instant now, std::uint32_t index) {
  auto ctx = core_.context(now);
  sockets_[index].connection.give_up(ctx, std::errc::no_buffer_space);
  settle(index, now);
}

// --- Orphans.

void flows::add_orphan(std::uint32_t index) {
  auto& s = sockets_[index];
  s.orphan = true;
  s.closed = {youngest_orphan_, none};
  (youngest_orphan_ == none ? oldest_orphan_ : sockets_[youngest_orphan_].closed.younger) = index;
  youngest_orphan_ = index;
  ++orphans_;
}

void flows::remove_orphan(std::uint32_t index) {
  const auto [older, younger] = sockets_[index].closed;
  (older == none ? oldest_orphan_ : sockets_[older].closed.younger) = younger;
  (younger == none ? youngest_orphan_ : sockets_[younger].closed.older) = older;
  sockets_[index].orphan = false;
  --orphans_;
}

void flows::reset(instant now, std::uint32_t index) {
  auto ctx = core_.context(now);
  sockets_[index].connection.abort(ctx);
  settle(index, now);
}

// --- Handshakes.

std::uint32_t flows::add(const half_open& entry) {
  const auto index = half_open_.emplace(entry);
  auto& e = half_open_[index];
  e.timer.index = index;
  e.timer.owner = tcp::timer_owner::half_open;
  table_.insert(e.flow, {flow_ref::kind::half_open, index});
  return index;
}

void flows::erase_handshake(std::uint32_t index) {
  auto& e = half_open_[index];
  core_.wheel.disarm(e.timer);
  table_.erase(e.flow, {flow_ref::kind::half_open, index});
  half_open_.erase(index);
}

}  // namespace weir::stack
