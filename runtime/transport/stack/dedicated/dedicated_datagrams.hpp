// UDP sockets on a dedicated stack, as their shard sees them. Opening, connecting and closing wait
// for the stack's answer. A receive takes what the stack has shown, or waits to be shown something.
// Sends are with the stack until it says that they are over; one that was given up there is over as
// soon.
#pragma once

#include <memory>

#include "runtime/transport/stack/dedicated/datagram_record.hpp"

namespace weir::detail {

class dedicated_datagrams final : public datagram_transport {
 public:
  dedicated_datagrams() = default;
  ~dedicated_datagrams() override;

  void attach(weir::shard& owner, std::shared_ptr<channel> way);
  /// The stack has closed all sockets, and hears no more of them.
  void detach() { channel_ = nullptr; }
  std::size_t sockets() const { return all_.size(); }
  void take(const down_note& note);

  result<datagram_socket*> open(const endpoint& local, const endpoint* remote,
                                const udp_options& options) override;
  std::error_code connect(datagram_socket& socket, const endpoint& remote) override;
  void start_receive(receive_datagram_operation& op) override;
  void start_send(send_datagram_operation& op) override;
  void cancel_receive(receive_datagram_operation& op) noexcept override;
  void cancel_send(send_datagram_operation& op) noexcept override;
  void close(datagram_socket& socket) noexcept override;

 private:
  using socket = dedicated_datagram_socket;

  const stack::lent_datagram* next(socket& s);
  std::size_t receive_batch(socket& s, std::span<incoming_datagram> into);
  bool try_receive(socket& s, receive_datagram_operation& op);
  void hand_over(socket& s);
  void sends_over(socket& s);
  void remove(socket& s) noexcept;

  weir::shard* owner_ = nullptr;
  std::shared_ptr<channel> channel_;
  stack::intrusive_list<dedicated_datagram_half> all_;  // closed ones until the stack says so
};

}  // namespace weir::detail
