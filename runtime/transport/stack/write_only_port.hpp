// The way out for a shard whose packets another shard reads: a device with fewer queues than
// shards. Writes at once to that shard's queue, which the kernel lets many threads do; never reads.
#pragma once

#include "runtime/backend/driver.hpp"

namespace weir::detail {

class write_only_port final : public packet_port {
 public:
  /// The descriptor stays the caller's.
  explicit write_only_port(int device) : device_(device) {}

  bool send(std::span<const std::span<const std::byte>> parts) override;
  const packet_port_counters& counters() const override { return counters_; }

 private:
  int device_;
  packet_port_counters counters_;
};

}  // namespace weir::detail
