// Our stack behind an impaired wire, on a thread of its own, with the kernel of this namespace on
// the other end of the wire. It echoes on port 7 and, when asked, opens connections to the kernel
// and exchanges a pattern over each. The host is driven directly, without the runtime: it is the
// stack that is looked at here.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernel/impaired_wire.hpp"
#include "sim/end_user.hpp"
#include "weir/stack/host.hpp"

namespace kernel_test {

struct peer_options {
  weir::sim::link_options way;  ///< of both directions
  std::uint64_t seed = 1;
  std::uint16_t mtu = 1500;
  weir::stack::tcp_options tcp;
};

class stack_peer {
 public:
  static constexpr const char* address_v4 = "198.18.0.2";
  static constexpr const char* address_v6 = "fd00:198:18::2";
  static constexpr const char* kernel_v4 = "198.18.0.1";
  static constexpr const char* kernel_v6 = "fd00:198:18::1";

  explicit stack_peer(const peer_options& options);
  /// Stops and joins.
  ~stack_peer();

  /// Opens one connection for each plan to the kernel's echo server at `port`, all at once, and
  /// waits for their end. An error text, or nothing.
  std::string exchange_with_kernel(const std::vector<sim_test::end_plan>& plans, bool v6,
                                   std::uint16_t port);
  /// Waits until no connection is left and all memory is given back, TIME_WAIT included; what is
  /// left after `limit`, or nothing.
  std::string come_to_rest(std::chrono::seconds limit);
  /// Of both directions, what the wire did.
  weir::sim::link_counters counters();

 private:
  struct echo {
    bool shut = false;
  };
  class card;

  void main();
  void on_thread(const std::function<void()>& f);
  void turn();
  void serve(weir::stack::socket_id id, echo& session);
  void take_events();

  peer_options options_;
  impaired_wire wire_;
  std::unique_ptr<weir::stack::tun_device> device_;
  std::unique_ptr<card> card_;
  std::unique_ptr<weir::stack::host> host_;
  weir::sim::link* link_ = nullptr;
  std::map<weir::stack::socket_id, echo> echoes_;
  std::map<weir::stack::socket_id, std::size_t> by_id_;
  std::vector<sim_test::end_user> users_;
  std::atomic<bool> stop_ = false;
  std::atomic<const std::function<void()>*> call_ = nullptr;
  std::thread thread_;
};

}  // namespace kernel_test
