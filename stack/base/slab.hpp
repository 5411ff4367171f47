// Objects of one type in blocks, at addresses that never move, named by a 32-bit index; freed
// places are taken again last in, first out. Each place has a generation, so that an index that
// outlived its object is recognised.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "stack/base/large_memory.hpp"

namespace weir::stack {

template <class T, std::size_t BlockSize = 256>
class slab {
 public:
  static constexpr std::uint32_t none = 0xffffffffu;

  slab() = default;
  slab(const slab&) = delete;
  slab& operator=(const slab&) = delete;
  ~slab() {
    for (std::uint32_t i = 0; i < capacity(); ++i)
      if (at(i).live != 0) at(i).object()->~T();
  }

  template <class... Args>
  std::uint32_t emplace(Args&&... args) {
    if (free_ == none) grow();
    const auto index = free_;
    auto& p = at(index);
    const auto next = p.next_free;
    try {
      ::new (static_cast<void*>(p.bytes)) T(std::forward<Args>(args)...);
    } catch (...) {
      p.next_free = next;
      throw;
    }
    free_ = next;
    p.live = 1;
    ++size_;
    return index;
  }
  void erase(std::uint32_t index) {
    auto& p = at(index);
    p.object()->~T();
    p.live = 0;
    p.generation = p.generation == last_generation ? 1 : p.generation + 1;
    p.next_free = free_;
    free_ = index;
    --size_;
  }

  T& operator[](std::uint32_t index) { return *at(index).object(); }
  const T& operator[](std::uint32_t index) const { return *at(index).object(); }
  bool live(std::uint32_t index) const { return index < capacity() && at(index).live != 0; }
  std::uint32_t generation(std::uint32_t index) const { return at(index).generation; }
  /// The object if it lives and its generation is the one given.
  T* find(std::uint32_t index, std::uint32_t generation) {
    if (index >= capacity()) return nullptr;
    auto& p = at(index);
    return p.live && p.generation == generation ? p.object() : nullptr;
  }
  std::size_t size() const { return size_; }
  /// Indexes run from 0 to here; live() says which are taken.
  std::uint32_t capacity() const { return static_cast<std::uint32_t>(blocks_.size() * BlockSize); }

 private:
  static constexpr std::uint32_t last_generation = 0x7fffffff;

  static constexpr std::size_t cache_line = 64;
  static constexpr std::size_t packed =
      (sizeof(T) + sizeof(std::uint32_t) + alignof(T) - 1) / alignof(T) * alignof(T);

  // A place costs four bytes beside its object: very many of them are kept. Those that fill cache
  // lines begin with one.
  struct alignas(packed % cache_line == 0 ? cache_line : alignof(T)) place {
    place() : next_free(none), generation(1), live(0) {}

    union {
      alignas(T) std::byte bytes[sizeof(T)];
      std::uint32_t next_free;  // while not live
    };
    std::uint32_t generation : 31;
    std::uint32_t live : 1;

    T* object() { return std::launder(reinterpret_cast<T*>(bytes)); }
    const T* object() const { return std::launder(reinterpret_cast<const T*>(bytes)); }
  };

  place& at(std::uint32_t i) { return blocks_[i / BlockSize][i % BlockSize]; }
  const place& at(std::uint32_t i) const { return blocks_[i / BlockSize][i % BlockSize]; }
  void grow() {
    const auto first = capacity();
    add_block();
    for (auto i = static_cast<std::uint32_t>(BlockSize); i-- > 0;) {
      at(first + i).next_free = free_;
      free_ = first + i;
    }
  }

  // The first blocks are small, for hosts that are; later ones come by the large page.
  void add_block() {
    if (blocks_.size() < in_large) {
      small_.push_back(std::make_unique<place[]>(BlockSize));
      blocks_.push_back(small_.back().get());
      return;
    }
    if (taken_of_large_ == in_large) {
      auto memory = allocate_large(in_large * block_bytes);
      if (memory == nullptr) throw std::bad_alloc();
      large_.push_back(std::move(memory));
      taken_of_large_ = 0;
    }
    auto* const at = large_.back().get() + block_bytes * taken_of_large_;
    for (std::size_t i = 0; i < BlockSize; ++i) ::new (at + i * sizeof(place)) place;
    blocks_.push_back(std::launder(reinterpret_cast<place*>(at)));
    ++taken_of_large_;
  }

  static constexpr std::size_t block_bytes = BlockSize * sizeof(place);
  static constexpr std::size_t in_large = std::max<std::size_t>(1, large_page / block_bytes);

  std::vector<place*> blocks_;
  std::vector<std::unique_ptr<place[]>> small_;
  std::vector<large_memory> large_;
  std::size_t taken_of_large_ = in_large;  // blocks of the last one
  std::uint32_t free_ = none;
  std::size_t size_ = 0;

 public:
  /// What an object costs with its place.
  static constexpr std::size_t bytes_each = sizeof(place);
};

}  // namespace weir::stack
