// The stack transport's life, its packets and events, and its listeners and connections. Reading
// and writing are in stack_streams.cpp.
#include "transport/stack/stack_transport.hpp"

#include <algorithm>
#include <array>
#include <cassert>

#include "core/log.hpp"
#include "device/huge_pages.hpp"
#include "device/vnet_header.hpp"
#include "ip/parts.hpp"
#include "transport/stack/stack_socket.hpp"
#include "transport/stack/write_only_port.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"

namespace weir::detail {
namespace {

constexpr std::size_t sockets_per_slab = 64;

}  // namespace

stack_transport::stack_transport(driver& completions, stack_settings settings)
    : driver_(completions),
      settings_(std::move(settings)),
      now_(completions.now()),
      host_(settings_.host, *this, settings_.shards, settings_.shard),
      datagrams_(host_, settings_.listen, now_) {
  stack::use_huge_pages();
  if (settings_.writes_only) {
    port_ = std::make_unique<write_only_port>(settings_.device);
    return;
  }
  auto port = driver_.open_packet_port(settings_.device, settings_.frame_limit, *this);
  if (!port) throw io_error(port.error(), "opening the packet device");
  port_ = std::move(*port);
}

stack_transport::~stack_transport() {
  if (settings_.shards) settings_.shards->set_waker(settings_.shard, nullptr);
}

void stack_transport::attach(weir::shard& owner) {
  shard_ = &owner;
  datagrams_.attach(owner);
  if (settings_.shards) settings_.shards->set_waker(settings_.shard, this);
}

// Later than every instant that the host has seen. Between two turns the driver's clock is read
// once.
instant stack_transport::clock() {
  if (shard_ != nullptr) now_ = std::max(now_, shard_->now());
  return now_;
}

stack_transport::socket& stack_transport::make_socket(stack::socket_id id, role what) {
  if (free_ == nullptr) {
    slabs_.push_back(std::make_unique<socket[]>(sockets_per_slab));
    for (std::size_t i = sockets_per_slab; i-- > 0;) {
      slabs_.back()[i].next_free = free_;
      free_ = &slabs_.back()[i];
    }
  }
  auto& s = *free_;
  free_ = s.next_free;
  s = socket{};
  s.owner = shard_;
  s.id = id;
  s.kind = what;
  host_.set_user(id, &s);
  ++live_;
  return s;
}

void stack_transport::free_socket(socket& s) noexcept {
  assert(!s.spent_noted && s.reader == nullptr && s.first_writer == nullptr);
  s.kind = role::unused;
  s.id = stack::socket_id::none;
  s.next_free = free_;
  free_ = &s;
  --live_;
}

// --- Packets.

void stack_transport::receive(std::span<const std::span<const std::byte>> frames) {
  std::array<std::span<const std::byte>, max_frames> packets;
  std::array<stack::receive_meta, max_frames> metas;
  std::size_t count = 0;
  for (auto frame : frames) {
    const auto meta = stack::read_vnet_header(frame);
    if (!meta) continue;
    packets[count] = frame.subspan(stack::vnet_header_size);
    metas[count++] = *meta;
  }
  if (clock_is_stale_) now_ = std::max(now_, driver_.now());
  clock_is_stale_ = false;
  host_.expect(std::span(packets).first(count));
  for (std::size_t i = 0; i < count; ++i) {
    if (settings_.tap)
      settings_.tap->packet(now_, packet_direction::received, std::span(&packets[i], 1));
    host_.input(now_, packets[i], metas[i]);
    drain_events();  // an acceptor that waits keeps a short accept queue from overflowing
  }
}

bool stack_transport::transmit(std::span<const std::span<const std::byte>> parts,
                               const stack::transmit_meta& meta) {
  constexpr std::size_t max_parts = 80;  // the stack's own bound and the header
  if (!port_ || parts.size() + 1 > max_parts) return false;
  std::array<std::byte, stack::vnet_header_size> header;
  stack::write_vnet_header(header.data(), meta);
  stack::part_room<max_parts> frame;
  frame[0] = header;
  std::copy(parts.begin(), parts.end(), frame.from(1).begin());
  if (!port_->send(frame.first(parts.size() + 1))) return false;
  if (settings_.tap) settings_.tap->packet(now_, packet_direction::sent, parts);
  return true;
}

void stack_transport::device_failed(std::error_code error) {
  log_line("the packet device failed (" + error.message() + "): every connection on it ends");
  device_error_ = error;
  fail_everything(error);
  if (tenant_ != nullptr) tenant_->fail_everything(error);
  datagrams_.fail_everything(error);
}

// No packet will ever come again: whoever waits is told now rather than by a timeout in a quarter
// of an hour.
void stack_transport::fail_everything(std::error_code error) {
  for (auto& slab : slabs_) {
    for (std::size_t i = 0; i < sockets_per_slab; ++i) {
      auto& s = slab[i];
      if (s.kind == role::unused) continue;
      if (s.kind == role::connecting) {
        auto* op = s.connector;
        host_.abort(now_, s.id);
        free_socket(s);
        op->complete(error);
        continue;
      }
      if (s.kind == role::listener) {
        fail_acceptors(s, error);
        continue;
      }
      if (s.reader != nullptr) std::exchange(s.reader, nullptr)->complete(error);
      while (auto* op = s.first_writer) {
        s.first_writer = op->next_writer;
        op->complete(error);
      }
      s.last_writer = nullptr;
    }
  }
}

void stack_transport::fail_acceptors(socket& listener, std::error_code error) {
  while (auto* op = listener.acceptors.first) {
    listener.acceptors.first = op->next_acceptor;
    op->complete(error);
  }
  listener.acceptors.last = nullptr;
}

// --- Time.

void stack_transport::before_wait(instant now) {
  now_ = std::max(now_, now);
  if (host_.next_deadline() <= now_) host_.advance(now_);
  if (const auto behind = port_->counters().cut_short; behind != behind_) {
    behind_ = behind;
    host_.device_is_ahead();
  }
  host_.flush(now_);
  drain_events();
  if (settings_.tap) settings_.tap->idle(now_);
  clock_is_stale_ = true;
  if (tenant_ != nullptr) tenant_->end_turn();
}

instant stack_transport::next_deadline() const { return host_.next_deadline(); }

// Connections that were closed and have something to deliver still. TIME_WAIT is no reason to stay:
// the peer has everything. FIN_WAIT_2 is none either: what remains is the peer's to send, and
// nobody would read it.
std::size_t stack_transport::closing() const {
  if (device_error_) return 0;  // nothing will ever be delivered
  std::size_t count = 0;
  host_.for_each_connection([&](const stack::tcp_info& info) {
    using enum stack::tcp_state;
    auto ending = info.state == fin_wait_1 || info.state == stack::tcp_state::closing ||
                  info.state == last_ack;
    if (ending || info.send_queued != 0) ++count;
  });
  return count;
}

// Whatever is left goes with the host, and the device with it: no peer would ever be told.
void stack_transport::abandon() noexcept {
  host_.reset_unfinished(clock());
  settings_.tap.reset();
  if (settings_.shards) settings_.shards->set_waker(settings_.shard, nullptr);
}

// --- Other shards of the device.

// On any of their threads: one note in the mailbox at a time.
void stack_transport::wake() noexcept {
  if (!handover_.sent.exchange(true)) shard_->deliver(handover_);
}

void stack_transport::on_handover(message& m) noexcept {
  auto& note = static_cast<handover_note&>(m);
  auto& self = *note.home;
  note.sent = false;  // before the look: what comes after it sends another note
  self.host_.take_handovers(self.clock());
  self.drain_events();
}

// --- Events.

void stack_transport::drain_events() {
  stack::event what;
  while (host_.next_event(what)) handle(what);
}

void stack_transport::handle(const stack::event& what) {
  if (stack::is_udp(what.socket)) return datagrams_.handle(what);
  if (tenant_ != nullptr) return tenant_->handle(what);
  if (what.user == nullptr) return;  // completed, not accepted yet: accept() looks at its state
  auto& s = *static_cast<socket*>(what.user);
  assert(s.id == what.socket);
  using enum stack::ready;
  if (s.kind == role::listener) return accept_waiting(s);
  if (s.kind == role::connecting) {
    finish_connect(s, what.what);
    return;
  }
  if (any(what.what, readable | failed)) {
    if (s.reader != nullptr)
      continue_read(s);
    else
      present(s);
  }
  if (any(what.what, writable | failed)) pump_writers(s);
}

// --- Listening.

result<socket_base*> stack_transport::listen(const endpoint& local, const listen_options& options) {
  if (device_error_) return device_error_;
  auto id = host_.listen(local, listen_options_from(options, settings_.listen));
  if (!id) return id.error();
  return &make_socket(*id, role::listener);
}

bool stack_transport::try_accept(socket& listener, accept_operation& op) {
  auto id = host_.accept(clock(), listener.id);
  if (!id) {
    if (id.error() == std::errc::operation_would_block) return false;
    op.complete(id.error());
    return true;
  }
  auto& s = make_socket(*id, role::stream);
  present(s);
  op.accepted = &s;
  op.complete();
  return true;
}

void stack_transport::start_accept(accept_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  if (device_error_) return op.complete(device_error_);
  if (s.acceptors.first == nullptr && try_accept(s, op)) return;
  op.next_acceptor = nullptr;
  (s.acceptors.first == nullptr ? s.acceptors.first : s.acceptors.last->next_acceptor) = &op;
  s.acceptors.last = &op;
  host_.accept_wanted(clock(), s.id);
}

void stack_transport::accept_waiting(socket& listener) {
  while (auto* op = listener.acceptors.first) {
    auto* next = op->next_acceptor;
    if (!try_accept(listener, *op)) return;
    listener.acceptors.first = next;
    if (next == nullptr) listener.acceptors.last = nullptr;
  }
}

void stack_transport::cancel_accept(accept_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.socket);
  accept_operation* before = nullptr;
  for (auto* at = s.acceptors.first; at != &op; at = at->next_acceptor) before = at;
  (before == nullptr ? s.acceptors.first : before->next_acceptor) = op.next_acceptor;
  if (s.acceptors.last == &op) s.acceptors.last = before;
  op.complete(canceled_error());
  host_.accept_unwanted(clock(), s.id);
}

