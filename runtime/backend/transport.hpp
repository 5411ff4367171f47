// Where sockets live: the interface between a shard and a back end (kernel sockets through
// io_uring, kernel sockets through Asio, our own stack). One transport per shard; it is called from
// that shard's thread only. What all of them do alike is in core/sockets, which they derive from.
#pragma once

#include <cstddef>
#include <string_view>

#include "runtime/core/sockets/listener_core.hpp"
#include "runtime/core/sockets/stream_core.hpp"
#include "weir/options.hpp"
#include "weir/stack/result.hpp"

namespace weir::detail {

class datagram_transport;

/// A home that listeners are at.
class accepting_home : public stream_core, public listener_core {
 public:
  /// Of a listener; -1 where there is none.
  virtual int native_listener(const listener_socket&) const noexcept { return -1; }
  /// Of one without a descriptor: whether another program that listens there too gets what comes
  /// (stack.handover).
  virtual bool successor_listens() const noexcept { return false; }
  /// As tcp_listener says it.
  virtual bool leave_to_others(listener_socket&) noexcept { return true; }

  // Requests that its listeners gave out (weir/request.hpp).
  virtual void start_answer(answer_operation& op) {
    op.complete(std::make_error_code(std::errc::operation_not_supported));
  }
  virtual void cancel_answer(answer_operation&) noexcept {}
  /// The request is the home's again, and over.
  virtual void refuse_request(socket_base&, std::error_code) noexcept {}

 protected:
  /// A socket of this home's.
  template <class Socket>
  Socket& at_home(Socket& s) {
    s.at = this;
    return s;
  }
};

class transport : public accepting_home {
 public:
  /// Called once by the shard that owns this transport, before anything else.
  virtual void attach(weir::shard& owner) { set_owner(owner); }
  /// "uring", "asio", "stack", "sim".
  virtual std::string_view name() const = 0;

  virtual result<listener_socket*> listen(const endpoint& local, const listen_options& options) = 0;
  /// For others' addresses.
  virtual result<listener_socket*> listen_any(const any_destination&, const listen_options&) {
    return std::errc::operation_not_supported;
  }
  /// Whether listeners can ask before they answer (listen_options::ask).
  virtual bool asks() const noexcept { return false; }
  /// Whether its sockets are this machine's, which have interfaces and zones.
  virtual bool on_kernel() const noexcept { return false; }
  /// What it is to connect to was judged (core/sockets/arguments.hpp).
  virtual void start_connect(connect_operation& op) = 0;
  virtual void cancel_connect(connect_operation& op) noexcept = 0;

  /// Where the datagram sockets live (weir/detail/datagram.hpp); null where there are none.
  virtual datagram_transport* datagrams() noexcept { return nullptr; }

  /// Before the shard waits: send what is due, run the transport's own timers. Called once per turn
  /// of the loop.
  virtual void before_wait(instant now) = 0;
  /// When before_wait() must run again at the latest.
  virtual instant next_deadline() const = 0;
  /// Sockets that were given up and are not gone yet; a shard ends only when none is left.
  virtual std::size_t closing() const = 0;
  /// The shard ends now: whatever is still closing is reset.
  virtual void abandon() noexcept = 0;
  /// Why no socket works here any more, and none ever will: the stack's device is gone.
  virtual std::error_code failure() const noexcept { return {}; }

 protected:
  /// The connection is made. One that met itself (a port of our own that happened to be chosen as
  /// the local one) is refused: nobody listens there.
  void connected(connect_operation& op, socket_base& s) {
    if (local_endpoint(s) == op.remote) {
      give_up(s, true);
      return op.complete(std::make_error_code(std::errc::connection_refused));
    }
    op.connected = &s;
    op.complete();
  }
};

inline accepting_home& home_of_listener(const socket_base& listener) {
  return static_cast<accepting_home&>(*listener.at);
}

}  // namespace weir::detail
