// Counts what a program takes from the heap, for tests that say "none". Linking allocations.cpp
// replaces operator new; a sanitizer claims that for itself, so such tests are built without one
// (weir_add_allocation_test).
#pragma once

#include <cstddef>

namespace weir::test {

/// How often operator new, in any form, was called on this thread.
std::size_t allocations() noexcept;

/// The next request on this thread for exactly so many bytes is refused (std::bad_alloc).
void refuse_allocation(std::size_t bytes) noexcept;

}  // namespace weir::test
