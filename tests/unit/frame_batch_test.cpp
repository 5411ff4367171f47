// Frames of one hand-over: how many fit, and where they lie.
#include "runtime/driver/frame_batch.hpp"

#include <doctest/doctest.h>

#include <cstring>

using weir::detail::frame_batch;
using weir::detail::packet_receiver;

TEST_CASE("small_frames_are_gathered_up_to_the_most_that_are_handed_over") {
  frame_batch batch(2048);
  std::size_t n = 0;
  for (; !batch.full(); ++n) {
    REQUIRE(batch.room().size() == 2048);
    std::memset(batch.room().data(), static_cast<int>(n), 70);
    batch.add(70);
  }
  CHECK(n == packet_receiver::max_frames);
  REQUIRE(batch.frames().size() == n);
  for (std::size_t i = 0; i < n; ++i) {
    CHECK(batch.frames()[i].size() == 70);
    CHECK(batch.frames()[i].front() == static_cast<std::byte>(i));
    CHECK(batch.frames()[i].back() == static_cast<std::byte>(i));
  }
  batch.clear();
  CHECK(batch.frames().empty());
  CHECK(!batch.full());
}

TEST_CASE("a_long_frame_fills_the_batch_and_the_longest_always_fits") {
  frame_batch batch(65'546);
  batch.add(100);
  CHECK(batch.room().size() == 65'546);
  batch.add(65'546);
  CHECK(batch.full());
  CHECK(batch.frames().size() == 2);
  CHECK(batch.frames()[1].size() == 65'546);
}
