// An open-addressing table of 8-byte slots: a 32-bit tag of the key's hash and a 32-bit value that
// says where the owner keeps the rest. Linear probing at a load of at most one half, deletion by
// shifting back: one cache line in the common case whatever the number of entries, and no
// tombstones that an attacker could pile up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "stack/base/large_memory.hpp"

namespace weir::stack {

class hash_index {
 public:
  static constexpr std::uint32_t none = 0xffffffffu;

  hash_index() : slots_(16, slot{}) {}

  /// The first value under `hash` that `matches`; none when there is no such.
  template <class Matches>
  std::uint32_t find(std::uint64_t hash, Matches&& matches) const {
    const auto tag = static_cast<std::uint32_t>(hash);
    for (auto i = home(tag);; i = (i + 1) & mask()) {
      const auto& s = slots_[i];
      if (s.value == none) return none;
      if (s.tag == tag && matches(s.value)) return s.value;
    }
  }
  /// Asks for the slot where find() begins. Always inlined: g++ 12.2 takes a function that does
  /// nothing but ask for memory for one without an effect, and drops its calls.
  [[gnu::always_inline]] void fetch(std::uint64_t hash) const {
    __builtin_prefetch(&slots_[home(static_cast<std::uint32_t>(hash))]);
  }
  void insert(std::uint64_t hash, std::uint32_t value) {
    if ((size_ + 1) * 2 > slots_.size()) grow();
    place({static_cast<std::uint32_t>(hash), value});
    ++size_;
  }
  /// Replaces `from`, which is there, by `to`.
  void replace(std::uint64_t hash, std::uint32_t from, std::uint32_t to) {
    slots_[position(hash, from)].value = to;
  }
  /// Removes `value`, which is there.
  void erase(std::uint64_t hash, std::uint32_t value) {
    auto hole = position(hash, value);
    for (auto i = (hole + 1) & mask(); slots_[i].value != none; i = (i + 1) & mask()) {
      const auto wanted = home(slots_[i].tag);
      // Move it back unless its home lies cyclically in (hole, i].
      if (((i - wanted) & mask()) >= ((i - hole) & mask())) {
        slots_[hole] = slots_[i];
        hole = i;
      }
    }
    slots_[hole].value = none;
    --size_;
  }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return slots_.size() * sizeof(slot); }

 private:
  struct slot {
    std::uint32_t tag = 0;
    std::uint32_t value = none;
  };
  using slot_vector = std::vector<slot, large_allocator<slot>>;

  std::size_t mask() const { return slots_.size() - 1; }
  std::size_t home(std::uint32_t tag) const { return tag & mask(); }
  std::size_t position(std::uint64_t hash, std::uint32_t value) const {
    auto i = home(static_cast<std::uint32_t>(hash));
    while (slots_[i].value != value) i = (i + 1) & mask();
    return i;
  }
  void place(slot s) {
    auto i = home(s.tag);
    while (slots_[i].value != none) i = (i + 1) & mask();
    slots_[i] = s;
  }
  void grow() {
    slot_vector old(slots_.size() * 2, slot{});
    old.swap(slots_);
    for (const auto& s : old)
      if (s.value != none) place(s);
  }

  slot_vector slots_;
  std::size_t size_ = 0;
};

}  // namespace weir::stack
