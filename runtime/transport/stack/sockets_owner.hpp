// Who has a stack transport's host to himself: where the stack stands on a thread of its own, its
// sockets are not those of that thread but of other threads (dedicated/). The transport then keeps
// the device and the time, and hands all else on.
#pragma once

#include <system_error>

#include "runtime/observe/snapshot.hpp"
#include "weir/stack/sockets.hpp"

namespace weir::detail {

class sockets_owner {
 public:
  virtual void handle(const stack::event& what) = 0;
  /// No packet will ever come again.
  virtual void fail_everything(std::error_code error) = 0;
  /// Last in each turn of the loop.
  virtual void end_turn() = 0;
  virtual void observe(shard_snapshot& into, const snapshot_bounds& bounds) = 0;

 protected:
  ~sockets_owner() = default;
};

}  // namespace weir::detail
