// The shard's side of a dedicated stack: its notes both ways, listeners, connections and their
// ends. Reading and writing are in dedicated_streams.cpp.
#include "runtime/transport/stack/dedicated/dedicated_transport.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "runtime/transport/stack/dedicated/dedicated_stack.hpp"
#include "runtime/transport/stack/dedicated/stack_service.hpp"
#include "runtime/transport/stack/stack_settings.hpp"
#include "weir/error.hpp"

namespace weir::detail {
dedicated_transport::dedicated_transport(std::shared_ptr<dedicated_stack> stack,
                                         const config::listen_section& defaults)
    : stack_(std::move(stack)), defaults_(defaults) {}

dedicated_transport::~dedicated_transport() { abandon(); }

void dedicated_transport::attach(weir::shard& owner) {
  transport::attach(owner);
  channel_ = std::make_shared<channel>(*this, stack_->service(), owner, stack_->shard(),
                                       &dedicated_transport::on_up_bell,
                                       &dedicated_transport::on_down_bell);
  datagrams_.attach(owner, channel_);
  call(channel_, [&] { stack_->service().join(*channel_); });
}

void call_with(const std::shared_ptr<channel>& c, void (*f)(void*), void* with) {
  struct waiting final : message {
    waiting(const std::shared_ptr<channel>& way, void (*g)(void*), void* w)
        : message(&carry_out), of(way), work(g), argument(w) {}
    static void carry_out(message& m) noexcept {
      auto& self = static_cast<waiting&>(m);
      const auto of = self.of;  // the call is gone as soon as its end was told
      of->service.hear(*of);
      self.work(self.argument);
      of->call_done.release();
    }
    const std::shared_ptr<channel>& of;
    void (*work)(void*);
    void* argument;
  };
  waiting asked(c, f, with);
  c->stack.deliver(asked);
  c->call_done.acquire();
}

// What the stack holds of this shard goes, the connections by a reset: whoever closed them in time
// was given the time to.
void dedicated_transport::abandon() noexcept {
  if (detached_ || channel_ == nullptr) return;
  detached_ = true;
  call(channel_, [this] { stack_->service().leave(*channel_); });
  datagrams_.detach();
}

std::error_code dedicated_transport::failure() const noexcept {
  return stack_->service().failure();
}

/// The stack's half stays as it is: a late note may still look at it.
dedicated_socket& dedicated_transport::make_socket(socket::role what) {
  auto& s = sockets_.take_as_left();
  dedicated_half& half = s;
  half.~dedicated_half();
  ::new (static_cast<void*>(&half)) dedicated_half;
  at_home(s).kind = what;
  return s;
}

void dedicated_transport::free_socket(socket& s) noexcept {
  assert(!s.spent_noted && !s.queued && s.reader == nullptr && s.writers.empty());
  s.kind = socket::role::unused;
  sockets_.give_back(s);
}

// --- Notes.

void dedicated_transport::tell_stack() {
  while (auto* record = channel_->asks.front()) {
    const auto kind = record->datagrams ? ask::of_datagrams : std::uint16_t{0};
    const auto bits = static_cast<std::uint16_t>(record->asks | kind);
    if (!channel_->up.put({record, record->consumed, bits})) break;
    rang_ = false;
    record->consumed = 0;
    record->asks = 0;
    record->queued = false;
    channel_->asks.pop_front();
  }
  if (rang_) return;
  rang_ = true;
  (void)channel_->up.depth();
  channel_->up_bell.ring(channel_->stack);
}

void dedicated_transport::before_wait(instant) {
  if (!detached_) tell_stack();
}

void dedicated_transport::on_up_bell(message& m) noexcept {
  auto& rung = static_cast<bell&>(m);
  rung.heard();
  rung.of->service.hear(*rung.of);
}

void dedicated_transport::on_down_bell(message& m) noexcept {
  auto& rung = static_cast<bell&>(m);
  rung.heard();
  if (!rung.of->transport.detached_) rung.of->transport.hear();
}

void dedicated_transport::hear() {
  channel_->down.take_all([this](const down_note& note) { take(note); });
  if (channel_->down.room_made()) channel_->up_bell.ring(channel_->stack);
}

void dedicated_transport::take(const down_note& note) {
  if (note.of->datagrams) return datagrams_.take(note);
  auto& s = static_cast<socket&>(*note.of);
  using enum socket::role;
  switch (s.kind) {
    case accepting: return accepted(s, note);
    case connecting: return connected(s, note);
    case stream:
      shown(s, note);
      if ((note.bits & tell::done) != 0) write_over(s, s.outcome);
      return;
    case closing:
      if ((note.bits & tell::gone) == 0) return;
      --closing_;
      return free_socket(s);
    case unused: assert(false && "a note about nothing"); return;
  }
}

// --- Listening.

result<listener_socket*> dedicated_transport::listen(const endpoint& local,
                                                     const listen_options& options) {
  auto made = std::make_unique<dedicated_listener>();
  auto& l = at_home(*made);
  std::error_code error;
  call(channel_, [&] {
    auto& service = stack_->service();
    const auto how = listen_options_from(options, defaults_, service.tcp());
    error = service.listen(*channel_, l, local, how);
  });
  if (error) return error;
  listeners_.push_back(std::move(made));
  return &l;
}

bool dedicated_transport::successor_listens() const noexcept {
  return stack_->service().successor_listens();
}

/// What is on its way to an accept that waits is heard at once: the accept may end next.
bool dedicated_transport::leave_to_others(listener_socket& listener) noexcept {
  auto& record = static_cast<dedicated_listener&>(listener);
  bool over = false;
  call(channel_, [&] { over = stack_->service().leave_to_others(*channel_, record); });
  hear();
  return over;
}

void dedicated_transport::accept_wanted(listener_socket& l, accept_operation& op) {
  auto& record = make_socket(socket::role::accepting);
  record.acceptor = &op;
  record.listener = &static_cast<dedicated_listener&>(l);
  op.offered = &record;
  record.asked = true;
  request(record, ask::accept);
}

void dedicated_transport::accepted(socket& s, const down_note& note) {
  auto* op = std::exchange(s.acceptor, nullptr);
  s.asked = false;
  if ((note.bits & tell::opened) == 0) {
    const auto outcome = s.outcome;
    auto& l = *s.listener;
    withdraw(*channel_, s);
    free_socket(s);
    if (op != nullptr) end_accept(l, *op, outcome);
    return;
  }
  s.asks &= static_cast<std::uint16_t>(~ask::cancel);
  s.kind = socket::role::stream;
  if (op == nullptr) return give_up(s, true);  // its listener was closed meanwhile
  shown(s, note);
  hand_out(*s.listener, s, *op);
}

bool dedicated_transport::accepting_elsewhere(listener_socket&, accept_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.offered);
  if ((s.asks & ask::accept) == 0) {
    request(s, ask::cancel);
    return true;
  }
  accept_closed(op);  // the stack has not heard of it
  return false;
}

