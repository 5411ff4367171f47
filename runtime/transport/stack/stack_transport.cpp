// The stack transport's life, its packets and events, and its listeners and connections. Reading
// and writing are in stack_streams.cpp.
#include "runtime/transport/stack/stack_transport.hpp"

#include <algorithm>
#include <array>
#include <cassert>

#include "runtime/core/log.hpp"
#include "runtime/transport/stack/stack_calls.hpp"
#include "runtime/transport/stack/write_only_port.hpp"
#include "stack/base/parts.hpp"
#include "stack/device/huge_pages.hpp"
#include "stack/device/vnet_header.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"

namespace weir::detail {
stack_transport::stack_transport(driver& completions, stack_settings settings)
    : driver_(completions),
      settings_(std::move(settings)),
      now_(completions.now()),
      host_(settings_.host, *this, settings_.shards, settings_.shard),
      datagrams_(host_, now_) {
  stack::use_huge_pages();
  host_.forward_unclaimed(settings_.predecessors.get());
  stack::frame_sink& frames = *this;
  if (settings_.link) link_.emplace(*settings_.link, frames);
  if (settings_.writes_only) {
    port_ = std::make_unique<write_only_port>(settings_.device);
    return;
  }
  if (settings_.open_port) {
    port_ = settings_.open_port(*this);
    return;
  }
  const auto longest = settings_.frame_limit + (link_ ? stack::wire::ethernet_header : 0);
  auto port = driver_.open_packet_port(settings_.device, longest, *this);
  if (!port) throw io_error(port.error(), "opening the packet device");
  port_ = std::move(*port);
  packet_receiver& self = *this;
  device_watch_ = std::make_unique<device_watch>(driver_, settings_.device, self);
}

stack_transport::~stack_transport() {
  if (settings_.handover && !settings_.writes_only) settings_.handover->detach(settings_.queue);
  if (settings_.shards) settings_.shards->set_waker(settings_.shard, nullptr);
}

void stack_transport::attach(weir::shard& owner) {
  transport::attach(owner);
  attached_ = true;
  datagrams_.attach(owner);
  if (link_) link_->announce(clock());
  if (owner.recorder()) host_.watch(&watcher_.emplace(owner.recorder(), now_));
  if (settings_.shards) settings_.shards->set_waker(settings_.shard, this);
  if (settings_.handover && !settings_.writes_only)
    settings_.handover->attach(settings_.queue, *this, driver_, owner);
}

// Later than every instant that the host has seen. Between two turns the driver's clock is read
// once.
instant stack_transport::clock() {
  if (attached_) now_ = std::max(now_, owner().now());
  return now_;
}

stack_transport::stream& stack_transport::make_stream(stack::socket_id id) {
  auto& s = at_home(streams_.take());
  s.id = id;
  host_.set_user(id, &s);
  return s;
}

void stack_transport::free_stream(stream& s) noexcept {
  assert(!s.spent_noted && s.reader == nullptr && s.writers.empty());
  s.kind = stream::role::unused;
  s.id = stack::socket_id::none;
  streams_.give_back(s);
}

// --- Packets.

void stack_transport::receive(std::span<const std::span<const std::byte>> frames) {
  std::array<std::span<const std::byte>, max_frames> packets;
  std::array<stack::receive_meta, max_frames> metas;
  std::size_t count = 0;
  if (clock_is_stale_) now_ = std::max(now_, driver_.now());
  clock_is_stale_ = false;
  for (auto frame : frames) {
    const auto meta = stack::read_vnet_header(frame);
    if (!meta) continue;
    auto packet = frame.subspan(stack::vnet_header_size);
    if (link_) {
      packet = link_->input(now_, packet, *meta);
      if (packet.empty()) continue;
    }
    packets[count] = packet;
    metas[count++] = *meta;
  }
  host_.expect(std::span(packets).first(count));
  for (std::size_t i = 0; i < count; ++i) {
    if (settings_.tap)
      settings_.tap->packet(now_, packet_direction::received, std::span(&packets[i], 1));
    host_.input_held(now_, packets[i], metas[i]);
    drain_events();  // an acceptor that waits keeps a short accept queue from overflowing
    host_.let_go();
  }
}

bool stack_transport::transmit(std::span<const std::span<const std::byte>> parts,
                               const stack::transmit_meta& meta) {
  const bool sent = link_ ? link_->output(now_, parts, meta) : write_packet(parts, meta);
  if (sent && settings_.tap) settings_.tap->packet(now_, packet_direction::sent, parts);
  return sent;
}

bool stack_transport::write_packet(std::span<const std::span<const std::byte>> parts,
                                   const stack::transmit_meta& meta) {
  std::array<std::byte, stack::vnet_header_size> header;
  stack::write_vnet_header(header.data(), meta);
  return write_frame(header, parts);
}

bool stack_transport::send_frame(std::span<const std::byte, stack::wire::ethernet_header> header,
                                 std::span<const std::span<const std::byte>> packet,
                                 const stack::transmit_meta& meta) {
  std::array<std::byte, stack::vnet_header_size + stack::wire::ethernet_header> headers;
  stack::write_vnet_header(headers.data(), meta);
  std::copy(header.begin(), header.end(), headers.begin() + stack::vnet_header_size);
  return write_frame(headers, packet);
}

bool stack_transport::write_frame(std::span<const std::byte> headers,
                                  std::span<const std::span<const std::byte>> packet) {
  constexpr std::size_t max_parts = 80;  // the stack's own bound and the headers
  if (!port_ || packet.size() + 1 > max_parts) return false;
  stack::part_room<max_parts> frame;
  frame[0] = headers;
  std::copy(packet.begin(), packet.end(), frame.from(1).begin());
  return port_->send(frame.first(packet.size() + 1));
}

void stack_transport::device_failed(std::error_code error) {
  if (device_error_) return;
  log_line("the packet device failed (" + error.message() + "): every connection on it ends");
  device_error_ = error;
  fail_everything(error);
  if (owner_of_sockets_ != nullptr) owner_of_sockets_->fail_everything(error);
  datagrams_.fail_everything(error);
}

// No packet will ever come again: whoever waits is told now rather than by a timeout in a quarter
// of an hour.
void stack_transport::fail_everything(std::error_code error) {
  for (auto& l : listeners_) fail_acceptors(*l, error);
  streams_.for_each([&](stream& s) {
    if (s.kind == stream::role::connecting) {
      auto* op = s.connector;
      give_up(s, true);
      op->complete(error);
    } else if (s.kind == stream::role::answering) {
      auto* op = s.answerer;
      refuse_request(s, error);
      op->complete(error);
    } else if (s.kind == stream::role::connected) {
      fail(s, error);
    }
  });
}

// --- Time.

void stack_transport::before_wait(instant now) {
  now_ = std::max(now_, now);
  if (link_ && link_->next_deadline() <= now_) link_->advance(now_);
  if (host_.next_deadline() <= now_) host_.advance(now_);
  if (settings_.predecessors && settings_.predecessors->ended()) host_.forward_unclaimed(nullptr);
  if (const auto behind = port_->counters().cut_short; behind != behind_) {
    behind_ = behind;
    host_.device_is_ahead();
  }
  host_.flush(now_);
  drain_events();
  if (settings_.tap) settings_.tap->idle(now_);
  clock_is_stale_ = true;
  if (owner_of_sockets_ != nullptr) owner_of_sockets_->end_turn();
}

instant stack_transport::next_deadline() const {
  const auto next = host_.next_deadline();
  return link_ ? std::min(next, link_->next_deadline()) : next;
}

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
  empty_link();
  host_.reset_unfinished(clock());
  settings_.tap.reset();
  if (settings_.handover && !settings_.writes_only) settings_.handover->detach(settings_.queue);
  if (settings_.shards) settings_.shards->set_waker(settings_.shard, nullptr);
}

