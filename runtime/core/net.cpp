// The streams' and listeners' own calls, and the parts of their awaiters that need not be inline.
#include "weir/net.hpp"

#include <cassert>

#include "runtime/backend/transport.hpp"
#include "runtime/core/flight_recorder.hpp"
#include "runtime/core/sockets/arguments.hpp"
#include "stack/base/probes.hpp"
#include "weir/request.hpp"

namespace weir {

namespace detail {

namespace {
int or_throw(int fd) {
  if (fd < 0)
    throw io_error(std::make_error_code(std::errc::operation_not_supported), "native_handle");
  return fd;
}
}  // namespace

int native_handle_of(const socket_base& stream) {
  return or_throw(stream.at->native_handle(stream));
}
int native_handle_of(const listener_socket& listener) {
  return or_throw(home_of_listener(listener).native_listener(listener));
}

bool successor_listens(const listener_socket& listener) noexcept {
  return home_of_listener(listener).successor_listens();
}

bool leave_to_others(listener_socket& listener) noexcept {
  return home_of_listener(listener).leave_to_others(listener);
}

void read_awaiter::begin(read_operation& op) noexcept {
  auto& s = *op.socket;
  assert(&op.owner() == &s.at->owner() && "a stream is used on the shard that owns it");
  if (s.reader != nullptr)
    return op.complete(std::make_error_code(std::errc::device_or_resource_busy));
  if (!op.lend && op.into().empty()) return op.complete();  // as recv(2) has it
  s.at->start_read(op);
}

void read_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<read_operation&>(op);
  self.socket->at->cancel_read(self);
}

namespace {
/// An operation on a stream tells on which.
template <class Awaiter>
const Awaiter& tell_stream(const operation& op, wait_told& out) noexcept {
  const auto& self = static_cast<const Awaiter&>(op);
  out.stream = self.socket;
  return self;
}
}  // namespace

void read_awaiter::tell(const detail::cancel_node& node, wait_told& out) noexcept {
  out.operation = tell_stream<read_awaiter>(told(node, out), out).name_;
}
void receive_awaiter::tell(const detail::cancel_node& node, wait_told& out) noexcept {
  tell_stream<receive_awaiter>(told(node, out), out);
  out.operation = "receive";
}
void write_awaiter::tell(const detail::cancel_node& node, wait_told& out) noexcept {
  const auto& self = tell_stream<write_operation>(told(node, out), out);
  out.operation = "write";
  out.have = static_cast<std::int64_t>(self.written);
}

void write_awaiter::begin(write_operation& op) noexcept {
  assert(&op.owner() == &op.socket->at->owner() && "a stream is used on the shard that owns it");
  bool nothing = true;
  for (auto part : op.parts()) nothing &= part.empty();
  if (nothing) return op.complete();
  op.socket->at->start_write(op);
}

void write_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<write_operation&>(op);
  self.socket->at->cancel_write(self);
}

void accept_awaiter::begin() noexcept {
  assert(&owner() == &socket->at->owner() && "a listener is used on the shard that owns it");
  if (owner().stop_requested()) {
    stopped_ = true;
    return complete(canceled_error());
  }
  if (wants_request != socket->asks)
    return complete(std::make_error_code(std::errc::operation_not_supported));
  home_of_listener(*socket).start_accept(*this);
}

void accept_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<accept_operation&>(op);
  home_of_listener(*self.socket).cancel_accept(self);
}

void accept_awaiter::stop_hook::on_stop(detail::cancel_node& node) noexcept {
  auto& awaiter = *static_cast<stop_hook&>(node).awaiter;
  if (!awaiter.pending()) return;
  awaiter.stopped_ = true;
  awaiter.ask_to_end();
}

void accept_awaiter::tell(const detail::cancel_node& node, wait_told& out) noexcept {
  out.listener = static_cast<const accept_operation&>(told(node, out)).socket;
  out.operation = "accept";
}

void peer_end_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<peer_end_operation&>(op);
  self.socket->at->cancel_peer_end(self);
}

void peer_end_awaiter::tell(const detail::cancel_node& node, wait_told& out) noexcept {
  out.stream = static_cast<const peer_end_awaiter&>(told(node, out)).socket;
  out.operation = "peer_closed";
}

void connect_awaiter::tell(const detail::cancel_node& node, wait_told& out) noexcept {
  out.remote = static_cast<const connect_operation&>(told(node, out)).remote;
  out.operation = "connect";
}

void answer_awaiter::begin() noexcept {
  request = std::exchange(*handle_, nullptr);
  assert(&owner() == &request->at->owner() && "a request is answered on the shard that owns it");
  home_of_listener(*request).start_answer(*this);
}

