// What all coroutines of a program wait for, as lines for stderr: for SIGQUIT, and for the end of a
// program that something went wrong in.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace weir {
class shard;
}

namespace weir::detail {

/// Asks every shard, from a thread that is none of theirs. A shard that does not begin to answer
/// within a second is said to hang, with the place of the coroutine that it resumed last. At most
/// `most` lines for each shard, by place, the most frequent first.
std::vector<std::string> dump_tasks(std::span<shard* const> shards, std::size_t most);

/// "shard 1 has not turned: its last coroutine had waited in session at echo.cpp:9".
std::string words_of_silent(shard& of);

}  // namespace weir::detail
