// The datagram side of a transport: the interface between udp_socket and a back end. One per shard,
// called from that shard's thread only. What every back end must judge alike (destinations, sizes,
// whether a socket is connected) is judged above it, in runtime/core/udp.cpp.
//
// A socket is owned by its transport until close(). Operations live in the awaiting coroutine's
// frame, with scratch space for the transport, so that a datagram allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <type_traits>

#include "weir/datagram.hpp"
#include "weir/detail/operation.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/intrusive.hpp"
#include "weir/stack/result.hpp"

namespace weir {
struct any_destination;
class unix_endpoint;
struct udp_flow_options;
struct udp_options;
struct unix_sender;
}  // namespace weir

namespace weir::detail {

class datagram_transport;
struct accept_flow_operation;
struct receive_datagram_operation;

/// What a udp_socket sees of its socket. The transport derives its own.
struct datagram_socket {
  datagram_transport* at = nullptr;  // where it was opened
  weir::shard* owner = nullptr;
  receive_datagram_operation* receiver = nullptr;  // at most one waits
  std::uint32_t sends = 0;                         // under way
  ip_family family = ip_family::v4;
  bool connected = false;
  bool named = false;  // a Unix socket: names stand where endpoints do with UDP
  bool joins = false;  // what is received may be several datagrams in a row (udp_options::gro)
  std::uint8_t traffic_class = 0;  // of what is sent, without the ECN mark
  endpoint local;
  endpoint remote;  // while connected
};

/// Room for a kernel request: its header, one vector and an address.
struct datagram_scratch {
  static constexpr std::size_t size = 128;
  alignas(16) std::byte bytes[size];

  template <class T>
  T& as() {
    static_assert(sizeof(T) <= size && alignof(T) <= 16 && std::is_trivially_destructible_v<T>);
    return *reinterpret_cast<T*>(bytes);
  }
};

/// Takes one datagram, whose size is `size`; what is beyond `into` is lost. Where `batch` is not
/// empty, as many as wait and it has room for, one at least; `size` is how many.
struct receive_datagram_operation : operation {
  receive_datagram_operation(datagram_socket& s, std::span<std::byte> buffer, cancel_hook c)
      : operation(c), socket(&s), into(buffer) {}

  datagram_socket* socket;
  std::span<std::byte> into;
  std::span<incoming_datagram> batch;
  std::size_t size = 0;
  endpoint from;
  unix_sender* who = nullptr;  // of Unix sockets, instead of `from`
  datagram_scratch scratch;
};

/// Sends one datagram, whole or not at all; to `to`, or to the socket's remote. Where `batch` is
/// not empty, all of these; `sent` are, also with an error, which is about the next one.
struct send_datagram_operation : operation, stack::queue_link<> {
  send_datagram_operation(datagram_socket& s, std::span<const std::byte> payload,
                          const endpoint* destination, cancel_hook c)
      : operation(c), socket(&s), bytes(payload), to_remote(destination == nullptr) {
    if (destination != nullptr) to = *destination;
  }

  datagram_socket* socket;
  std::span<const std::byte> bytes;
  std::span<const outgoing_datagram> batch;
  std::size_t sent = 0;
  endpoint to;
  bool to_remote;
  // Of Unix sockets: instead of `to`, and what is passed.
  const unix_endpoint* name = nullptr;
  std::span<const int> descriptors;
  datagram_scratch scratch;
};

/// What a udp_flow_listener sees of its socket.
struct flow_listener_socket {
  datagram_transport* at = nullptr;
  weir::shard* owner = nullptr;
  stack::intrusive_queue<accept_flow_operation> acceptors;  // served in order
};

/// Takes the next flow.
struct accept_flow_operation : operation, stack::queue_link<> {
  accept_flow_operation(flow_listener_socket& s, cancel_hook c) : operation(c), socket(&s) {}

  flow_listener_socket* socket;
  datagram_socket* accepted = nullptr;
};

/// start_*() completes the operation before it returns, or later from the driver's turn; cancel_*()
/// makes a pending one complete soon. The transport keeps `receiver` and `sends` of its sockets.
class datagram_transport {
 public:
  virtual ~datagram_transport() = default;

  /// Binds. With `remote` the socket is connected to it from the start, and `local` may be
  /// unspecified (of the remote's family) without being a wildcard.
  /// Fills in `owner` and `local`.
  virtual result<datagram_socket*> open(const endpoint& local, const endpoint* remote,
                                        const udp_options& options) = 0;
  /// Nothing is received but from `remote` from now on, nor what waits already. `local` follows.
  virtual std::error_code connect(datagram_socket& socket, const endpoint& remote) = 0;
  virtual void start_receive(receive_datagram_operation& op) = 0;
  virtual void start_send(send_datagram_operation& op) = 0;
  virtual void cancel_receive(receive_datagram_operation& op) noexcept = 0;
  virtual void cancel_send(send_datagram_operation& op) noexcept = 0;
  /// No operation is pending (asserted by udp_socket). Its port is free when this returns.
  virtual void close(datagram_socket& socket) noexcept = 0;
  /// Flows to others' addresses. `owner` and `at` are filled in, of flows everything. An accept is
  /// in the queue of acceptors when it starts, and cancelled by leaving it.
  virtual result<flow_listener_socket*> listen_any(const any_destination&,
                                                   const udp_flow_options&) {
    return std::errc::operation_not_supported;
  }
  virtual void start_accept(accept_flow_operation&) {}
  virtual void close_listener(flow_listener_socket&) noexcept {}
  /// The socket's remote is told why nothing becomes of its datagrams, where that can be done.
  virtual void refuse(datagram_socket&, std::error_code) noexcept {}
  virtual void tell_too_long(datagram_socket&, std::uint16_t) noexcept {}
  /// -1 where there is none.
  virtual int native_handle(const datagram_socket&) const noexcept { return -1; }
};

/// Of runtime/core/udp.cpp. Throws operation_not_supported.
int native_handle_of(const datagram_socket& socket);

}  // namespace weir::detail
