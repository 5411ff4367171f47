// The frame pool: coroutine frames and other small blocks of coroutine life come from free lists of
// size classes, one set per thread, so that a steady server takes no frame from the heap. Blocks
// that a burst left over stay for the next one, up to a bound per class. Where any part of the
// program was built with a sanitizer, every frame is the heap's own, so that its checks see frames
// that have gone, and their bounds.
#include <array>
#include <cstddef>
#include <new>

#include "weir/task.hpp"

// A sanitizer's runtime is in the program, or it is not: then these are null.
extern "C" {
[[gnu::weak]] void __asan_init();    // NOLINT(bugprone-reserved-identifier)
[[gnu::weak]] void __hwasan_init();  // NOLINT(bugprone-reserved-identifier)
[[gnu::weak]] void __msan_init();    // NOLINT(bugprone-reserved-identifier)
[[gnu::weak]] void __tsan_init();    // NOLINT(bugprone-reserved-identifier)
}

namespace weir::detail {

namespace {

bool watched_by_a_sanitizer() noexcept {
  return &__asan_init != nullptr || &__hwasan_init != nullptr || &__msan_init != nullptr ||
         &__tsan_init != nullptr;
}

// The allocator hands out multiples of 16 bytes less the 8 that it keeps beside each block; so do
// the classes, and a frame takes no more than it needs.
constexpr std::size_t class_bytes = 16;
constexpr std::size_t beside = 8;
constexpr std::size_t largest =
    20 * 1024;  // a session with a 16 KiB buffer in it; bigger: the heap's
constexpr std::size_t kept_bytes = 1u << 20;  // per class: what a free list holds at most

struct free_block {
  free_block* next;
};

struct frame_pool {
  struct size_class {
    free_block* first = nullptr;
    std::size_t count = 0;
  };
  std::array<size_class, (largest + beside) / class_bytes + 1> classes{};

  ~frame_pool();
};

// Null before the first use on a thread and after its pool went: frames freed that late go to the
// heap.
thread_local frame_pool* current = nullptr;

frame_pool::~frame_pool() {
  current = nullptr;
  for (auto& c : classes)
    while (c.first != nullptr) ::operator delete(std::exchange(c.first, c.first->next));
}

// Kept out of line: the address of a thread-local must not be remembered across a suspension.
[[gnu::noinline]] frame_pool* pool_of_this_thread() {
  if (current == nullptr) {
    if (watched_by_a_sanitizer()) return nullptr;
    thread_local frame_pool pool;
    thread_local bool used = false;
    if (used) return nullptr;
    used = true;
    current = &pool;
  }
  return current;
}

constexpr std::size_t class_of(std::size_t size) {
  return (size + beside + class_bytes - 1) / class_bytes - 1;
}
constexpr std::size_t size_of(std::size_t index) { return (index + 1) * class_bytes - beside; }
static_assert(size_of(class_of(8)) == 8 && size_of(class_of(9)) == 24);

}  // namespace

void* allocate_frame(std::size_t size) {
  if (size == 0 || size > largest) return ::operator new(size);
  auto index = class_of(size);
  if (auto* pool = pool_of_this_thread()) {
    auto& c = pool->classes[index];
    if (c.first != nullptr) {
      --c.count;
      return std::exchange(c.first, c.first->next);
    }
  }
  return ::operator new(watched_by_a_sanitizer() ? size : size_of(index));
}

void free_frame(void* frame, std::size_t size) noexcept {
  if (size != 0 && size <= largest) {
    auto index = class_of(size);
    if (auto* pool = pool_of_this_thread()) {
      auto& c = pool->classes[index];
      if (c.count < kept_bytes / size_of(index)) {
        c.first = ::new (frame) free_block{c.first};
        ++c.count;
        return;
      }
    }
  }
  ::operator delete(frame);
}

}  // namespace weir::detail
