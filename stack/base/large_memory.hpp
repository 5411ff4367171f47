// Memory of tables that may outgrow the address cache of a core. What is large is aligned so that
// the system can give huge pages for it, and whoever runs the host is told: see
// weir/stack/large_memory.hpp. When it is touched stays the owner's affair.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>

#include "weir/stack/large_memory.hpp"

namespace weir::stack {

struct free_large {
  void operator()(std::byte* memory) const { std::free(memory); }
};
/// Uninitialised, of whole large pages.
using large_memory = std::unique_ptr<std::byte[], free_large>;

/// At least `size` bytes, which is not 0; null when there is no memory.
inline large_memory allocate_large(std::size_t size) noexcept {
  const auto whole = (size + large_page - 1) / large_page * large_page;
  large_memory out(static_cast<std::byte*>(std::aligned_alloc(large_page, whole)));
  const auto hint = inside::told_of_large_memory.load(std::memory_order_relaxed);
  if (out != nullptr && hint != nullptr) hint(out.get(), whole);
  return out;
}

/// For standard containers: small blocks come from where they always do.
template <class T>
struct large_allocator {
  using value_type = T;

  large_allocator() = default;
  template <class U>
  explicit large_allocator(const large_allocator<U>&) {}

  T* allocate(std::size_t n) {
    if (n > std::numeric_limits<std::size_t>::max() / 2 / sizeof(T))
      throw std::bad_array_new_length();
    if (n * sizeof(T) < large_page) return std::allocator<T>().allocate(n);
    auto memory = allocate_large(n * sizeof(T));
    if (memory == nullptr) throw std::bad_alloc();
    return reinterpret_cast<T*>(memory.release());
  }
  void deallocate(T* at, std::size_t n) {
    if (n * sizeof(T) < large_page)
      std::allocator<T>().deallocate(at, n);
    else
      std::free(at);
  }
  template <class U>
  bool operator==(const large_allocator<U>&) const {
    return true;
  }
};

}  // namespace weir::stack
