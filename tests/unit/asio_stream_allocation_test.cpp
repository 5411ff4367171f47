// Counts heap allocations: none for weir's streams under Asio's algorithms once they are warm.
// Replaces operator new for this program.
#include <doctest/doctest.h>

#include <array>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>

#include "support/allocations.hpp"
#include "unit/back_ends.hpp"
#include "weir/asio.hpp"

using weir::shard;
using weir::task;
using weir::use_await;

namespace {

task<> ask(weir::asio_stream& from, weir::asio_stream& to, int times) {
  std::array<char, 100> bytes{};
  const std::array<asio::const_buffer, 2> parts{asio::buffer(bytes.data(), 50),
                                                asio::buffer(bytes.data() + 50, 50)};
  for (int i = 0; i < times; ++i) {
    co_await asio::async_write(from, parts, use_await);
    co_await asio::async_read(to, asio::buffer(bytes), use_await);
  }
}

}  // namespace

TEST_CASE("streams_under_asio_allocate_nothing_once_warm") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    weir::shard_context here(s);
    auto pair = weir::make_unix_pair(s);
    weir::asio_stream one(here, std::move(pair.first)), other(here, std::move(pair.second));
    co_await ask(one, other, 50);
    const auto before = weir::test::allocations();
    co_await ask(one, other, 200);
    CHECK(weir::test::allocations() == before);
  });
}
