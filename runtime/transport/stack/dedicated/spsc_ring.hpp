// A bounded ring between two threads: one puts, one takes, nobody locks and nobody waits. A ring
// that is full says so, and the putter keeps what he has; when the taker has made room he is told
// that somebody asked for it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace weir::detail {

template <class T, std::size_t Size>
class spsc_ring {
  static_assert((Size & (Size - 1)) == 0, "a power of two");

 public:
  static constexpr std::size_t capacity = Size;

  // --- The putter's.

  /// False: full. The taker will be asked to tell (room_made()), unless he makes room right now.
  bool put(const T& item) noexcept {
    if (!has_room()) {
      ++full_;
      room_wanted_.store(true, std::memory_order_seq_cst);
      taken_seen_ = taken_.load(std::memory_order_seq_cst);
      if (!has_room()) return false;
    }
    items_[put_ % Size] = item;
    tail_.store(++put_, std::memory_order_release);
    return true;
  }
  /// Measured when asked for: how many the taker has not come to.
  std::size_t depth() noexcept {
    taken_seen_ = taken_.load(std::memory_order_acquire);
    const auto now = static_cast<std::size_t>(put_ - taken_seen_);
    if (now > deepest_) deepest_ = now;
    return now;
  }
  std::uint64_t put_so_far() const { return put_; }
  std::size_t deepest() const { return deepest_; }
  /// Times that an item had to wait for room.
  std::uint64_t times_full() const { return full_; }

  // --- The taker's.

  /// Hands what is there now to `take`, oldest first; what comes meanwhile is for the next time.
  template <class Take>
  std::size_t take_all(Take&& take) noexcept {
    const auto end = tail_.load(std::memory_order_acquire);
    auto at = taken_.load(std::memory_order_relaxed);
    const auto count = static_cast<std::size_t>(end - at);
    while (at != end) {
      const T item = items_[at % Size];
      // Given back at once: `take` may lead to more of them, and to a look at how many there are.
      taken_.store(++at, std::memory_order_seq_cst);
      take(item);
    }
    return count;
  }
  /// Whether there is more.
  bool empty() const noexcept {
    return tail_.load(std::memory_order_seq_cst) == taken_.load(std::memory_order_relaxed);
  }
  /// True once after the putter found no room: he is to be woken.
  bool room_made() noexcept {
    return room_wanted_.load(std::memory_order_seq_cst) &&
           room_wanted_.exchange(false, std::memory_order_seq_cst);
  }

 private:
  bool has_room() noexcept {
    if (put_ - taken_seen_ < Size) return true;
    taken_seen_ = taken_.load(std::memory_order_acquire);
    return put_ - taken_seen_ < Size;
  }

  alignas(64) std::atomic<std::uint64_t> tail_{0};
  std::atomic<bool> room_wanted_{false};
  // The putter's own.
  std::uint64_t put_ = 0;
  std::uint64_t taken_seen_ = 0;
  std::uint64_t full_ = 0;
  std::size_t deepest_ = 0;
  alignas(64) std::atomic<std::uint64_t> taken_{0};
  alignas(64) std::array<T, Size> items_;
};

}  // namespace weir::detail
