// A pool of equal buffers that the kernel fills: some of them lie in a ring that is shared with the
// kernel (provided buffers), the rest on a stack. Who got a buffer gives it back, and the one that
// was given back last is the next to go out, because it is still in the cache. Never grows; whoever
// finds it empty waits for what comes back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/driver/uring/io_uring_constants.hpp"
#include "runtime/driver/uring/offer_depth.hpp"

namespace weir::detail {

class uring_driver;

class buffer_pool {
 public:
  struct shape {
    unsigned count = 256;      ///< buffers, at most 32768
    unsigned in_ring = 64;     ///< of these, offered to the kernel at a time: a power of two
    std::size_t size = 16384;  ///< bytes of each
    /// Offered at least, where fewer are needed; 0: always as many as there is room for.
    unsigned least_in_ring = 0;
  };

  /// Throws io_error (out of memory, or of locked memory). Without buffer rings in the kernel only
  /// take() works.
  buffer_pool(uring_driver& driver, shape wanted);
  ~buffer_pool();
  buffer_pool(const buffer_pool&) = delete;
  buffer_pool& operator=(const buffer_pool&) = delete;

  std::byte* data(unsigned id) { return memory_ + std::size_t{id} * stride_; }
  std::size_t size() const { return size_; }
  unsigned group() const { return group_; }

  /// The kernel has handed this one out.
  void taken(unsigned) noexcept {
    --offered_;
    ++taken_;
  }
  /// Takes one for ourselves.
  std::optional<unsigned> take() noexcept;
  void give_back(unsigned id) noexcept { spare_[spares_++] = static_cast<std::uint16_t>(id); }
  /// Offers what came back to the kernel, up to the ring's share. Once per turn, or when the ring
  /// ran dry.
  void refill() noexcept;
  /// From the next refill() on; those that are offered stay until they are taken.
  void offer_at_most(unsigned buffers) noexcept { at_most_ = buffers; }

  unsigned depth() const { return depth_.depth(); }
  unsigned offered() const { return offered_; }
  unsigned spares() const { return spares_; }
  unsigned count() const { return count_; }

 private:
  uring_driver& driver_;
  io_uring_buf_ring* ring_ = nullptr;
  std::byte* memory_ = nullptr;
  std::size_t size_;
  std::size_t stride_;  // from one buffer's begin to the next one's
  unsigned count_;
  unsigned in_ring_;
  unsigned group_ = 0;
  unsigned at_most_;
  offer_depth depth_;
  unsigned offered_ = 0;
  unsigned taken_ = 0;  // since the last refill
  unsigned spares_ = 0;
  std::vector<std::uint16_t> spare_;
};

}  // namespace weir::detail
