// /recorder: the last events of each shard, in Chrome's trace format (JSON), which Perfetto and
// chrome://tracing read.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "runtime/observe/exposition.hpp"

namespace weir {
class shard;
}

namespace weir::detail {

/// At most `most` events of each shard. Reads what the shards write meanwhile: none is asked, so
/// one that hangs is shown too.
std::string to_trace_json(std::span<shard* const> shards, const process_facts& facts,
                          std::size_t most);

}  // namespace weir::detail