// An answer that is on its way finds nobody and is given up; an accept that the stack has not heard
// of it will not hear of.
void dedicated_transport::accept_closed(accept_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.offered);
  s.acceptor = nullptr;
  if ((s.asks & ask::accept) == 0) return;
  withdraw(*channel_, s);
  free_socket(s);
}

void dedicated_transport::stop_listening(listener_socket& l) noexcept {
  call(channel_, [&] { stack_->service().close_listener(static_cast<dedicated_listener&>(l)); });
  std::erase_if(listeners_, [&](const auto& each) { return each.get() == &l; });
}

// --- Connecting.

void dedicated_transport::start_connect(connect_operation& op) {
  auto& s = make_socket(socket::role::connecting);
  s.connector = &op;
  op.attempt = &s;
  s.asked = true;
  request(s, ask::connect);
}

void dedicated_transport::connected(socket& s, const down_note& note) {
  auto* op = std::exchange(s.connector, nullptr);
  s.asked = false;
  if ((note.bits & tell::opened) == 0) {
    const auto outcome = s.outcome;
    withdraw(*channel_, s);
    free_socket(s);
    return op->complete(outcome);
  }
  s.asks &= static_cast<std::uint16_t>(~ask::cancel);
  s.kind = socket::role::stream;
  shown(s, note);
  transport::connected(*op, s);
}

void dedicated_transport::cancel_connect(connect_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.attempt);
  if ((s.asks & ask::connect) == 0) return request(s, ask::cancel);
  withdraw(*channel_, s);
  free_socket(s);
  op.complete(canceled_error());
}

// --- The end of a socket.

void dedicated_transport::give_up(socket_base& socket_of_stream, bool reset) noexcept {
  auto& s = static_cast<socket&>(socket_of_stream);
  account(s);
  s.rx_data = nullptr;
  s.rx_size = s.presented = 0;
  s.kind = socket::role::closing;
  ++closing_;
  request(s, reset ? ask::abort : ask::close);
}

// --- Small things.

endpoint dedicated_transport::local_endpoint(const socket_base& s) const {
  return static_cast<const socket&>(s).local;
}

endpoint dedicated_transport::remote_endpoint(const socket_base& s) const {
  return static_cast<const socket&>(s).remote;
}

std::error_code dedicated_transport::set_options(socket_base& socket_of_stream,
                                                 const stream_options& options) {
  auto& s = static_cast<socket&>(socket_of_stream);
  std::error_code error;
  call(channel_, [&] { error = stack_->service().set_options(s, options); });
  return error;
}

void dedicated_transport::observe(shard_snapshot& into, const snapshot_bounds&) {
  auto& c = into.counts;
  c.push_back({"transport", "sockets", "sockets that the program holds",
               sockets_.taken() + listeners_.size() + datagrams_.sockets(), true});
  c.push_back({"transport", "lent_buffers", "buffers lent to readers", lending_.lent(), true});
  c.push_back({"transport", "lending_starved", "receives that waited for a buffer to lend",
               lending_.starved()});
  auto& up = channel_->up;
  c.push_back({"transport", "stack_ring_notes", "notes put into the ring to the stack's thread",
               up.put_so_far()});
  c.push_back({"transport", "stack_ring_depth", "notes that the stack's thread has not come to",
               up.depth(), true});
  c.push_back({"transport", "stack_ring_peak", "most of them so far", up.deepest(), true});
  c.push_back({"transport", "stack_ring_limit", "as many as there may be", channel::notes, true});
  c.push_back(
      {"transport", "stack_ring_full", "times a note had to wait for room", up.times_full()});
}

}  // namespace weir::detail