// --- Other shards of the device.

// On any of their threads: one note in the mailbox at a time.
void stack_transport::wake() noexcept {
  if (!handover_.sent.exchange(true)) owner().deliver(handover_);
}

void stack_transport::on_handover(message& m) noexcept {
  auto& note = static_cast<handover_note&>(m);
  auto& self = *note.home;
  // Before the look: what comes after it sends another note. An exchange, as bell::heard() does:
  // the inbox is looked at by a relaxed load, which may overtake a store (inbox::take()). No test
  // can show it on x86, whose store is an exchange anyway.
  note.sent.exchange(false, std::memory_order_seq_cst);
  self.host_.take_handovers(self.clock());
  self.drain_events();
}

// --- Events.

void stack_transport::drain_events() {
  stack::event what;
  while (host_.next_event(what)) handle(what);
}

void stack_transport::handle(const stack::event& what) {
  if (owner_of_sockets_ != nullptr) return owner_of_sockets_->handle(what);
  if (stack::is_udp(what.socket)) return datagrams_.handle(what);
  if (what.user == nullptr) return;  // completed, not accepted yet: accept() looks at its state
  using enum stack::ready;
  if (any(what.what, acceptable)) return serve(*static_cast<listener*>(what.user));
  auto& s = *static_cast<stream*>(what.user);
  if (s.kind == stream::role::answering) return finish_answer(s, what);
  assert(s.id == what.socket);
  if (s.kind == stream::role::asked) {  // whoever asked has gone
    s.id = stack::socket_id::none;
    return;
  }
  if (s.kind == stream::role::connecting) return finish_connect(s, what.what);
  if (any(what.what, readable | failed)) {
    settle(s);
    look_for_end(s);
    bytes_came(s);
    if (s.rx_size != 0 && host_.let_go()) settle(s);  // what the reader left outlives its packet
  }
  if (any(what.what, writable | failed)) writes_released(s);
}

// --- Listening.

result<listener_socket*> stack_transport::listen(const endpoint& local,
                                                 const listen_options& options) {
  if (device_error_) return device_error_;
  const auto how = listen_options_from(options, settings_.listen, host_.options().tcp);
  return add_listener(host_.listen(local, how), options);
}

