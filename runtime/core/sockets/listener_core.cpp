// Accepts, as on every back end.
#include "runtime/core/sockets/listener_core.hpp"

#include "weir/error.hpp"

namespace weir::detail {

void listener_core::start_accept(accept_operation& op) {
  op.socket->acceptors.push_back(op);
  accept_wanted(*op.socket, op);
}

void listener_core::cancel_accept(accept_operation& op) noexcept {
  auto& l = *op.socket;
  if (accepting_elsewhere(l, op)) return;
  end_accept(l, op, canceled_error());
  accept_unwanted(l);
}

void listener_core::close_listener(listener_socket& l) noexcept {
  for (auto* op = l.acceptors.front(); op != nullptr; op = l.acceptors.after(*op))
    accept_closed(*op);
  fail_acceptors(l, make_error_code(weir::error::closed));
  stop_listening(l);
}

}  // namespace weir::detail