void answer_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<answer_operation&>(op);
  home_of_listener(*self.request).cancel_answer(self);
}

void connect_awaiter::begin() noexcept {
  if (auto error = check_connect(remote, options_)) return complete(error);
  const auto network = owner().network(options_.network);
  if (!network) return complete(network.error());
  if (auto error = check_interface(options_, options_.local, remote, (*network)->on_kernel()))
    return complete(error);
  through = *network;
  through->start_connect(*this);
}

void connect_failed(std::error_code why, const connect_operation& op) {
  throw io_error(
      why, "connect to " + op.remote.to_string() + op.owner().networks_hint(op.options->network));
}

void connect_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<connect_operation&>(op);
  self.through->cancel_connect(self);
}

void note_accepted(const accept_operation& op, std::error_code error, bool stopped) noexcept {
  const auto& on = op.owner();
  const auto* got = op.accepted;
  // (The listener may have gone meanwhile.)
  const auto port = got == nullptr ? std::uint16_t{0} : got->at->local_endpoint(*got).port;
  probe::accept(on.index(), got, port, got == nullptr ? error.value() : 0);
  if (!on.recorder() || (got == nullptr && stopped)) return;
  flight_event event{.at = on.now(), .about = got, .port = port};
  if (got != nullptr) event.peer = got->at->remote_endpoint(*got);
  if (got == nullptr) event.what = flight_event::kind::accept_failed, event.set_error(error);
  on.recorder()->add(event);
}

void note_connected(const connect_operation& op, std::error_code error) noexcept {
  const auto& on = op.owner();
  const auto* got = op.connected;
  probe::connect(on.index(), got, op.remote.port, got == nullptr ? error.value() : 0);
  if (!on.recorder()) return;
  flight_event event{.at = on.now(), .about = got, .peer = op.remote};
  event.what = flight_event::kind::connected;
  if (got == nullptr) event.what = flight_event::kind::connect_failed, event.set_error(error);
  on.recorder()->add(event);
}

namespace {
void note_closed(const socket_base& s, bool reset) noexcept {
  const auto& on = s.at->owner();
  probe::close(on.index(), &s, reset ? 1 : 0);
  using kind = flight_event::kind;
  if (on.recorder())
    on.recorder()->add({.at = on.now(),
                        .about = &s,
                        .peer = s.at->remote_endpoint(s),
                        .what = reset ? kind::aborted : kind::closed});
}
}  // namespace

void note_detached(const socket_base& s) noexcept {
  const auto& on = s.at->owner();
  probe::detach(on.index(), &s);
  if (on.recorder())
    on.recorder()->add({.at = on.now(),
                        .about = &s,
                        .peer = s.at->remote_endpoint(s),
                        .what = flight_event::kind::detached});
}

void note_attached(const socket_base& s) noexcept {
  const auto& on = s.at->owner();
  const auto port = s.at->local_endpoint(s).port;
  probe::attach(on.index(), &s, port);
  if (on.recorder())
    on.recorder()->add({.at = on.now(),
                        .about = &s,
                        .peer = s.at->remote_endpoint(s),
                        .port = port,
                        .what = flight_event::kind::attached});
}

}  // namespace detail

void connection_request::refuse(std::error_code why) noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  detail::home_of_listener(s).refuse_request(s, why);
}

void any_stream::close() noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  assert(s.reader == nullptr && s.writers.empty() && !s.end_awaited &&
         "a stream was closed under a pending operation");
  s.at->owner().forget_spent(s);
  detail::note_closed(s, false);
  s.at->close(s);
}

void any_stream::abort() noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  assert(s.reader == nullptr && s.writers.empty() && !s.end_awaited &&
         "a stream was aborted under a pending operation");
  s.at->owner().forget_spent(s);
  detail::note_closed(s, true);
  s.at->abort(s);
}

void tcp_stream::shutdown_receive() {
  std::error_code error;
  shutdown_receive(error);
  if (error) throw io_error(error, "shutdown_receive");
}

void tcp_stream::shutdown_receive(std::error_code& error) noexcept {
  error = socket().at->shutdown_receive(socket());
}

void any_stream::shutdown_send() {
  std::error_code error;
  shutdown_send(error);
  if (error) throw io_error(error, "shutdown_send");
}

void any_stream::shutdown_send(std::error_code& error) noexcept {
  error = socket().at->shutdown_send(socket());
}

void tcp_stream::set_options(const stream_options& options) {
  auto error = detail::check_open(options);
  if (!error) error = socket().at->set_options(socket(), options);
  if (error) throw io_error(error, "set_options");
}

void tcp_listener::close() noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  detail::home_of_listener(s).close_listener(s);
}

}  // namespace weir
