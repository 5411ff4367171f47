// UDP sockets on our own stack. A receive takes what is queued, or waits for the stack's event; a
// send is handed to the device before it returns, so none ever waits. Makes no system call.
#pragma once

#include <system_error>

#include "runtime/observe/snapshot.hpp"
#include "weir/detail/datagram.hpp"
#include "weir/stack/host.hpp"

namespace weir::detail {

class stack_datagrams final : public datagram_transport {
 public:
  /// All outlive this. `now` is the latest instant that the host has seen, kept by both.
  stack_datagrams(stack::host& host, instant& now) : host_(host), now_(now) {}
  ~stack_datagrams() override;

  void attach(weir::shard& owner) { owner_ = &owner; }
  std::size_t sockets() const { return all_.size(); }
  /// An event of a UDP socket.
  void handle(const stack::event& what);
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) const;
  /// No packet will ever come again.
  void fail_everything(std::error_code error);

  result<datagram_socket*> open(const endpoint& local, const endpoint* remote,
                                const udp_options& options) override;
  std::error_code connect(datagram_socket& socket, const endpoint& remote) override;
  void start_receive(receive_datagram_operation& op) override;
  void start_send(send_datagram_operation& op) override;
  void cancel_receive(receive_datagram_operation& op) noexcept override;
  void cancel_send(send_datagram_operation&) noexcept override {}
  void close(datagram_socket& socket) noexcept override;
  result<flow_listener_socket*> listen_any(const any_destination& where,
                                           const udp_flow_options& options) override;
  void start_accept(accept_flow_operation& op) override;
  void close_listener(flow_listener_socket& listener) noexcept override;
  void refuse(datagram_socket& socket, std::error_code why) noexcept override;
  void tell_too_long(datagram_socket& socket, std::uint16_t mtu) noexcept override;

 private:
  struct socket;
  struct flow_listener;

  socket& add(stack::socket_id id);
  void serve(flow_listener& l);
  bool try_receive(const socket& s, receive_datagram_operation& op);
  result<std::size_t> receive_batch(const socket& s, std::span<incoming_datagram> into);
  instant clock();

  stack::host& host_;
  instant& now_;
  weir::shard* owner_ = nullptr;
  stack::intrusive_list<socket> all_;
  stack::intrusive_list<flow_listener> flow_listeners_;
  std::error_code device_error_;
};

}  // namespace weir::detail
