// UDP for servers and clients: udp_socket, made by shard::bind_udp() and shard::connect_udp(). The
// same on every back end; docs/backends.md lists what one of them cannot honour.
//
//   weir::task<> echo(weir::shard& shard) {
//     auto socket = shard.bind_udp({"127.0.0.1", 7});
//     std::vector<std::byte> buffer(weir::udp_socket::max_payload);
//     while (auto got = co_await socket.receive_from(buffer))   // ends once shutdown is requested
//       (void)co_await socket.send_to(std::span(buffer).first(got.n), got.from).nothrow();
//   }
//
// A server that answers whomever it hears uses nothrow(): the sender's address and port are what
// the packet said, and may be impossible to answer (a port of 0).
//
// Every operation is awaited on the shard that owns the socket. Each throws io_error; .nothrow()
// hands the error back instead; .timeout(d) bounds it (timed_out). Cancelling (a scope's, a
// timeout's) ends a wait with operation_canceled unless the result was there first. Buffers are the
// caller's and are in use until the co_await returns. Datagrams may be lost, doubled and reordered
// on their way, and silently: that is UDP (RFC 8085 tells what an application has to do about it).
#pragma once

#include <cassert>
#include <span>
#include <string_view>
#include <utility>

#include "weir/detail/udp_awaiters.hpp"

namespace weir {

/// A UDP socket, bound to an address and port, and where wanted connected to one remote. Move-only;
/// closes when it goes, and what was received and not read goes with it. At most one receive at a
/// time (device_or_resource_busy); sends may overlap, each is a datagram of its own.
class udp_socket {
 public:
  /// The most that one datagram carries, in bytes.
  static constexpr std::size_t max_payload_v4 = 65507;
  static constexpr std::size_t max_payload_v6 = 65527;
  static constexpr std::size_t max_payload = max_payload_v6;  ///< a buffer that cuts nothing short
  /// Datagrams that one outgoing_datagram may be cut into, and that one receive_batch() gives.
  static constexpr std::size_t max_segments = 64;
  static constexpr std::size_t max_batch = 64;

