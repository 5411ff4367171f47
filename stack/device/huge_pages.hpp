// Huge pages for the large tables of all hosts of the process, where the system gives some: Linux,
// Documentation/admin-guide/mm/transhuge.rst.
#pragma once

#include <sys/mman.h>

#include "weir/stack/large_memory.hpp"

namespace weir::stack {

inline void use_huge_pages() noexcept {
  on_large_memory([](void* at, std::size_t size) noexcept { ::madvise(at, size, MADV_HUGEPAGE); });
}

}  // namespace weir::stack
