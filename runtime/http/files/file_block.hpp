// A part of a file whose length was promised.
#pragma once

#include <cstdint>
#include <span>

#include "weir/http/response.hpp"
#include "weir/task.hpp"

namespace weir::http {

/// At least one byte from `offset` on, without holding the shard up. Gives their number. Throws
/// io_error, also at the file's end.
task<std::size_t> read_block(open_file& file, std::uint64_t offset, std::span<std::byte> into);
/// Throws that io_error.
[[noreturn]] void ended_early();

}  // namespace weir::http
