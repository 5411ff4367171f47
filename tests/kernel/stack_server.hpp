// The stack on a TUN device with echo, discard and chargen servers over TCP, and echo over UDP, on
// a thread of its own, for kernel clients to talk to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "weir/config.hpp"
#include "weir/stack/counters.hpp"

namespace kernel_test {

/// The stack's addresses: weir's defaults (RFC 2544's network), and one of IPv6.
inline constexpr const char* stack_v4 = "198.18.0.2";
inline constexpr const char* stack_v6 = "fd00:198:18::2";
inline constexpr std::uint16_t echo_port = 7, discard_port = 9, chargen_port = 19,
                               half_close_port = 20;

class stack_server {
 public:
  /// `driver` is "uring" or "asio"; throws where it cannot be had.
  explicit stack_server(const std::string& driver, weir::config settings = {});
  /// Stops and joins; then left_over() tells.
  ~stack_server();

  /// Runs `f` on the server's thread and waits for it.
  void on_shard(const std::function<void()>& f);
  /// Asks the stack, on its thread.
  std::uint64_t counter(weir::stack::counter c);
  std::size_t connections();
  /// Ends the servers and the thread; an error text, or nothing.
  std::string stop();

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// The drivers that this machine and this build allow.
bool driver_usable(const std::string& name);

}  // namespace kernel_test
