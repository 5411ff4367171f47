// The limits of the process that a shard may meet, in words for an error message.
#pragma once

#include <string>

namespace weir::detail {

std::string limit_on_open_files();     ///< "the limit on open files (RLIMIT_NOFILE, ulimit -n) ..."
std::string limit_on_locked_memory();  ///< of rings, where the kernel counts them
std::string limit_on_threads();

}  // namespace weir::detail
