// What a stack transport and the handing over of its device to another program know of each other.
// A device's input is one descriptor for each queue; who has given it away reads, in its place, the
// link: a packet socket on which the other program sends what belongs to nobody there.
#pragma once

#include <memory>

#include "runtime/backend/driver.hpp"

namespace weir {
class shard;
}

namespace weir::detail {

/// A transport, as whoever hands the device over sees it.
class input_owner {
 public:
  /// From now on `link` is read instead of the device; input_handover::given() follows. Called on
  /// its shard's thread. The descriptor stays the caller's until taken_back() was called.
  virtual void give_input(int link) = 0;

 protected:
  ~input_owner() = default;
};

/// The handing over of one device, shared by the transports of its queues. Outlives them.
class input_handover {
 public:
  virtual ~input_handover() = default;

  /// The transport that reads this queue runs on `owner` from now on; in its turn. That of queue 0
  /// lends its driver, until detach().
  virtual void attach(unsigned queue, input_owner& input, driver& through, shard& owner) = 0;
  virtual void detach(unsigned queue) noexcept = 0;

  // Of a transport, on its own thread.
  /// The device's queue is read no more.
  virtual void given() = 0;
  /// The other program has gone: the queue is read again, the link no more.
  virtual void taken_back(unsigned queue) = 0;
};

}  // namespace weir::detail
