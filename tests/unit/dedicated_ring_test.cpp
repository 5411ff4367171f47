// The ring between a shard and a dedicated stack's thread: order, its bound, and who is told when
// there is room again.
#include <doctest/doctest.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "runtime/transport/stack/dedicated/spsc_ring.hpp"

using weir::detail::spsc_ring;

namespace {

std::vector<int> taken_from(spsc_ring<int, 4>& ring) {
  std::vector<int> out;
  ring.take_all([&](int item) { out.push_back(item); });
  return out;
}

}  // namespace

TEST_CASE("what was put is taken in order, and once") {
  spsc_ring<int, 4> ring;
  CHECK(ring.empty());
  for (int i = 1; i <= 3; ++i) REQUIRE(ring.put(i));
  CHECK(ring.depth() == 3);
  CHECK(taken_from(ring) == std::vector<int>{1, 2, 3});
  CHECK(taken_from(ring).empty());
  for (int i = 4; i <= 6; ++i) REQUIRE(ring.put(i));  // past the array's end
  CHECK(taken_from(ring) == std::vector<int>{4, 5, 6});
  CHECK(ring.put_so_far() == 6);
  CHECK(ring.deepest() == 3);
}

TEST_CASE("a full ring refuses, counts, and has its putter told of room once") {
  spsc_ring<int, 4> ring;
  for (int i = 0; i < 4; ++i) REQUIRE(ring.put(i));
  CHECK_FALSE(ring.room_made());  // nobody asked
  CHECK_FALSE(ring.put(4));
  CHECK(ring.times_full() == 1);
  CHECK(taken_from(ring) == std::vector<int>{0, 1, 2, 3});
  CHECK(ring.room_made());
  CHECK_FALSE(ring.room_made());
  CHECK(ring.put(4));
  CHECK(taken_from(ring) == std::vector<int>{4});
}

TEST_CASE("what is put while somebody takes is for the next time") {
  spsc_ring<int, 4> ring;
  REQUIRE(ring.put(1));
  int taken = 0;
  CHECK(ring.take_all([&](int) {
    ++taken;
    CHECK(ring.put(2));
  }) == 1);
  CHECK(taken == 1);
  CHECK(taken_from(ring) == std::vector<int>{2});
}

TEST_CASE("two threads pass a million numbers through a short ring") {
  constexpr std::uint64_t count = 1'000'000;
  spsc_ring<std::uint64_t, 64> ring;
  std::thread putter([&] {
    for (std::uint64_t i = 0; i < count;)
      if (ring.put(i))
        ++i;
      else
        std::this_thread::yield();
  });
  std::uint64_t expected = 0, wrong = 0;
  while (expected < count) {
    if (ring.take_all([&](std::uint64_t item) { wrong += item != expected++; }) == 0)
      std::this_thread::yield();
  }
  putter.join();
  CHECK(wrong == 0);
  CHECK(ring.empty());
}
