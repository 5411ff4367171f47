// /sockets: listeners and connections as JSON. A number that the back end does not know has no
// member. Times are microseconds, in members whose name ends in _us.
#pragma once

#include <string>

#include "runtime/observe/collector.hpp"
#include "runtime/observe/exposition.hpp"

namespace weir::detail {

/// Shows at most `connections` of each shard's connections.
std::string to_sockets_json(const process_snapshot& from, const process_facts& process,
                            std::size_t connections);

}  // namespace weir::detail
