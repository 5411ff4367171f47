// Frames that a packet port reads one after the other, to be handed over together: the receiver can
// then ask for what several of them need at once. One buffer, small enough to stay in the core's
// cache as long as the frames are small.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "runtime/backend/driver.hpp"

namespace weir::detail {

class frame_batch {
 public:
  /// `frame_limit` is the longest frame.
  explicit frame_batch(std::size_t frame_limit)
      : memory_(frame_limit + small_room), limit_(frame_limit) {}

  /// Where the next frame goes: always as long as the longest one.
  std::span<std::byte> room() { return std::span(memory_).subspan(used_, limit_); }
  /// The first `n` bytes of room() are a frame now.
  void add(std::size_t n) {
    constexpr std::size_t line = 64;
    frames_[count_++] = {memory_.data() + used_, n};
    used_ += (n + line - 1) / line * line;
  }
  /// No further frame may be added before clear().
  bool full() const { return count_ == frames_.size() || used_ > small_room; }
  std::span<const std::span<const std::byte>> frames() const {
    return std::span(frames_).first(count_);
  }
  void clear() { count_ = used_ = 0; }

 private:
  static constexpr std::size_t small_room = 16 * 1024;

  std::vector<std::byte> memory_;
  std::size_t limit_;
  std::size_t used_ = 0;
  std::array<std::span<const std::byte>, packet_receiver::max_frames> frames_;
  std::size_t count_ = 0;
};

}  // namespace weir::detail
