// The recycling lists of the chunk pool; see chunk_pool.hpp.
#include "buffer/chunk_pool.hpp"

#include <new>

namespace weir::stack::buffer {
namespace {

std::uint8_t class_for(std::size_t wanted) {
  std::uint8_t c = 0;
  while (c + 1u < chunk_pool::capacities.size() && chunk_pool::capacities[c] < wanted) ++c;
  return c;
}

}  // namespace

chunk_pool::~chunk_pool() {
  for (auto* list : idle_) {
    while (list != nullptr) {
      auto* next = list->next;
      ::operator delete(list);
      list = next;
    }
  }
}

std::uint32_t chunk_pool::grown(std::size_t bytes) {
  auto c = capacities.size() - 1;
  while (c > 0 && capacities[c] > bytes) --c;
  return capacities[c];
}

std::uint32_t chunk_pool::cost(std::size_t wanted) {
  return capacities[class_for(wanted)] + static_cast<std::uint32_t>(sizeof(chunk));
}

chunk* chunk_pool::take(std::size_t wanted) {
  const auto c = class_for(wanted);
  const auto size = capacities[c] + sizeof(chunk);
  if (!account_.charge(size)) return nullptr;
  chunk* out = idle_[c];
  if (out != nullptr) {
    idle_[c] = out->next;
    idle_bytes_ -= size;
  } else {
    void* memory = ::operator new(size, std::nothrow);
    if (memory == nullptr) {
      account_.release(size);
      return nullptr;
    }
    ++allocations_;
    out = static_cast<chunk*>(memory);
  }
  ::new (static_cast<void*>(out)) chunk;
  out->capacity = capacities[c];
  out->limit = capacities[c];
  out->size_class = c;
  return out;
}

void chunk_pool::give(chunk* c) {
  const auto size = c->true_size();
  account_.release(size);
  if (idle_bytes_ + size > max_idle_bytes) {
    ::operator delete(c);
    return;
  }
  c->next = idle_[c->size_class];
  idle_[c->size_class] = c;
  idle_bytes_ += size;
}

}  // namespace weir::stack::buffer
