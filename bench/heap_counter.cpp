// Counts a server's heap allocations from outside: preloaded into the measured process, it stands
// in front of glibc's allocator and counts in a page that weir-bench shares with it. operator new
// is counted through malloc. Frees are left alone.
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "heap_counts.hpp"

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

std::atomic<std::uint64_t> before_the_page{0};
std::atomic<std::uint64_t>* count = &before_the_page;

[[gnu::constructor]] void find_page() {
  const char* fd = std::getenv(weir::bench::heap_page_variable);
  if (fd == nullptr) return;
  void* page = ::mmap(nullptr, sizeof(std::atomic<std::uint64_t>), PROT_READ | PROT_WRITE,
                      MAP_SHARED, std::atoi(fd), 0);
  if (page != MAP_FAILED) count = static_cast<std::atomic<std::uint64_t>*>(page);
}

void one_more() noexcept { count->fetch_add(1, std::memory_order_relaxed); }

}  // namespace

extern "C" {

[[gnu::visibility("default")]] void* malloc(std::size_t size) {
  one_more();
  return __libc_malloc(size);
}

[[gnu::visibility("default")]] void* calloc(std::size_t count_of, std::size_t size) {
  one_more();
  return __libc_calloc(count_of, size);
}

[[gnu::visibility("default")]] void* realloc(void* old, std::size_t size) {
  one_more();
  return __libc_realloc(old, size);
}

[[gnu::visibility("default")]] void* aligned_alloc(std::size_t alignment, std::size_t size) {
  one_more();
  return __libc_memalign(alignment, size);
}

[[gnu::visibility("default")]] void* memalign(std::size_t alignment, std::size_t size) {
  one_more();
  return __libc_memalign(alignment, size);
}

[[gnu::visibility("default")]] int posix_memalign(void** out, std::size_t alignment,
                                                  std::size_t size) {
  one_more();
  void* got = __libc_memalign(alignment, size);
  if (got == nullptr) return ENOMEM;
  *out = got;
  return 0;
}

}  // extern "C"
