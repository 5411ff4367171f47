// The guest's side: a process in a network namespace of its own, whose only way out is a TUN or TAP
// device that the gateway reads. The namespace and the device are made by a child of this process,
// which sends the device's descriptor up and then waits until the gateway is ready.
#pragma once

#include <sys/types.h>
#include <sys/wait.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/backend/driver.hpp"
#include "stack/device/tun_device.hpp"
#include "weir/descriptor.hpp"

namespace weir::gate {

/// The addresses on the device, and what the kernel's end of it is told.
struct guest_network {
  std::string device = "weir0";
  std::uint16_t mtu = 1500;
  bool offload = true;
  bool ethernet = false;  ///< a TAP device
  /// The device gets no addresses or routes: the guest asks for them. `guest` then says what it
  /// gets.
  bool asks = false;
  std::vector<ip_prefix> guest;  ///< the kernel's end
  /// What DHCPv6 gives to who asks. The guest may make an address for itself instead, so that this
  /// is not where it is known to be.
  std::optional<ip_address> leased_v6;
  std::vector<ip_prefix> gateway;  ///< the stack's
  std::vector<ip_address> dns;
};

/// The device as the gateway gets it: a descriptor, or what stands for one.
struct guest_device {
  unique_fd fd;
  std::function<std::unique_ptr<detail::packet_port>(detail::packet_receiver&)> open_port;
  std::uint16_t mtu = 0;
  bool checksum_offload = false, segmentation_offload = false;
};

/// Where the device is made.
struct guest_place {
  std::vector<std::string> command;  ///< run in new namespaces, or empty:
  pid_t of_process = 0;              ///< the namespaces of this process, or 0:
  std::string path;                  ///< the network namespace of this file
  bool resolv_conf = true;           ///< `command` sees an /etc/resolv.conf with our `dns`
};

/// A child that made the device. Killed with this process where it runs a command.
class guest {
 public:
  /// Throws config_error with what stands in the way and what to do. Before any other thread.
  guest(const guest_place& place, const guest_network& network);
  ~guest();
  guest(const guest&) = delete;
  guest& operator=(const guest&) = delete;

  guest_device take_device() { return std::move(device_); }
  /// The gateway is ready: the command starts. Throws io_error where it cannot be.
  void go();
  pid_t pid() const { return pid_; }
  /// Its status, once it has ended: an exit code, or 128 and the signal's number; -1 before.
  int poll() { return ask(WNOHANG); }
  /// Waits for it.
  int wait() { return ask(0); }

 private:
  int ask(int how);

  pid_t pid_ = -1;
  int status_ = -1;
  unique_fd line_;
  guest_device device_;
};

}  // namespace weir::gate
