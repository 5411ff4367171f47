// How many receive buffers to offer the kernel at a time: as many as the turns use, with a margin.
// The kernel takes them in the order in which they were offered, so every buffer that is offered
// goes round, and a ring that is much deeper than needed keeps cold what could be hot: 64 buffers
// of 16 KiB are more than a core's own cache. Pure.
#pragma once

#include <algorithm>

namespace weir::detail {

class offer_depth {
 public:
  /// `least` 0: always `most`.
  offer_depth(unsigned least, unsigned most)
      : least_(least == 0 ? most : std::min(least, most)), most_(most), depth_(most) {}

  unsigned depth() const noexcept { return depth_; }

  /// What the kernel took since the last call. Deeper at once when that was close to all; shallower
  /// only when a whole window of turns did with less.
  void used(unsigned buffers) noexcept {
    if (buffers == 0) return;
    peak_ = std::max(peak_, buffers);
    if (buffers * 4 > depth_ * 3) {
      depth_ = most_;
      turns_ = peak_ = 0;
      return;
    }
    if (++turns_ < window) return;
    depth_ = std::clamp(peak_ + peak_ / 2 + 4, least_, most_);
    turns_ = peak_ = 0;
  }

  static constexpr unsigned window = 64;  ///< turns

 private:
  unsigned least_, most_, depth_;
  unsigned turns_ = 0;
  unsigned peak_ = 0;
};

}  // namespace weir::detail
