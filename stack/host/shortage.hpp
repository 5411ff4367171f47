// Whom a shortage of memory costs his connection. Large queues stop growing at seven eighths of the
// host's memory (buffer::memory_account); the rest keeps handshakes, what arrives and small sends
// going. So that peers who take nothing cannot hold that state for good, a host that is short
// resets connections, until an eighth of what large queues may use is free again: first those that
// were closed by their users, the oldest first, then the fullest of those whose queues made no
// progress. How patient it is depends on how short it is; whether it resets at all is the policy's
// to say.
#pragma once

#include <cstdint>
#include <vector>

#include "stack/host/flows.hpp"

namespace weir::stack {

class shortage_relief {
 public:
  shortage_relief(host_core& core, flows& flows) : core_(core), flows_(flows) {}

  /// Looks whether there is a shortage, and does something about it.
  void relieve(instant now);
  /// When it must look again; never() while there is no shortage.
  instant next() const { return next_; }

 private:
  struct queue_size {
    std::uint32_t index, charged;
  };

  void reset_orphans(instant now, duration stalled);
  void reset_fullest(instant now, duration stalled, buffer::shortage enough);

  host_core& core_;
  flows& flows_;
  instant next_ = instant::never();
  std::uint32_t looked_to_ = 0;  // how far it came among the connections
  std::vector<queue_size> stalled_;
};

}  // namespace weir::stack
