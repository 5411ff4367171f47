// Where Unix sockets, pipes and character devices live: the interface between a shard and what
// carries them (the descriptors that a driver watches; the simulator's memory). One for each shard,
// called from its thread only. Null where a shard has none.
#pragma once

#include <utility>
#include <vector>

#include "runtime/backend/transport.hpp"
#include "weir/descriptor.hpp"
#include "weir/detail/datagram.hpp"
#include "weir/detail/unix_awaiters.hpp"

namespace weir::detail {

/// Unix sockets that carry datagrams. Names stand in the operations where UDP has endpoints.
class local_datagrams : public datagram_transport {
 public:
  /// Connected when `remote` is given. `owner` and `local` are filled in, of datagram_socket.
  virtual result<datagram_socket*> make(const unix_endpoint& local, const unix_endpoint* remote,
                                        const unix_datagram_options& options) = 0;
  virtual result<std::pair<datagram_socket*, datagram_socket*>> make_pair() = 0;
  virtual unix_endpoint local_name(const datagram_socket& s) const = 0;
  virtual unix_endpoint remote_name(const datagram_socket& s) const = 0;

  virtual bool passes_descriptors() const { return false; }
  virtual void expect_descriptors(datagram_socket&, std::size_t) {}
  virtual std::vector<unique_fd> take_descriptors(datagram_socket&) { return {}; }
  virtual result<datagram_socket*> adopt(unique_fd&) { return std::errc::operation_not_supported; }

  // Of UDP.
  result<datagram_socket*> open(const endpoint&, const endpoint*, const udp_options&) final {
    return std::errc::operation_not_supported;
  }
  std::error_code connect(datagram_socket&, const endpoint&) final {
    return std::make_error_code(std::errc::operation_not_supported);
  }
};

class local_transport : public accepting_home {
 public:
  virtual void attach(weir::shard& owner) { set_owner(owner); }

  virtual result<listener_socket*> listen(const unix_endpoint& local,
                                          const unix_listen_options& options) = 0;
  virtual void start_connect(unix_connect_operation& op) = 0;
  virtual void cancel_connect(unix_connect_operation& op) noexcept = 0;
  virtual result<std::pair<socket_base*, socket_base*>> make_pair() = 0;

  virtual unix_endpoint local_name(const socket_base& s) const = 0;
  virtual unix_endpoint remote_name(const socket_base& s) const = 0;
  virtual unix_endpoint listener_name(const listener_socket& l) const = 0;
  virtual unix_credentials peer_of(const socket_base& s) const = 0;
  virtual void keep_path(listener_socket&) {}

  /// Of datagrams. Null where there is none.
  virtual local_datagrams* datagrams() { return nullptr; }

  /// What only descriptors can.
  virtual bool passes_descriptors() const { return false; }
  virtual void expect_descriptors(socket_base&, std::size_t) {}
  virtual std::vector<unique_fd> take_descriptors(socket_base&) { return {}; }
  virtual result<listener_socket*> adopt_listener(unique_fd&) {
    return std::errc::operation_not_supported;
  }
  virtual result<socket_base*> adopt_stream(unique_fd&) {
    return std::errc::operation_not_supported;
  }
  virtual result<socket_base*> adopt_pipe(unique_fd&) { return std::errc::operation_not_supported; }
  /// A connected stream socket of any family, whose flags stay as they are.
  virtual result<socket_base*> adopt_shared_socket(unique_fd&) {
    return std::errc::operation_not_supported;
  }
};

}  // namespace weir::detail
