// The replaced operator new: see allocations.hpp. Nothing here is inlined: g++ would see malloc()
// and free() through new and delete and call them mismatched.
#include "support/allocations.hpp"

#include <cstdlib>
#include <new>

namespace {

thread_local std::size_t counted = 0;
thread_local std::size_t refused = 0;  // bytes; 0: none

void* counted_malloc(std::size_t size) noexcept {
  ++counted;
  if (refused != 0 && size == refused) {
    refused = 0;
    return nullptr;
  }
  return std::malloc(size != 0 ? size : 1);
}
void* counted_aligned(std::size_t size, std::align_val_t alignment) noexcept {
  ++counted;
  const auto step = static_cast<std::size_t>(alignment);
  return std::aligned_alloc(step, (size + step - 1) / step * step);
}
void* or_throw(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

namespace weir::test {

std::size_t allocations() noexcept { return counted; }
void refuse_allocation(std::size_t bytes) noexcept { refused = bytes; }

}  // namespace weir::test

#define WEIR_OUT_OF_LINE [[gnu::noinline]]

WEIR_OUT_OF_LINE void* operator new(std::size_t n) { return or_throw(counted_malloc(n)); }
WEIR_OUT_OF_LINE void* operator new[](std::size_t n) { return or_throw(counted_malloc(n)); }
WEIR_OUT_OF_LINE void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return counted_malloc(n);
}
WEIR_OUT_OF_LINE void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
  return counted_malloc(n);
}
WEIR_OUT_OF_LINE void* operator new(std::size_t n, std::align_val_t a) {
  return or_throw(counted_aligned(n, a));
}
WEIR_OUT_OF_LINE void* operator new[](std::size_t n, std::align_val_t a) {
  return or_throw(counted_aligned(n, a));
}
WEIR_OUT_OF_LINE void operator delete(void* p) noexcept { std::free(p); }
WEIR_OUT_OF_LINE void operator delete[](void* p) noexcept { std::free(p); }
WEIR_OUT_OF_LINE void operator delete(void* p, std::size_t) noexcept { std::free(p); }
WEIR_OUT_OF_LINE void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
WEIR_OUT_OF_LINE void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
WEIR_OUT_OF_LINE void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
WEIR_OUT_OF_LINE void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
WEIR_OUT_OF_LINE void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
WEIR_OUT_OF_LINE void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
WEIR_OUT_OF_LINE void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
