// A part of a file into memory without holding the shard up.
#pragma once

#include <cstdint>
#include <span>

#include "weir/http/response.hpp"
#include "weir/task.hpp"

namespace weir::http {

/// At least one byte from `offset` on; what the disk must be asked for is read on another thread.
/// Gives their number. Throws io_error, also at the file's end: its length was promised.
task<std::size_t> read_block(const open_file& file, std::uint64_t offset,
                             std::span<std::byte> into);

}  // namespace weir::http
