// UDP sockets of the kernel through io_uring: one request for each operation, with its message
// header in the operation's own frame, so that a datagram allocates nothing and costs no system
// call of its own. A request that cannot be carried out at once waits in the kernel.
#pragma once

#include "runtime/driver/uring/uring_driver.hpp"
#include "runtime/observe/snapshot.hpp"
#include "weir/descriptor.hpp"
#include "weir/detail/datagram.hpp"

namespace weir::detail {

class uring_transport;

class uring_datagrams final : public datagram_transport {
 public:
  uring_datagrams(uring_transport& home, uring_driver& driver) : home_(home), driver_(driver) {}
  ~uring_datagrams() override;

  void attach(weir::shard& owner) { owner_ = &owner; }
  std::size_t open_sockets() const { return all_.size(); }
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) const;

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
  struct socket;
  socket& add(unique_fd fd);
  struct receive_request;
  struct send_request;

  static void received(ring_client& c, unsigned tag, std::int32_t result,
                       std::uint32_t flags) noexcept;
  static void sent(ring_client& c, unsigned tag, std::int32_t result, std::uint32_t flags) noexcept;
  void drop(socket& s) noexcept;
  void submit(receive_request& r) noexcept;
  void submit(send_request& r) noexcept;
  template <class Request>
  bool try_batch(Request& r) noexcept;
  template <class Request>
  void wait_for(Request& r, std::uint32_t events) noexcept;
  template <class Request>
  void polled(Request& r, std::int32_t result) noexcept;
  void finish_batch(receive_request& r, std::error_code error) noexcept;
  void finish_batch(send_request& r, std::error_code error) noexcept;

  uring_transport& home_;
  uring_driver& driver_;
  weir::shard* owner_ = nullptr;
  stack::intrusive_list<socket> all_;
};

}  // namespace weir::detail
