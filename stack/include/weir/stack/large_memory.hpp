// What a host asks of whoever runs it for its large tables: nothing, unless a function is set here.
// The stack itself makes no system call.
#pragma once

#include <atomic>
#include <cstddef>

namespace weir::stack {

/// Alignment of large pieces of memory, and the least that is one.
inline constexpr std::size_t large_page = std::size_t{2} << 20;

/// Told of memory right after it was taken, before it is touched: some whole large pages, in which
/// entries will be looked for at random. A chance to ask the system for huge pages, which spare
/// the walk to the address of every one of them. From any thread that has a host.
using large_memory_hint = void (*)(void* at, std::size_t size) noexcept;

namespace inside {
inline std::atomic<large_memory_hint> told_of_large_memory{nullptr};
}

/// For all hosts of the process, from their next large piece on; null: nobody is told.
inline void on_large_memory(large_memory_hint hint) noexcept {
  inside::told_of_large_memory.store(hint, std::memory_order_relaxed);
}

}  // namespace weir::stack