result<listener_socket*> stack_transport::listen_any(const any_destination& where,
                                                     const listen_options& options) {
  if (device_error_) return device_error_;
  const auto how = listen_options_from(options, settings_.listen, host_.options().tcp);
  return add_listener(host_.listen_any(where, how), options);
}

result<listener_socket*> stack_transport::add_listener(const result<stack::socket_id>& id,
                                                       const listen_options& options) {
  if (!id) return id.error();
  auto& l = at_home(*listeners_.emplace_back(std::make_unique<listener>()));
  l.id = *id;
  l.local = host_.local_endpoint(*id);
  l.asks = options.ask;
  host_.set_user(*id, &l);
  return &l;
}

void stack_transport::serve(listener& l) {
  while (!l.acceptors.empty()) {
    auto id = l.asks ? host_.next_request(l.id) : host_.accept(clock(), l.id);
    if (!id && id.error() == std::errc::operation_would_block) return;
    if (!id) return fail_acceptors(l, id.error());
    auto& s = make_stream(*id);
    s.kind = l.asks ? stream::role::asked : stream::role::connected;
    if (!l.asks) settle(s);
    hand_out(l, s);
  }
}

void stack_transport::accept_wanted(listener_socket& socket, accept_operation& op) {
  auto& l = static_cast<listener&>(socket);
  if (device_error_) return fail_acceptors(l, device_error_);
  // Behind others that wait already there is nothing to find.
  if (l.acceptors.front() == &op) serve(l);
  if (!l.acceptors.empty()) host_.accept_wanted(clock(), l.id);
}

void stack_transport::accept_unwanted(listener_socket& socket) noexcept {
  host_.accept_unwanted(clock(), static_cast<listener&>(socket).id);
}

void stack_transport::stop_listening(listener_socket& socket) noexcept {
  host_.close(clock(), static_cast<listener&>(socket).id);
  std::erase_if(listeners_, [&](const auto& l) { return l.get() == &socket; });
}

// --- Requests.

void stack_transport::start_answer(answer_operation& op) {
  auto& s = static_cast<stream&>(*op.request);
  auto error = device_error_ ? device_error_ : host_.accept_request(clock(), s.id);
  if (error) {
    refuse_request(s, error);
    return op.complete(error);
  }
  s.kind = stream::role::answering;
  s.answerer = &op;
}

void stack_transport::finish_answer(stream& s, const stack::event& what) {
  auto* op = s.answerer;
  if (!any(what.what, stack::ready::connected)) {
    free_stream(s);
    return op->complete(std::make_error_code(std::errc::connection_aborted));
  }
  s.id = what.socket;
  s.kind = stream::role::connected;
  settle(s);
  op->connected = &s;
  op->complete();
}

void stack_transport::cancel_answer(answer_operation& op) noexcept {
  refuse_request(*op.request, std::make_error_code(std::errc::connection_refused));
  op.complete(canceled_error());
}

void stack_transport::refuse_request(socket_base& request, std::error_code why) noexcept {
  auto& s = static_cast<stream&>(request);
  host_.refuse_request(clock(), s.id, refusal_for(why, stack::refusal::reset));
  free_stream(s);
}

// --- Connecting.

void stack_transport::start_connect(connect_operation& op) {
  if (device_error_) return op.complete(device_error_);
  auto id = detail::connect(host_, clock(), op);
  if (!id) return op.complete(id.error());
  auto& s = make_stream(*id);
  s.kind = stream::role::connecting;
  s.connector = &op;
  op.attempt = &s;
}

void stack_transport::finish_connect(stream& s, stack::ready what) {
  using enum stack::ready;
  auto* op = s.connector;
  if (any(what, failed)) {
    const auto why = why_not_connected(host_, s.id);
    give_up(s, false);
    op->complete(why);
  } else if (any(what, stack::ready::connected)) {
    s.kind = stream::role::connected;
    settle(s);
    transport::connected(*op, s);
  }
}

void stack_transport::cancel_connect(connect_operation& op) noexcept {
  give_up(*op.attempt, true);
  op.complete(canceled_error());
}

// --- The end of a socket.

void stack_transport::give_up(socket_base& socket, bool reset) noexcept {
  auto& s = static_cast<stream&>(socket);
  clock();
  forget_presented(s);
  if (reset)
    host_.abort(now_, s.id);
  else
    host_.close(now_, s.id);
  free_stream(s);
}

std::optional<std::error_code> stack_transport::peer_end(const socket_base& socket) const noexcept {
  const auto id = static_cast<const stream&>(socket).id;
  if (const auto why = host_.error(id)) return why;
  return host_.peer_ended(id) ? std::optional(std::error_code()) : std::nullopt;
}

// --- Small things.

endpoint stack_transport::local_endpoint(const socket_base& s) const {
  return host_.local_endpoint(static_cast<const stream&>(s).id);
}

endpoint stack_transport::remote_endpoint(const socket_base& s) const {
  return host_.remote_endpoint(static_cast<const stream&>(s).id);
}

std::error_code stack_transport::set_options(socket_base& socket, const stream_options& options) {
  return detail::set_options(host_, clock(), static_cast<stream&>(socket).id, options);
}

}  // namespace weir::detail
