// The streams' and listeners' own calls, and the parts of their awaiters that need not be inline.
#include "weir/net.hpp"

#include <cassert>

namespace weir {

namespace detail {

void read_awaiter::begin(read_operation& op) noexcept {
  if (op.socket->reader != nullptr)
    return op.complete(std::make_error_code(std::errc::device_or_resource_busy));
  if (!op.lend && op.into.empty())
    return op.complete(std::make_error_code(std::errc::invalid_argument));
  op.owner().transport().start_read(op);
}

void read_awaiter::request_cancel(operation& op) noexcept {
  op.owner().transport().cancel_read(static_cast<read_operation&>(op));
}

void write_awaiter::begin(write_operation& op) noexcept {
  bool nothing = true;
  for (auto part : op.parts()) nothing &= part.empty();
  if (nothing) return op.complete();
  op.owner().transport().start_write(op);
}

void write_awaiter::request_cancel(operation& op) noexcept {
  op.owner().transport().cancel_write(static_cast<write_operation&>(op));
}

void accept_awaiter::begin() noexcept {
  if (socket->owner->stop_requested()) {
    stopped_ = true;
    return complete(canceled_error());
  }
  owner().transport().start_accept(*this);
}

void accept_awaiter::request_cancel(operation& op) noexcept {
  op.owner().transport().cancel_accept(static_cast<accept_operation&>(op));
}

void accept_awaiter::stop_hook::on_stop(detail::cancel_node& node) noexcept {
  auto& awaiter = *static_cast<stop_hook&>(node).awaiter;
  if (!awaiter.pending()) return;
  awaiter.stopped_ = true;
  awaiter.ask_to_end();
}

void connect_awaiter::request_cancel(operation& op) noexcept {
  op.owner().transport().cancel_connect(static_cast<connect_operation&>(op));
}

}  // namespace detail

void tcp_stream::close() noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  assert(s.reader == nullptr && s.first_writer == nullptr &&
         "a stream was closed under a pending operation");
  s.owner->forget_spent(s);
  s.owner->transport().close(s);
}

void tcp_stream::abort() noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  assert(s.reader == nullptr && s.first_writer == nullptr &&
         "a stream was aborted under a pending operation");
  s.owner->forget_spent(s);
  s.owner->transport().abort(s);
}

void tcp_stream::shutdown_send() {
  std::error_code error;
  shutdown_send(error);
  if (error) throw io_error(error, "shutdown_send");
}

void tcp_stream::shutdown_send(std::error_code& error) noexcept {
  error = owner().transport().shutdown_send(socket());
}

void tcp_stream::set_options(const stream_options& options) {
  if (auto error = owner().transport().set_options(socket(), options))
    throw io_error(error, "set_options");
}

endpoint tcp_stream::local_endpoint() const { return owner().transport().local_endpoint(socket()); }
endpoint tcp_stream::remote_endpoint() const {
  return owner().transport().remote_endpoint(socket());
}

void tcp_listener::close() noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  s.owner->transport().close(s);
}

endpoint tcp_listener::local_endpoint() const {
  return socket().owner->transport().local_endpoint(socket());
}

detail::connect_awaiter connect(const endpoint& remote, const connect_options& options) {
  return {remote, options};
}

}  // namespace weir
