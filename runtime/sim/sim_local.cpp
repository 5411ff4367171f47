// See sim_local.hpp. An end's received bytes lie in one piece; what readers left moves to the front
// when room runs out.
#include "runtime/sim/sim_local.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "stack/base/parts.hpp"

namespace weir::detail {

struct sim_local::end final : lending_socket, stack::list_link<> {
  unix_endpoint local, remote;
  end* peer = nullptr;  // null once it has gone
  std::unique_ptr<std::byte[]> memory = std::make_unique<std::byte[]>(queue_size);

  std::size_t room() const { return queue_size - rx_size; }
  void append(std::span<const std::byte> bytes) {
    const auto* begin = memory.get();
    if (rx_size == 0) rx_data = begin;
    if (static_cast<std::size_t>(rx_data - begin) + rx_size + bytes.size() > queue_size) {
      std::memmove(memory.get(), rx_data, rx_size);
      rx_data = begin;
    }
    std::memcpy(memory.get() + (rx_data - begin) + rx_size, bytes.data(), bytes.size());
    rx_size += static_cast<std::uint32_t>(bytes.size());
  }
};

struct sim_local::listening final : listener_socket {
  unix_endpoint name;
  std::size_t backlog = 0;
  std::deque<end*> queue;                                // connected, and accepted by nobody
  stack::intrusive_queue<unix_connect_operation> waits;  // for room in it
};

sim_local::sim_local(const config& settings) : settings_(settings) {}

sim_local::~sim_local() {
  while (!listeners_.empty()) close_listener(*listeners_.back());
  while (auto* s = ends_.front()) {
    ends_.remove(*s);
    delete s;
  }
}

// --- Streams.

sim_local::end& sim_local::add_end(const unix_endpoint& local, const unix_endpoint& remote) {
  auto& s = *new end;
  s.at = this;
  s.local = local;
  s.remote = remote;
  ends_.push_front(s);
  return s;
}

std::pair<sim_local::end*, sim_local::end*> sim_local::add_pair(const unix_endpoint& from,
                                                                const unix_endpoint& to) {
  auto& first = add_end(from, to);
  auto& second = add_end(to, from);
  first.peer = &second;
  second.peer = &first;
  return {&first, &second};
}

result<std::pair<socket_base*, socket_base*>> sim_local::make_pair() {
  auto made = add_pair({}, {});
  return std::pair<socket_base*, socket_base*>(made.first, made.second);
}

void sim_local::bring_in(socket_base&) {}  // the peer's take_out() does

void sim_local::take_out(socket_base& base) {
  auto& s = static_cast<end&>(base);
  stack::part_room<64> parts;
  while (!s.writers.empty()) {
    if (s.peer == nullptr)
      return sending_failed(s, std::make_error_code(std::errc::connection_reset));
    auto room = s.peer->room();
    if (room == 0) return;  // settle() of the peer goes on
    const auto some = gather(s, parts.from(0));
    std::size_t taken = 0;
    for (std::size_t i = 0; i < some.parts && room != 0; ++i) {
      const auto piece = parts[i].first(std::min(room, parts[i].size()));
      s.peer->append(piece);
      taken += piece.size();
      room -= piece.size();
    }
    auto& to = *s.peer;
    sent(s, taken);
    bytes_came(to);
  }
}

void sim_local::settle(socket_base& base) noexcept {
  auto& s = static_cast<end&>(base);
  // Later: this is called in the middle of a read, which what comes next must not get into.
  if (s.peer != nullptr && !s.peer->writers.empty() && !room_.armed())
    owner().arm(room_, owner().now());
}

void sim_local::writers_go_on(timer_node& node) noexcept {
  auto& self = *static_cast<clock&>(node).of;
  for (auto* s = self.ends_.front(); s != nullptr; s = self.ends_.after(*s))
    if (!s->writers.empty() && s->peer != nullptr && s->peer->room() != 0) self.writes_released(*s);
}

bool sim_local::lend(socket_base& base, lent_bytes& lent) {
  auto& s = static_cast<end&>(base);
  const auto buffer = lending_.take(s);
  if (buffer.empty()) return false;
  const auto n = std::min<std::size_t>(buffer.size(), s.rx_size);
  std::memcpy(buffer.data(), s.rx_data, n);
  s.rx_data += n;
  s.rx_size -= static_cast<std::uint32_t>(n);
  lent = {buffer.data(), static_cast<std::uint32_t>(n), 0, buffer.data()};
  settle(s);
  return true;
}

void sim_local::release(lent_bytes& lent) noexcept {
  lending_.give_back(lent.chunk);
  while (auto* s = lending_.next_waiting()) bytes_came(*s);
}

void sim_local::forget_lending(socket_base& s) noexcept { lending_.forget(static_cast<end&>(s)); }

std::error_code sim_local::send_fin(socket_base& base) noexcept {
  auto& s = static_cast<end&>(base);
  if (s.peer != nullptr) receiving_over(*s.peer);
  return {};
}

void sim_local::give_up(socket_base& base, bool) noexcept {
  auto& s = static_cast<end&>(base);
  lending_.forget(s);
  // As the kernel has it: what was not read makes the peer's end a reset.
  if (s.peer != nullptr) gone(*s.peer, s.rx_size != 0);
  ends_.remove(s);
  delete &s;
}

/// Its peer is no more.
void sim_local::gone(end& s, bool reset) noexcept {
  s.peer = nullptr;
  const auto why = std::make_error_code(std::errc::connection_reset);
  receiving_over(s, reset ? why : std::error_code());
  if (!s.writers.empty()) sending_failed(s, why);
}

// --- Connecting and listening.

result<listener_socket*> sim_local::listen(const unix_endpoint& local,
                                           const unix_listen_options& options) {
  if (options.sharing.value_or(settings_.listen.sharing) == sharing::sharded)
    return std::errc::operation_not_supported;
  if (options.mode && !local.is_path()) return std::errc::invalid_argument;
  auto name = local;
  if (name.is_unnamed()) name = unix_endpoint("@" + std::to_string(++names_drawn_));
  for (const auto& l : listeners_)
    if (l->name == name) return std::errc::address_in_use;
  auto& l = *listeners_.emplace_back(std::make_unique<listening>());
  l.at = this;
  l.name = name;
  l.backlog = options.backlog.value_or(settings_.listen.backlog);
  return static_cast<listener_socket*>(&l);
}

void sim_local::start_connect(unix_connect_operation& op) {
  if (op.remote.is_unnamed()) return op.complete(std::make_error_code(std::errc::invalid_argument));
  for (const auto& l : listeners_) {
    if (!(l->name == op.remote)) continue;
    if (!join(*l, op)) l->waits.push_back(op);
    return;
  }
  op.complete(std::make_error_code(op.remote.is_path() ? std::errc::no_such_file_or_directory
                                                       : std::errc::connection_refused));
}

/// False: its queue is full.
bool sim_local::join(listening& l, unix_connect_operation& op) {
  if (l.queue.size() >= l.backlog) return false;
  const auto made = add_pair({}, l.name);
  l.queue.push_back(made.second);
  op.connected = made.first;
  op.complete();
  take_connections(l);
  return true;
}

void sim_local::take_connections(listening& l) {
  while (!l.acceptors.empty() && !l.queue.empty()) {
    auto* s = l.queue.front();
    l.queue.pop_front();
    hand_out(l, *s);
    if (auto* op = l.waits.pop_front()) join(l, *op);
  }
}

void sim_local::cancel_connect(unix_connect_operation& op) noexcept {
  for (const auto& l : listeners_)
    if (l->name == op.remote) l->waits.remove(op);
  op.complete(canceled_error());
}

void sim_local::accept_wanted(listener_socket& l, accept_operation&) {
  take_connections(static_cast<listening&>(l));
}

void sim_local::stop_listening(listener_socket& base) noexcept {
  auto& l = static_cast<listening&>(base);
  while (auto* op = l.waits.pop_front())
    op->complete(std::make_error_code(std::errc::connection_refused));
  for (auto* s : l.queue) {
    if (s->peer != nullptr) gone(*s->peer, true);
    ends_.remove(*s);
    delete s;
  }
  std::erase_if(listeners_, [&](const auto& each) { return each.get() == &l; });
}

// --- Names.

unix_endpoint sim_local::local_name(const socket_base& s) const {
  return static_cast<const end&>(s).local;
}
unix_endpoint sim_local::remote_name(const socket_base& s) const {
  return static_cast<const end&>(s).remote;
}
unix_endpoint sim_local::listener_name(const listener_socket& l) const {
  return static_cast<const listening&>(l).name;
}

}  // namespace weir::detail
