// What the pool of coroutine frames keeps for the next burst, and that it keeps no more. Replaces
// operator new for this program.
#include <doctest/doctest.h>

#include <vector>

#include "support/allocations.hpp"
#include "weir/task.hpp"

namespace {

/// Takes as many frames at a time and gives them all back; tells how many the heap had to give.
std::size_t burst(std::size_t frames, std::size_t size) {
  std::vector<void*> held(frames);
  const auto before = weir::test::allocations();
  for (auto& frame : held) frame = weir::detail::allocate_frame(size);
  const auto taken = weir::test::allocations() - before;
  for (auto* frame : held) weir::detail::free_frame(frame, size);
  return taken;
}

}  // namespace

TEST_CASE("a_burst_of_frames_is_kept_for_the_next_up_to_a_mebibyte_of_a_size") {
  for (const std::size_t size : {std::size_t{64}, std::size_t{4096}, std::size_t{20480}}) {
    CAPTURE(size);
    constexpr std::size_t bound = std::size_t{1} << 20, rounding = 64;
    const auto many = 3 * bound / size;
    (void)burst(many, size);
    const auto kept = many - burst(many, size);  // the rest had gone back to the heap
    CHECK(kept * size <= bound);
    CHECK((kept + 1) * (size + rounding) > bound);
    CHECK(burst(kept, size) == 0);
    CHECK(burst(many, size) == many - kept);
  }
  constexpr std::size_t large = 64 * 1024;  // of no class: always the heap's
  (void)burst(10, large);
  CHECK(burst(10, large) == 10);
}
