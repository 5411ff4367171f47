// What a shard reaches beside its sockets: what makes the shard (run(), the simulator) gives it
// these. Null: operation_not_supported.
#pragma once

#include <memory>

#include "weir/detail/offloading.hpp"

namespace weir::detail {

struct surroundings {
  std::shared_ptr<offloader> pool;
};

}  // namespace weir::detail
