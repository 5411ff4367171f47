// What a shard reaches beside its sockets: what makes the shard (run(), the simulator) gives it
// these. Null: operation_not_supported.
#pragma once

#include <memory>
#include <vector>

#include "weir/detail/offloading.hpp"

namespace weir {
class shard;
}

namespace weir::detail {

class file_caller;
class file_system;
class local_transport;

struct surroundings {
  std::shared_ptr<offloader> pool;
  std::shared_ptr<file_system> files;
  file_caller* file_calls = nullptr;        ///< the driver's
  std::shared_ptr<local_transport> locals;  ///< Unix sockets, pipes
  std::vector<shard*> siblings;             ///< of one run(), by index; alone at first
};

}  // namespace weir::detail
