// A TUN or TAP device: makes or joins it, gives the kernel's end its addresses and routes,
// negotiates offloads. Packets are read and written by the runtime's drivers through fd(); there is
// no I/O loop here. Each read and write carries one packet, or one Ethernet frame of a TAP device,
// behind the ten bytes of vnet_header.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "stack/device/descriptor.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/result.hpp"

namespace weir::stack {

/// What a device carries: IP packets (TUN) or Ethernet frames (TAP).
enum class device_kind : std::uint8_t { ip, ethernet };

struct tun_options {
  std::string name = "weir0";  ///< at most 15 characters; made if it is not there
  std::vector<ip_prefix>
      host_addresses;  ///< of the kernel's end: its subnets are reached through the device
  std::vector<ip_prefix>
      routes;  ///< further destinations behind it: addresses of the stack elsewhere
  /// Who passes on what `routes` lead to, on an Ethernet link; without one it lies on the link.
  std::optional<ip_address> router_v4, router_v6;
  device_kind kind = device_kind::ip;  ///< of a device that is made; one that exists has its own
  std::uint16_t mtu = 1500;
  /// Packets from the kernel that may wait; beyond it the kernel drops.
  std::uint32_t queue_length = 16384;
  bool multi_queue = false;      ///< more than one queue: another_queue()
  bool checksum_offload = true;  ///< false: every checksum is computed and verified by the stack
  /// False: no super-segments, either way; needs checksum_offload.
  bool segmentation_offload = true;
};

/// One queue of a TUN device. Closing the last one removes a device that was made here.
class tun_device {
 public:
  /// Makes the device, or joins it where it exists: then its addresses, routes and MTU are left as
  /// they are. On error `why` says in a sentence what stands in the way and what to do.
  static result<tun_device> open(const tun_options& options, std::string& why);
  /// A queue that another program opened, and what that one negotiated. Errors as open()'s.
  static result<tun_device> adopt(descriptor queue, bool checksum_offload,
                                  bool segmentation_offload, std::string& why);
  /// A further queue of the same device, which must have been opened with multi_queue.
  result<tun_device> another_queue(std::string& why) const;
  /// The same queue once more, for somebody who writes to it beside its reader.
  result<tun_device> duplicate(std::string& why) const;

  tun_device(tun_device&&) = default;
  tun_device& operator=(tun_device&&) = default;

  /// Non-blocking: who polls reads until there is nothing more, and io_uring waits for such a file
  /// too.
  int fd() const { return file_.get(); }
  const std::string& name() const { return name_; }
  device_kind kind() const { return kind_; }
  /// Of the link: an existing device's may differ from the one that was asked for.
  std::uint16_t mtu() const { return mtu_; }
  bool created() const { return created_; }
  /// What was negotiated: less than what was asked for where the kernel is older.
  bool checksum_offload() const { return checksum_offload_; }
  bool segmentation_offload() const { return segmentation_offload_; }
  /// Packets that the kernel dropped since the device was made because no room was left in its
  /// queues.
  std::optional<std::uint64_t> kernel_drops() const;

 private:
  tun_device() = default;
  std::error_code attach(const tun_options& options, std::string& why);
  bool attach_as(device_kind kind, const tun_options& options);
  std::error_code negotiate(std::string& why);
  std::error_code configure(const tun_options& options, std::string& why);

  descriptor file_;
  std::string name_;
  int index_ = 0;
  device_kind kind_ = device_kind::ip;
  std::uint16_t mtu_ = 0;
  bool multi_queue_ = false;
  bool created_ = false;
  bool checksum_offload_ = false;
  bool segmentation_offload_ = false;
};

}  // namespace weir::stack
