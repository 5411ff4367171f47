// Unix datagram sockets: messages between processes of one machine, whole and in order, which wait
// for room and are never lost on their way. On every back end that runs on a machine; in a
// simulation within one host.
//
//   auto socket = weir::bind_datagrams(shard, weir::unix_endpoint("/run/app.log"));
//   while (auto got = co_await socket.receive_from(buffer))     // ends once shutdown is requested
//     log(std::span(buffer).first(got.n), got.from.credentials);
//
// The rules are udp_socket's (weir/udp.hpp), but for names in the place of endpoints. A pair, or a
// connected socket whose remote closes, learns of it by its next send (connection_refused).
#pragma once

#include <cassert>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/descriptor.hpp"
#include "weir/detail/unix_datagram_awaiters.hpp"

namespace weir {

/// Move-only; closes when it goes, and so does its path, unless another file stands there by then.
/// At most one receive at a time (device_or_resource_busy); sends may overlap.
class unix_datagram_socket {
 public:
  static constexpr std::size_t max_descriptors = 253;  // SCM_MAX_FD

  unix_datagram_socket() = default;
  explicit unix_datagram_socket(detail::datagram_socket& socket) : socket_(&socket) {}
  unix_datagram_socket(unix_datagram_socket&& other) noexcept
      : socket_(std::exchange(other.socket_, nullptr)) {}
  unix_datagram_socket& operator=(unix_datagram_socket&& other) noexcept {
    if (this != &other) {
      close();
      socket_ = std::exchange(other.socket_, nullptr);
    }
    return *this;
  }
  ~unix_datagram_socket() { close(); }

  explicit operator bool() const { return socket_ != nullptr; }

  /// As udp_socket's; `from` tells the sender's name, and who it was.
  detail::request<detail::unix_receive_awaiter> receive_from(std::span<std::byte> into) {
    return detail::request<detail::unix_receive_awaiter>({&socket(), into, false, "receive_from"});
  }
  detail::request<detail::unix_receive_awaiter> receive(std::span<std::byte> into) {
    return detail::request<detail::unix_receive_awaiter>({&socket(), into, true, "receive"});
  }

  /// Sends one datagram, whole, with copies of the descriptors if there are any; waits while the
  /// receiver's queue is full. Errors: message_size (more than the send buffer takes),
  /// no_such_file_or_directory, connection_refused (nobody is there, or no more),
  /// wrong_protocol_type (a stream socket is), permission_denied (the file's mode; it is connected
  /// to another socket), already_connected, invalid_argument (unnamed; more than max_descriptors),
  /// operation_not_supported (descriptors in a simulation).
  detail::request<detail::unix_send_awaiter> send_to(std::span<const std::byte> bytes,
                                                     const unix_endpoint& to,
                                                     std::span<const int> descriptors = {}) {
    return detail::request<detail::unix_send_awaiter>(
        {&socket(), bytes, to, false, descriptors, "send_to"});
  }
  detail::request<detail::unix_send_awaiter> send_to(std::string_view text,
                                                     const unix_endpoint& to) {
    return send_to(std::as_bytes(std::span(text)), to);
  }
  /// The same to the remote of a connected socket. Errors: as send_to(), not_connected.
  detail::request<detail::unix_send_awaiter> send(std::span<const std::byte> bytes,
                                                  std::span<const int> descriptors = {}) {
    return detail::request<detail::unix_send_awaiter>(
        {&socket(), bytes, {}, true, descriptors, "send"});
  }
  detail::request<detail::unix_send_awaiter> send(std::string_view text) {
    return send(std::as_bytes(std::span(text)));
  }

  /// As unix_stream's.
  void expect_descriptors(std::size_t most);
  std::vector<unique_fd> take_descriptors();

  /// What the destructor does. No operation may be pending (asserted).
  void close() noexcept;

  unix_endpoint local_endpoint() const;
  unix_endpoint remote_endpoint() const;  ///< unnamed while not connected, and of a pair
  bool connected() const { return socket().connected; }
  shard& owner() const { return *socket().owner; }
  /// As any_stream's.
  int native_handle() const { return detail::native_handle_of(socket()); }

 private:
  detail::datagram_socket& socket() const {
    assert(socket_ != nullptr && "the socket was moved from or closed");
    return *socket_;
  }
  detail::datagram_socket* socket_ = nullptr;
};

/// A socket with a name; an unnamed one gets an abstract name that is free. A file that a dead
/// socket left is removed, as unix_listener's. Errors: address_in_use, permission_denied.
unix_datagram_socket bind_datagrams(shard& here, const unix_endpoint& local,
                                    const unix_datagram_options& options = {});
result<unix_datagram_socket> try_bind_datagrams(shard& here, const unix_endpoint& local,
                                                const unix_datagram_options& options = {});

/// A socket that talks to `remote` only, under an abstract name that is free, so that it can be
/// answered. Errors: those of send_to().
unix_datagram_socket connect_datagrams(shard& here, const unix_endpoint& remote,
                                       const unix_datagram_options& options = {});
result<unix_datagram_socket> try_connect_datagrams(shard& here, const unix_endpoint& remote,
                                                   const unix_datagram_options& options = {});

/// Two sockets that are connected to each other (socketpair(2)), unnamed.
struct unix_datagram_pair {
  unix_datagram_socket first, second;
};
unix_datagram_pair make_datagram_pair(shard& here);
result<unix_datagram_pair> try_make_datagram_pair(shard& here);

/// One that somebody else opened; on every back end but the simulator. Its path stays when it goes.
unix_datagram_socket adopt_datagrams(shard& here, unique_fd&& fd);
result<unix_datagram_socket> try_adopt_datagrams(shard& here, unique_fd& fd);

}  // namespace weir
