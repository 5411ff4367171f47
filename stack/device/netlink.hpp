// The few requests to the kernel's routing socket (rtnetlink) that bring a device up and give it
// addresses: no program is run for them. Each is synchronous, and its error is the kernel's errno.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <system_error>

#include "stack/device/descriptor.hpp"
#include "weir/stack/address.hpp"

struct nlmsghdr;

namespace weir::stack {

/// What a link is at the moment.
struct link_state {
  std::uint16_t mtu = 0;
  bool up = false;
  std::uint64_t dropped = 0;  ///< packets of the kernel's that found the device's queue full
};

class netlink {
 public:
  /// Opens the socket in the caller's network namespace.
  netlink();
  std::error_code error() const { return error_; }

  std::error_code add_address(int interface_index, const ip_prefix& address);
  /// Through `router` where one is given; else whoever is asked for lies on the link itself.
  std::error_code add_route(int interface_index, const ip_prefix& destination,
                            const std::optional<ip_address>& router = {});
  std::error_code set_link(int interface_index, std::uint32_t mtu, std::uint32_t queue_length);
  std::error_code set_up(int interface_index);
  /// Keeps the kernel from giving the link an IPv6 address of its own choice.
  std::error_code no_generated_addresses(int interface_index);
  std::optional<link_state> query(int interface_index);
  /// Whether the kernel takes packets to `address` for its own by now: IPv6 addresses come to life
  /// in the background.
  bool is_local(const ip_address& address);

 private:
  class request;
  /// Sends and reads up to the acknowledgement, or up to the answer of type `wanted`, which `take`
  /// is given.
  std::error_code transact(request& r, std::uint16_t wanted = 0,
                           const std::function<void(const nlmsghdr&)>& take = {});

  descriptor socket_;
  std::error_code error_;
  std::uint32_t sequence_ = 0;
};

}  // namespace weir::stack
