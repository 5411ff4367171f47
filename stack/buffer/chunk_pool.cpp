// The recycling lists of the chunk pool; see chunk_pool.hpp.
#include "stack/buffer/chunk_pool.hpp"

#include <cassert>
#include <cstring>
#include <new>
#include <utility>

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

chunk* chunk_pool::take(std::size_t wanted) { return take_class(class_for(wanted)); }

chunk* chunk_pool::take_class(std::uint8_t size_class) {
  const auto size = chunk_capacities[size_class] + sizeof(chunk);
  if (!account_.charge(size)) return nullptr;
  chunk* out = idle_[size_class];
  if (out != nullptr) {
    idle_[size_class] = out->next;
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
  out->limit = chunk_capacities[size_class];
  out->size_class = size_class;
  return out;
}

chunk* chunk_pool::take_view(chunk& keeper, const std::byte* data) {
  auto* out = take_class(view_class);
  if (out == nullptr) return nullptr;
  out->kind = chunk_kind::view;
  ::new (static_cast<void*>(out->data())) view{data, &keeper};
  ++keeper.holders;
  return out;
}

chunk* chunk_pool::take_foreign(std::size_t bytes, void (*release)(void*) noexcept, void* context) {
  if (!account_.charge(bytes)) return nullptr;
  auto* out = take_class(view_class);
  if (out == nullptr) {
    account_.release(bytes);
    return nullptr;
  }
  out->kind = chunk_kind::foreign;
  out->offset = bytes;
  ::new (static_cast<void*>(out->data())) foreign{release, context};
  return out;
}

void chunk_pool::fill_later(chunk& c, std::span<const std::byte> from) {
  assert(unfilled_ == nullptr && from.size() >= sizeof(source) && from.size() <= c.capacity());
  ::new (static_cast<void*>(c.data())) source{from.data(), static_cast<std::uint32_t>(from.size())};
  c.kind = chunk_kind::unfilled;
  unfilled_ = &c;
}

bool chunk_pool::fill_now() {
  auto& c = *std::exchange(unfilled_, nullptr);
  const auto from = *reinterpret_cast<const source*>(c.data());
  c.kind = chunk_kind::bytes;
  std::memcpy(c.data(), from.data, from.size);
  return true;
}

void chunk_pool::give_back(chunk* c) {
  const auto kind = c->kind;
  if (kind == chunk_kind::unfilled) unfilled_ = nullptr;
  view seen{};
  foreign kept{};
  if (kind == chunk_kind::view) {
    seen = *reinterpret_cast<view*>(c->data());
  } else if (kind == chunk_kind::foreign) {
    kept = *reinterpret_cast<foreign*>(c->data());
    account_.release(c->offset);
  }
  const auto size = c->true_size();
  account_.release(size);
  if (idle_bytes_ + size > max_idle_bytes) {
    ::operator delete(c);
  } else {
    c->next = idle_[c->size_class];
    idle_[c->size_class] = c;
    idle_bytes_ += size;
  }
  if (kind == chunk_kind::view)
    (void)let_go(seen.keeper);
  else if (kind == chunk_kind::foreign)
    kept.release(kept.context);
}

}  // namespace weir::stack::buffer
