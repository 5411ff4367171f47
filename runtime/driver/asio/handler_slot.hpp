// Memory for handlers that Asio keeps: one at a time, in an object of ours, so that what is asked
// for again and again allocates nothing.
#pragma once

#include <cstddef>
#include <new>

namespace weir::detail {

/// Memory for one handler at a time. What does not fit, or comes while it is taken, goes to the
/// heap.
class handler_slot {
 public:
  handler_slot() = default;
  handler_slot(const handler_slot&) = delete;

  void* allocate(std::size_t size) {
    if (!taken_ && size <= sizeof storage_) {
      taken_ = true;
      return storage_;
    }
    return ::operator new(size);
  }
  void deallocate(void* memory) noexcept {
    if (memory == storage_)
      taken_ = false;
    else
      ::operator delete(memory);
  }

 private:
  alignas(std::max_align_t) std::byte storage_[192];
  bool taken_ = false;
};

template <class T>
struct slot_allocator {
  using value_type = T;

  explicit slot_allocator(handler_slot& s) : slot(&s) {}
  template <class U>
  slot_allocator(const slot_allocator<U>& other) : slot(other.slot) {}
  T* allocate(std::size_t n) { return static_cast<T*>(slot->allocate(n * sizeof(T))); }
  void deallocate(T* memory, std::size_t) noexcept { slot->deallocate(memory); }
  template <class U>
  bool operator==(const slot_allocator<U>& other) const {
    return slot == other.slot;
  }

  handler_slot* slot;
};

}  // namespace weir::detail