  udp_socket() = default;
  explicit udp_socket(detail::datagram_socket& socket) : socket_(&socket) {}
  udp_socket(udp_socket&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  udp_socket& operator=(udp_socket&& other) noexcept {
    if (this != &other) {
      close();
      socket_ = std::exchange(other.socket_, nullptr);
    }
    return *this;
  }
  ~udp_socket() { close(); }

  explicit operator bool() const { return socket_ != nullptr; }

  /// The next datagram, from whomever; waits for one. Gives how long it is (which may be 0) and who
  /// sent it. On a socket without a remote it is false once the shard was asked to stop, as an
  /// accept() is: ec is error::closed, and nothing is thrown.
  /// Errors: message_size (the datagram is longer than the buffer: what fits is there, the rest is
  /// lost; nothrow tells n and size), connection_refused (connected sockets only, once: an earlier
  /// datagram met no socket), timed_out, invalid_argument (an empty buffer; udp_options::gro, which
  /// takes receive_batch()).
  detail::request<detail::receive_datagram_awaiter> receive_from(std::span<std::byte> into) {
    return receive(into, false, "receive_from");
  }
  /// The same on a connected socket: what its remote sent. A shard's stop does not end it. Errors:
  /// as receive_from(), and not_connected.
  detail::request<detail::receive_datagram_awaiter> receive(std::span<std::byte> into) {
    return receive(into, true, "receive");
  }

  /// Sends one datagram, whole. Gives its size. Returns when the back end has taken it, which says
  /// nothing of its arrival. On kernel sockets it waits while the socket's send buffer is full, on
  /// a dedicated stack for that thread (bound it by .timeout()); on an inline stack never. Larger
  /// than the path's MTU, it leaves in fragments. Errors: message_size (over max_payload),
  /// no_buffer_space (the device has no room: this one is lost, later ones may pass),
  /// invalid_argument (port 0; an unspecified, multicast or broadcast address),
  /// address_family_not_supported, network_unreachable, already_connected.
  detail::request<detail::send_datagram_awaiter> send_to(std::span<const std::byte> bytes,
                                                         const endpoint& to) {
    return send({&socket(), bytes, to, false, "send_to"});
  }
  detail::request<detail::send_datagram_awaiter> send_to(std::string_view text,
                                                         const endpoint& to) {
    return send_to(std::as_bytes(std::span(text)), to);
  }
  /// The same to the remote of a connected socket. Errors: as send_to(), not_connected, and
  /// connection_refused (once, for an earlier datagram; this one is not sent).
  detail::request<detail::send_datagram_awaiter> send(std::span<const std::byte> bytes) {
    return send({&socket(), bytes, {}, true, "send"});
  }
  detail::request<detail::send_datagram_awaiter> send(std::string_view text) {
    return send(std::as_bytes(std::span(text)));
  }

  /// Takes what waits, in one call: as many as there is room for (at most max_batch), one at least,
  /// for which it waits. Gives how many; they are in the first of `into`, whose order may have
  /// changed. On a socket without a remote it is 0 once the shard was asked to stop. A datagram
  /// that was longer than its buffer is no error here: its size says so. With udp_options::gro a
  /// buffer holds max_payload bytes, or loses what is beyond. Errors: connection_refused as
  /// receive_from(), timed_out, invalid_argument (no room, or a buffer without any).
  detail::request<detail::receive_batch_awaiter> receive_batch(std::span<incoming_datagram> into) {
    return detail::request<detail::receive_batch_awaiter>({&socket(), into});
  }
  /// Sends all of them, in order, in as few calls as can be. Gives how many. An error is about the
  /// one that comes next, and those before it were sent: nothrow tells both. Errors: those of
  /// send_to() and send(); message_size too where `segment` makes more than max_segments of one, or
  /// is more than the path takes; address_not_available and no_such_device of `from`,
  /// address_family_not_supported.
  detail::request<detail::send_batch_awaiter> send_batch(
      std::span<const outgoing_datagram> datagrams) {
    return detail::request<detail::send_batch_awaiter>({&socket(), datagrams});
  }

  /// Ties the socket to one remote, or to another one: only its datagrams are received from now on,
  /// and its refusals are reported. Sends nothing, so nothing is awaited. Throws io_error:
  /// invalid_argument, address_family_not_supported, network_unreachable, device_or_resource_busy
  /// (an operation is pending).
  void connect(const endpoint& remote);
  void connect(const endpoint& remote, std::error_code& error) noexcept;

  /// close(), and the remote of a flow (udp_flow_listener) is told by ICMP that its datagrams lead
  /// nowhere: `why` as connection_request::refuse() takes it, port unreachable for everything else.
  void refuse(std::error_code why = std::make_error_code(std::errc::connection_refused)) noexcept;
  /// The remote of a flow is told by ICMP that no packet of more than `mtu` bytes gets to where it
  /// sends (stack; elsewhere nothing happens). The flow goes on.
  void tell_too_long(std::uint16_t mtu) noexcept;
  /// What the destructor does; the port is free afterwards. No operation may be pending (asserted).
  void close() noexcept;

  endpoint local_endpoint() const { return socket().local; }
  /// The default endpoint while not connected.
  endpoint remote_endpoint() const { return socket().connected ? socket().remote : endpoint{}; }
  bool connected() const { return socket().connected; }
  shard& owner() const { return *socket().owner; }
  /// As any_stream's.
  int native_handle() const { return detail::native_handle_of(socket()); }

 private:
  detail::request<detail::receive_datagram_awaiter> receive(std::span<std::byte> into,
                                                            bool connected_only, const char* name) {
    return detail::request<detail::receive_datagram_awaiter>(
        {&socket(), into, connected_only, name});
  }
  static detail::request<detail::send_datagram_awaiter> send(
      const detail::send_datagram_awaiter::arguments& of) {
    return detail::request<detail::send_datagram_awaiter>(of);
  }
  detail::datagram_socket& socket() const {
    assert(socket_ != nullptr && "the socket was moved from or closed");
    return *socket_;
  }
  detail::datagram_socket* socket_ = nullptr;
};

/// Takes others' datagrams (shard::listen_any_udp()). Each pair of endpoints is a flow: a
/// udp_socket that is connected to who sent, with what it was sent to as its local endpoint, and
/// the datagram in its queue. A flow that is idle for too long is over: its socket's receive() says
/// timed_out, and the next datagram begins another. Move-only; flows that nobody accepted go with
/// it.
class udp_flow_listener {
 public:
  udp_flow_listener() = default;
  explicit udp_flow_listener(detail::flow_listener_socket& socket) : socket_(&socket) {}
  udp_flow_listener(udp_flow_listener&& other) noexcept
      : socket_(std::exchange(other.socket_, nullptr)) {}
  udp_flow_listener& operator=(udp_flow_listener&& other) noexcept {
    if (this != &other) {
      close();
      socket_ = std::exchange(other.socket_, nullptr);
    }
    return *this;
  }
  ~udp_flow_listener() { close(); }

  explicit operator bool() const { return socket_ != nullptr; }

  /// The next flow; empty once the shard was asked to stop.
  detail::request<detail::accept_flow_awaiter> accept() {
    assert(socket_ != nullptr && "the listener was moved from or closed");
    return detail::request<detail::accept_flow_awaiter>({socket_});
  }
  /// Whoever waits gets error::closed.
  void close() noexcept;

 private:
  detail::flow_listener_socket* socket_ = nullptr;
};

namespace detail {

inline result<std::optional<udp_socket>> accept_flow_awaiter::outcome() {
  if (accepted != nullptr) return std::optional<udp_socket>(udp_socket(*accepted));
  if (stopped_) return std::optional<udp_socket>();
  return final_error();
}
inline std::optional<udp_socket> accept_flow_awaiter::await_resume() {
  auto got = outcome();
  if (!got) throw io_error(got.error(), "accept");
  return std::move(*got);
}

}  // namespace detail

}  // namespace weir
