// Tells when a TUN device is deleted. A read that waits for it cannot be relied on to say so: Linux
// wakes the readers before it takes the device away (tun_detach_all), and one that looks in between
// finds nothing and waits on. So the routing socket is listened to as well, and the device asked.
#pragma once

#include <memory>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/watch.hpp"
#include "stack/device/descriptor.hpp"

namespace weir::detail {

class device_watch final : private watch_client {
 public:
  /// Watches nothing where `device` is no TUN device, or the system says nothing of its links.
  /// `receiver`, which outlives this, is told of a failed device once.
  device_watch(driver& through, int device, packet_receiver& receiver);

 private:
  void readable() override;
  void writable() override {}
  /// Whether the device behind the descriptor is there.
  bool attached() const;

  packet_receiver& receiver_;
  int device_;
  stack::descriptor links_;
  std::unique_ptr<watch> watch_;  // ends before what it watches is closed
};

}  // namespace weir::detail
