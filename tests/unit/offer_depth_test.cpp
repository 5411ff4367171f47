// How many receive buffers are offered to the kernel at a time.
#include <doctest/doctest.h>

#include "runtime/driver/uring/offer_depth.hpp"

using weir::detail::offer_depth;

namespace {

void turns(offer_depth& d, unsigned count, unsigned used) {
  for (unsigned i = 0; i < count; ++i) d.used(used);
}

}  // namespace

TEST_CASE("without_a_least_depth_it_stays_full") {
  offer_depth d(0, 64);
  turns(d, 1000, 1);
  CHECK(d.depth() == 64);
}

TEST_CASE("turns_that_use_little_make_it_shallow_down_to_the_least") {
  offer_depth d(16, 64);
  CHECK(d.depth() == 64);
  turns(d, offer_depth::window - 1, 2);
  CHECK(d.depth() == 64);
  turns(d, 1, 2);
  CHECK(d.depth() == 16);
  turns(d, 1000, 8);
  CHECK(d.depth() == 16);
}

TEST_CASE("the_margin_is_kept_so_that_steady_use_does_not_change_it") {
  offer_depth d(16, 64);
  turns(d, offer_depth::window, 16);
  const auto settled = d.depth();
  CHECK(settled > 16);
  CHECK(settled < 32);
  turns(d, 1000, 16);
  CHECK(d.depth() == settled);
}

TEST_CASE("one_turn_that_uses_nearly_all_makes_it_full_at_once") {
  offer_depth d(16, 64);
  turns(d, offer_depth::window, 2);
  d.used(13);
  CHECK(d.depth() == 64);
}

TEST_CASE("a_burst_within_the_window_is_remembered_to_its_end") {
  offer_depth d(16, 64);
  d.used(30);
  turns(d, offer_depth::window - 1, 2);
  CHECK(d.depth() == 49);
}

TEST_CASE("idle_turns_say_nothing") {
  offer_depth d(16, 64);
  turns(d, 1000, 0);
  CHECK(d.depth() == 64);
}