// --- Connecting.

void stack_transport::start_connect(connect_operation& op) {
  if (device_error_) return op.complete(device_error_);
  auto options = host_.options().tcp;
  apply(op.options->stream, options);
  auto id = host_.connect(clock(), op.remote, op.options->local, options);
  if (!id) return op.complete(id.error());
  auto& s = make_socket(*id, role::connecting);
  s.connector = &op;
  op.scratch.as<connect_progress>() = {&s};
}

void stack_transport::finish_connect(socket& s, stack::ready what) {
  using enum stack::ready;
  auto* op = s.connector;
  if (any(what, failed)) {
    auto why = host_.error(s.id);
    host_.close(now_, s.id);
    free_socket(s);
    op->complete(why ? why : std::make_error_code(std::errc::connection_refused));
  } else if (any(what, connected)) {
    s.kind = role::stream;
    present(s);
    op->connected = &s;
    op->complete();
  }
}

void stack_transport::cancel_connect(connect_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.scratch.as<connect_progress>().socket);
  host_.abort(clock(), s.id);
  free_socket(s);
  op.complete(canceled_error());
}

// --- The end of a socket.

void stack_transport::close(socket_base& socket_of_stream) noexcept {
  auto& s = static_cast<socket&>(socket_of_stream);
  auto now = clock();
  if (s.kind == role::listener)
    fail_acceptors(s, canceled_error());
  else
    forget_presented(s);
  host_.close(now, s.id);
  free_socket(s);
}

void stack_transport::abort(socket_base& socket_of_stream) noexcept {
  auto& s = static_cast<socket&>(socket_of_stream);
  host_.abort(clock(), s.id);
  free_socket(s);
}

// --- Small things.

endpoint stack_transport::local_endpoint(const socket_base& s) const {
  return host_.local_endpoint(static_cast<const socket&>(s).id);
}

endpoint stack_transport::remote_endpoint(const socket_base& s) const {
  return host_.remote_endpoint(static_cast<const socket&>(s).id);
}

std::error_code stack_transport::set_options(socket_base& socket_of_stream,
                                             const stream_options& options) {
  auto& s = static_cast<socket&>(socket_of_stream);
  auto tcp = host_.get_options(s.id);
  if (!tcp) return tcp.error();
  apply(options, *tcp);
  if (auto error = host_.set_options(clock(), s.id, *tcp)) return error;
  if (options.cork) return host_.set_cork(clock(), s.id, *options.cork);
  return {};
}

}  // namespace weir::detail
