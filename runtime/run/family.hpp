// The inside of weir::shard_family: what is shared between the shards of one program, each part
// with a lock of its own. Nothing here is touched by a transfer, only when sockets begin and end.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "device/tun_device.hpp"
#include "transport/kernel/listener_groups.hpp"
#include "weir/runtime.hpp"
#include "weir/stack/shards.hpp"

namespace weir::detail {

class dedicated_stack;

struct family {
  /// Of the stack's device. Shards join one after the other.
  std::mutex device;
  std::shared_ptr<stack::shard_set> shards;
  /// The queues that were opened, each its shard's.
  std::vector<std::weak_ptr<stack::tun_device>> queues;

  /// Where the stack has a thread of its own: that thread, and the core that it is pinned to.
  std::mutex dedicated_begin;
  std::shared_ptr<dedicated_stack> dedicated;
  std::optional<int> dedicated_core;

#if WEIR_WITH_URING || WEIR_WITH_ASIO
  kernel::listener_groups listeners;
#endif
};

}  // namespace weir::detail
