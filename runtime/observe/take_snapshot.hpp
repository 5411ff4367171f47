// Asking one shard what it shows.
#pragma once

#include "runtime/observe/snapshot.hpp"

namespace weir {
class shard;
}

namespace weir::detail {

/// On the shard's own thread; in virtual time as well. A transport that shows nothing leaves its
/// part empty.
shard_snapshot take_snapshot(shard& of, const snapshot_bounds& bounds);

}  // namespace weir::detail
