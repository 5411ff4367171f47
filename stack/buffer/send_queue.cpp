// The chunk list behind the send queue; see send_queue.hpp.
#include "stack/buffer/send_queue.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace weir::stack::buffer {
namespace {

std::uint32_t cost_of(const chunk& c) {
  return c.true_size() + (c.kind == chunk_kind::view ? c.limit : 0);
}

bool full(const chunk& c) { return c.kind == chunk_kind::view || c.end == c.capacity(); }

}  // namespace

std::size_t send_queue::append(chunk_pool& pool, std::span<const std::span<const std::byte>> parts,
                               std::size_t room) {
  std::size_t taken = 0;
  for (auto part : parts) {
    const auto n = std::min(part.size(), room - taken);
    const auto done = append_one(pool, part.first(n), room - taken);
    taken += done;
    if (done < part.size()) break;
  }
  return taken;
}

std::size_t send_queue::append_one(chunk_pool& pool, std::span<const std::byte> bytes,
                                   std::size_t room) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    if (tail_ == nullptr || full(*tail_)) {
      auto* fresh = pool.take(wanted_for(bytes.size() - done, room - done));
      if (fresh == nullptr) break;
      link(*fresh);
    }
    const auto n = std::min<std::size_t>(bytes.size() - done, tail_->capacity() - tail_->end);
    std::memcpy(tail_->data() + tail_->end, bytes.data() + done, n);
    tail_->end += static_cast<std::uint32_t>(n);
    size_ += static_cast<std::uint32_t>(n);
    done += n;
  }
  return done;
}

// Chunks grow with the queue: a request takes a small one, a bulk transfer ends up with the
// largest. Each is at most a class above the one before it, and small behind a view, as the next
// view leaves what is not filled empty. None is larger than what the queue may still take.
std::size_t send_queue::wanted_for(std::size_t bytes, std::size_t room) const {
  if (tail_ == nullptr || tail_->kind == chunk_kind::view) return bytes;
  const auto most = std::min<std::size_t>({size_, 8 * tail_->capacity(), room});
  return std::max<std::size_t>(bytes, chunk_pool::grown(most));
}

void send_queue::link(chunk& fresh) {
  fresh.offset = base_ + size_;
  charged_ += cost_of(fresh);
  if (tail_ != nullptr)
    tail_->next = &fresh;
  else
    head_ = &fresh;
  tail_ = &fresh;
}

bool send_queue::append_view(chunk_pool& pool, chunk& keeper, std::span<const std::byte> bytes,
                             std::uint32_t cost) {
  auto* fresh = pool.take_view(keeper, bytes.data());
  if (fresh == nullptr) return false;
  fresh->end = static_cast<std::uint32_t>(bytes.size());
  fresh->limit = cost;
  link(*fresh);
  size_ += fresh->end;
  return true;
}

std::size_t send_queue::gather(std::uint32_t offset, std::size_t length,
                               std::span<std::span<const std::byte>> parts, std::size_t& count) {
  count = 0;
  assert(offset <= size_);
  length = std::min<std::size_t>(length, size_ - offset);
  if (length == 0) return 0;
  const auto at = base_ + offset;
  auto* c = cursor_ != nullptr && cursor_->offset <= at ? cursor_ : head_;
  while (c->offset + c->end <= at) c = c->next;
  std::size_t done = 0;
  while (done < length && count < parts.size()) {
    const auto skip = static_cast<std::size_t>(at + done - c->offset);
    const auto n = std::min<std::size_t>(length - done, c->end - skip);
    parts[count++] = {bytes_of(*c) + skip, n};
    done += n;
    cursor_ = c;
    c = c->next;
  }
  return done;
}

void send_queue::consume(chunk_pool& pool, std::uint32_t n) {
  assert(n <= size_);
  base_ += n;
  size_ -= n;
  while (head_ != nullptr && (size_ == 0 || head_->offset + head_->end <= base_)) {
    auto* done = head_;
    head_ = head_->next;
    if (cursor_ == done) cursor_ = nullptr;
    charged_ -= cost_of(*done);
    pool.give(done);
  }
  if (head_ == nullptr) tail_ = nullptr;
}

void send_queue::clear(chunk_pool& pool) { consume(pool, size_); }

}  // namespace weir::stack::buffer
