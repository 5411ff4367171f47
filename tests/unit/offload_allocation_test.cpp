// Counts heap allocations: none on the shard's thread for offload() once it is warm. Replaces
// operator new for this program.
#include <doctest/doctest.h>

#include "support/allocations.hpp"
#include "unit/back_ends.hpp"

using weir::shard;
using weir::task;

TEST_CASE("offload_allocates_nothing_once_warm") {
  back_ends::on_kernel_back_ends([](shard&) -> task<> {
    std::size_t sum = 0;
    for (int i = 0; i < 50; ++i) sum += co_await weir::offload([] { return std::size_t(1); });
    const auto before = weir::test::allocations();
    for (int i = 0; i < 200; ++i) sum += co_await weir::offload([] { return std::size_t(1); });
    CHECK(weir::test::allocations() == before);
    CHECK(sum == 250);
  });
}
