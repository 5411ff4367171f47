// Unix datagram sockets on whichever driver watches descriptors: plain calls that do not wait,
// tried first, as watched_transport's. A sender waits by the driver where it is connected; where it
// is not, nothing in the kernel tells when another's queue has room, and it tries again.
#pragma once

#include "runtime/backend/driver.hpp"
#include "runtime/backend/local_transport.hpp"
#include "weir/detail/timer.hpp"

namespace weir::detail {

class watched_datagrams final : public local_datagrams {
 public:
  explicit watched_datagrams(driver& completions) : driver_(completions) {}
  ~watched_datagrams() override;
  void attach(weir::shard& owner) { owner_ = &owner; }

  result<datagram_socket*> make(const unix_endpoint& local, const unix_endpoint* remote,
                                const unix_datagram_options& options) override;
  result<std::pair<datagram_socket*, datagram_socket*>> make_pair() override;
  result<datagram_socket*> adopt(unique_fd& bound) override;
  unix_endpoint local_name(const datagram_socket& s) const override;
  unix_endpoint remote_name(const datagram_socket& s) const override;
  bool passes_descriptors() const override { return true; }
  void expect_descriptors(datagram_socket& s, std::size_t most) override;
  std::vector<unique_fd> take_descriptors(datagram_socket& s) override;

  void start_receive(receive_datagram_operation& op) override;
  void start_send(send_datagram_operation& op) override;
  void cancel_receive(receive_datagram_operation& op) noexcept override;
  void cancel_send(send_datagram_operation& op) noexcept override;
  void close(datagram_socket& s) noexcept override;
  int native_handle(const datagram_socket& s) const noexcept override;

 private:
  struct socket;
  result<socket*> add(unique_fd& fd);
  bool try_receive(socket& s, receive_datagram_operation& op);
  bool try_send(socket& s, send_datagram_operation& op);
  void wait_for_room(socket& s);
  void go_on_sending(socket& s);
  static void send_again(timer_node& node) noexcept;

  struct clock : timer_node {
    explicit clock(watched_datagrams& d) : timer_node(&watched_datagrams::send_again), of(&d) {}
    watched_datagrams* of;
  };

  driver& driver_;
  weir::shard* owner_ = nullptr;
  stack::intrusive_list<socket> all_;
  clock again_{*this};
};

}  // namespace weir::detail
