// Chunks: the blocks that send and receive queues are made of. The pool owns the recycled ones
// (last in, first out, so that the hot one comes back first), and charges each at its true size to
// the host's account. It never gives out more than the account's limit, and makes no system call
// beyond the allocator's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace weir::stack::buffer {

/// Bytes held by one host, against its limit (host_limits::memory).
class memory_account {
 public:
  explicit memory_account(std::uint64_t limit) : limit_(limit) {}

  bool charge(std::uint64_t bytes) {
    if (bytes > limit_ - used_) return false;
    used_ += bytes;
    return true;
  }
  void release(std::uint64_t bytes) { used_ -= bytes; }
  /// Chunks that came from another host's pool; they count also where they are too many, which is
  /// then false: give them back.
  bool adopt(std::uint64_t bytes) {
    used_ += bytes;
    return used_ <= limit_;
  }
  std::uint64_t used() const { return used_; }
  std::uint64_t available() const { return limit_ - used_; }
  /// Under a quarter left: windows stop growing, so that they close before the memory is gone.
  bool pressure() const { return available() < limit_ / 4; }

 private:
  std::uint64_t limit_;
  std::uint64_t used_ = 0;
};

/// A block of bytes with its place in a stream. Filled from begin to end; which part is valid is
/// its queue's to know.
struct chunk {
  chunk* next = nullptr;
  std::uint64_t offset = 0;    ///< stream offset of data()[0]
  std::uint32_t capacity = 0;  ///< bytes behind the header
  std::uint32_t limit =
      0;  ///< bytes of them that may be used: less where the next chunk begins earlier
  std::uint32_t end = 0;  ///< send queue: bytes filled
  std::uint8_t size_class = 0;

  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
  const std::byte* data() const { return reinterpret_cast<const std::byte*>(this + 1); }
  std::uint32_t true_size() const { return capacity + static_cast<std::uint32_t>(sizeof(chunk)); }
};

class chunk_pool {
 public:
  static constexpr std::array<std::uint32_t, 4> capacities{480, 2048, 16384, 65536};
  /// Recycled chunks kept beyond what is in use; more go back to the allocator.
  static constexpr std::uint64_t max_idle_bytes = 8u << 20;

  explicit chunk_pool(std::uint64_t memory_limit) : account_(memory_limit) {}
  ~chunk_pool();
  chunk_pool(const chunk_pool&) = delete;
  chunk_pool& operator=(const chunk_pool&) = delete;

  /// A chunk of the smallest class that holds `wanted` bytes, else of the largest class. Null: the
  /// account is full.
  chunk* take(std::size_t wanted);
  void give(chunk* c);
  /// The largest capacity that is not above `bytes`, or the smallest: how a queue of `bytes` grows,
  /// so that it is never charged much more than twice what it holds.
  static std::uint32_t grown(std::size_t bytes);
  /// What take(wanted) would charge.
  static std::uint32_t cost(std::size_t wanted);

  memory_account& account() { return account_; }
  const memory_account& account() const { return account_; }
  std::uint64_t idle_bytes() const { return idle_bytes_; }
  /// Calls of the allocator so far: constant in steady state.
  std::uint64_t allocations() const { return allocations_; }

 private:
  memory_account account_;
  std::array<chunk*, capacities.size()> idle_{};
  std::uint64_t idle_bytes_ = 0;
  std::uint64_t allocations_ = 0;
};

}  // namespace weir::stack::buffer
