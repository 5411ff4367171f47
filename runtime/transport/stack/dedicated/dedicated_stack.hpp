// What a dedicated stack is to the shards that it serves: the shard of its own thread, and there
// the service that answers them. Whoever runs the thread derives from it
// (run/dedicated_thread.hpp).
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "runtime/transport/stack/dedicated/stack_service.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

class dedicated_stack {
 public:
  virtual ~dedicated_stack() = default;

  weir::shard& shard() { return *shard_; }
  stack_service& service() { return *service_; }

 protected:
  weir::shard* shard_ = nullptr;
  stack_service* service_ = nullptr;
};

/// Of a family whose stack has a thread of its own.
struct dedicated_family {
  std::mutex mutex;
  std::shared_ptr<dedicated_stack> stack;
  std::optional<int> core;  ///< to pin it to
};

}  // namespace weir::detail
