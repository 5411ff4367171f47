// The stack's own thread: one shard that runs no coroutine, with a TUN device, a host and the
// service (stack_service) at which other shards' transports ask. Made by the first shard that needs
// it; ends when the last one has let go of it, once what closed connections had to deliver is
// delivered, or has had its time.
#pragma once

#include <future>
#include <memory>
#include <optional>
#include <thread>

#include "runtime/backend/driver.hpp"
#include "runtime/transport/stack/dedicated/dedicated_stack.hpp"
#include "weir/config.hpp"

namespace weir::detail {

class dedicated_thread final : public dedicated_stack {
 public:
  using driver_factory = std::unique_ptr<driver> (*)(const config&);

  /// Returns when the device is there. `core` pins the thread, where there is one. Throws what
  /// making a stack transport throws.
  dedicated_thread(const config& settings, driver_factory make_driver, std::optional<int> core);
  ~dedicated_thread() override;
  dedicated_thread(const dedicated_thread&) = delete;
  dedicated_thread& operator=(const dedicated_thread&) = delete;

 private:
  void main(std::promise<void> made);

  config settings_;
  driver_factory make_driver_;
  std::optional<int> core_;
  unsigned index_;
  bool asked_to_end_ = false;  // its own thread only
  std::thread thread_;
};

}  // namespace weir::detail
