// The send queue: bytes that the application gave and the peer has not acknowledged, in chunks,
// addressed by their distance from the oldest. It owns no chunk when empty, hands bytes out as
// gathered parts without a copy, and never drops one before it is acknowledged (RFC 2018 8). Bytes
// of a chunk that somebody holds already are referred to instead of copied. What is sent when is
// tcp/send.cpp's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/buffer/chunk_pool.hpp"

namespace weir::stack::buffer {

class send_queue {
 public:
  std::uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  /// What the chunks cost, headers included.
  std::uint32_t charged() const { return charged_; }

  /// Bytes that can be copied to the end without another chunk.
  std::uint32_t spare() const {
    return tail_ == nullptr || tail_->kind == chunk_kind::view ? 0 : tail_->capacity() - tail_->end;
  }

  /// Copies at most `room` bytes of `parts` to the end; returns how many. Fewer when the host's
  /// memory is full.
  std::size_t append(chunk_pool& pool, std::span<const std::span<const std::byte>> parts,
                     std::size_t room);
  /// Appends `bytes`, which `keeper` holds, without copying them; the queue is one more holder of
  /// it until they are acknowledged. `cost` is what they are charged, beside the view of them.
  /// False: the host's memory is full.
  bool append_view(chunk_pool& pool, chunk& keeper, std::span<const std::byte> bytes,
                   std::uint32_t cost);
  /// Gathers up to `length` bytes from `offset` on into `parts`; `count` says how many parts.
  /// Returns the bytes gathered: fewer than `length` when the parts run out. The parts are valid
  /// until consume() or clear().
  std::size_t gather(std::uint32_t offset, std::size_t length,
                     std::span<std::span<const std::byte>> parts, std::size_t& count);
  /// Forgets the oldest `n` bytes: they were acknowledged.
  void consume(chunk_pool& pool, std::uint32_t n);
  void clear(chunk_pool& pool);

 private:
  std::size_t append_one(chunk_pool& pool, std::span<const std::byte> bytes, std::size_t room);
  std::size_t wanted_for(std::size_t bytes, std::size_t room) const;
  void link(chunk& fresh);

  chunk* head_ = nullptr;
  chunk* tail_ = nullptr;
  chunk* cursor_ = nullptr;  // where the last gather() ended: the next one usually goes on there
  std::uint64_t base_ = 0;   // stream offset of the oldest byte
  std::uint32_t size_ = 0;
  std::uint32_t charged_ = 0;
};

}  // namespace weir::stack::buffer
