// What every transport does alike with a listener: who waits for a connection is served in order,
// and all of them are told when it is closed. A transport derives from it and keeps what its kernel
// or stack makes different: where connections come from.
#pragma once

#include <system_error>

#include "weir/detail/home.hpp"

namespace weir::detail {

class listener_core {
 public:
  void start_accept(accept_operation& op);
  void cancel_accept(accept_operation& op) noexcept;
  /// Whoever waits gets error::closed.
  void close_listener(listener_socket& l) noexcept;

 protected:
  ~listener_core() = default;

  /// This one waits now, the last in the queue: hand_out() or fail_acceptors() follows, from inside
  /// or later.
  virtual void accept_wanted(listener_socket& l, accept_operation& op) = 0;
  /// Whether a connection may be on its way to this very accept, which then ends with it, or with
  /// end_accept(); it hurries.
  virtual bool accepting_elsewhere(listener_socket&, accept_operation&) noexcept { return false; }
  /// One of those who waited has gone.
  virtual void accept_unwanted(listener_socket&) noexcept {}
  /// The listener is closed: this accept ends now, whatever was on its way to it.
  virtual void accept_closed(accept_operation&) noexcept {}
  /// The handle is gone, nobody waits.
  virtual void stop_listening(listener_socket& l) noexcept = 0;

  /// The connection is that of whoever waited longest. Somebody waits.
  static void hand_out(listener_socket& l, socket_base& connection) {
    hand_out(l, connection, *l.acceptors.front());
  }
  /// Or of this one.
  static void hand_out(listener_socket& l, socket_base& connection, accept_operation& op) {
    op.accepted = &connection;
    end_accept(l, op, {});
  }
  static void end_accept(listener_socket& l, accept_operation& op, std::error_code why) noexcept {
    l.acceptors.remove(op);
    op.complete(why);
  }
  static void fail_acceptors(listener_socket& l, std::error_code why) noexcept {
    while (auto* op = l.acceptors.pop_front()) op->complete(why);
  }
};

}  // namespace weir::detail
