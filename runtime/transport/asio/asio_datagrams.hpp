// UDP sockets of the kernel in the driver's set: non-blocking, plain system calls into the caller's
// own buffers, tried first; a wait begins only when the kernel has nothing to give or no room.
// Cancelling takes an operation off its queue, and it is over.
#pragma once

#include "runtime/driver/asio/watched_descriptor.hpp"
#include "runtime/observe/snapshot.hpp"
#include "weir/descriptor.hpp"
#include "weir/detail/datagram.hpp"

namespace weir::detail {

class asio_driver;
class asio_transport;

class asio_datagrams final : public datagram_transport {
 public:
  asio_datagrams(asio_transport& home, asio_driver& driver) : home_(home), driver_(driver) {}
  ~asio_datagrams() override;

  void attach(weir::shard& owner) { owner_ = &owner; }
  /// Sockets that were closed while the driver hands out what came.
  std::size_t closing() const { return closing_; }
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) const;
  /// Closes what is left, when the shard ends.
  void abandon() noexcept;

  result<datagram_socket*> open(const endpoint& local, const endpoint* remote,
                                const udp_options& options) override;
  /// One that somebody else opened. On an error it is still the caller's.
  result<datagram_socket*> adopt(unique_fd& bound);
  std::error_code connect(datagram_socket& socket, const endpoint& remote) override;
  void start_receive(receive_datagram_operation& op) override;
  void start_send(send_datagram_operation& op) override;
  void cancel_receive(receive_datagram_operation& op) noexcept override;
  void cancel_send(send_datagram_operation& op) noexcept override;
  void close(datagram_socket& socket) noexcept override;
  int native_handle(const datagram_socket& socket) const noexcept override;

 private:
  class socket;
  result<datagram_socket*> add(unique_fd& fd);

  asio_transport& home_;
  asio_driver& driver_;
  weir::shard* owner_ = nullptr;
  stack::intrusive_list<socket> all_;
  std::size_t closing_ = 0;
};

}  // namespace weir::detail
