// Cores for shards that are to be pinned.
#pragma once

#include <vector>

namespace weir::detail {

/// The cores of `shards` shards, and then, where it has a thread, of the stack, out of those that
/// the process may use. Throws config_error when there are fewer.
std::vector<int> cores_for(unsigned shards, bool dedicated_stack = false);
/// Throws config_error.
void pin_this_thread(int core);

}  // namespace weir::detail
