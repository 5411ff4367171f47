// Unix datagram sockets of a simulated host: queues of memory and a table of names. Nothing is lost
// and nothing takes time; whoever sends to a full queue waits, as everywhere.
#pragma once

#include "runtime/backend/local_transport.hpp"

namespace weir::detail {

class sim_datagrams final : public local_datagrams {
 public:
  ~sim_datagrams() override;
  void attach(weir::shard& owner) { owner_ = &owner; }

  result<datagram_socket*> make(const unix_endpoint& local, const unix_endpoint* remote,
                                const unix_datagram_options& options) override;
  result<std::pair<datagram_socket*, datagram_socket*>> make_pair() override;
  unix_endpoint local_name(const datagram_socket& s) const override;
  unix_endpoint remote_name(const datagram_socket& s) const override;

  void start_receive(receive_datagram_operation& op) override;
  void start_send(send_datagram_operation& op) override;
  void cancel_receive(receive_datagram_operation& op) noexcept override;
  void cancel_send(send_datagram_operation& op) noexcept override;
  void close(datagram_socket& s) noexcept override;

 private:
  static constexpr std::size_t queue_limit = 64;  // datagrams
  static constexpr std::size_t longest = 128 * 1024;

  struct socket;
  socket& add(const unix_endpoint& name);
  socket* find(const unix_endpoint& name);
  bool try_receive(socket& s, receive_datagram_operation& op);

  weir::shard* owner_ = nullptr;
  stack::intrusive_list<socket> all_;
  unsigned names_drawn_ = 0;
};

}  // namespace weir::detail
