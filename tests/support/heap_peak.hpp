// What a program has taken from the heap, and how much that was at most, for tests of bounds on
// memory. Of glibc, so that the memory of libraries counts. A sanitizer's heap is another one:
// there nothing is seen to grow.
#pragma once

#include <malloc.h>

#include <algorithm>
#include <cstddef>

namespace weir::test {

class heap_peak {
 public:
  void look() { most_ = std::max(most_, held()); }
  /// Since it was made, as far as it looked.
  std::size_t grown() const { return most_ - before_; }

 private:
  static std::size_t held() {
    const auto now = ::mallinfo2();
    return now.uordblks + now.hblkhd;
  }
  std::size_t before_ = held(), most_ = before_;
};

}  // namespace weir::test
