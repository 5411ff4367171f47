// In steady state a request and its reply take nothing from the allocator: neither host, both
// counted together.
#include <doctest/doctest.h>

#include "stack/buffer/chunk_pool.hpp"
#include "support/allocations.hpp"
#include "weir/stack/host.hpp"

using namespace weir;
using namespace weir::stack;

namespace {

/// A device that keeps packets in buffers of its own, made before anything is counted.
struct fixed_sink final : packet_sink {
  std::vector<std::vector<std::byte>> packets =
      std::vector<std::vector<std::byte>>(64, std::vector<std::byte>(70000));
  std::vector<std::size_t> lengths = std::vector<std::size_t>(64);
  std::size_t count = 0;
  bool transmit(std::span<const std::span<const std::byte>> parts, const transmit_meta&) override {
    if (count == packets.size()) return false;
    auto* to = packets[count].data();
    for (auto part : parts) {
      std::copy(part.begin(), part.end(), to);
      to += part.size();
    }
    lengths[count] = static_cast<std::size_t>(to - packets[count].data());
    ++count;
    return true;
  }
};

}  // namespace

namespace {

/// What the server does with a request.
enum class echo : std::uint8_t { copied, sent_on };

void steady_state(echo how) {
  host_options a, b;
  a.addresses = {*ip_prefix::parse("10.0.0.1/24")};
  b.addresses = {*ip_prefix::parse("10.0.0.2/24")};
  a.transmit_segmentation_offload = a.transmit_checksum_offload = true;
  b.transmit_segmentation_offload = b.transmit_checksum_offload = true;
  fixed_sink to_a, to_b;
  host left(a, to_b), right(b, to_a);
  auto now = instant::from_ns(1'000'000'000);
  receive_meta meta;
  meta.checksum_good = true;
  const auto deliver = [&](host& h, fixed_sink& from) {
    for (std::size_t i = 0; i < from.count; ++i)
      h.input(now, std::span(from.packets[i]).first(from.lengths[i]), meta);
    from.count = 0;
  };
  const auto listener = *right.listen({"10.0.0.2", 80}, {});
  const auto client = *left.connect(now, {"10.0.0.2", 80}, {}, {});
  for (int i = 0; i < 4; ++i) {
    deliver(right, to_b);
    right.flush(now);
    deliver(left, to_a);
    left.flush(now);
  }
  const auto server = *right.accept(listener);
  const std::vector<std::byte> request(20000);
  std::size_t echoed = 0;
  const auto exchange = [&](std::size_t size) {
    const std::span<const std::byte> parts[] = {std::span(request).first(size)};
    (void)left.send(now, client, parts);
    for (int turn = 0; turn < 4; ++turn) {
      deliver(right, to_b);
      for (auto head = right.peek(server); !head.empty(); head = right.peek(server)) {
        if (how == echo::sent_on) {
          const auto lent = *right.lend(now, server);
          (void)right.send_lent(now, server, lent, lent.bytes());
          right.release(now, lent);
          continue;
        }
        const std::span<const std::byte> reply[] = {head};
        (void)right.send(now, server, reply);
        right.consume(now, server, head.size());
      }
      right.flush(now);
      deliver(left, to_a);
      for (auto head = left.peek(client); !head.empty(); head = left.peek(client)) {
        echoed += head.size();
        left.consume(now, client, head.size());
      }
      left.flush(now);
      now += std::chrono::microseconds(50);
      left.advance(now);
      right.advance(now);
    }
    event e;
    while (left.next_event(e) || right.next_event(e)) {
    }
  };
  for (int i = 0; i < 200; ++i) exchange(i % 2 == 0 ? 64 : 16384);
  echoed = 0;
  const auto before = weir::test::allocations();
  for (int i = 0; i < 1000; ++i) exchange(i % 2 == 0 ? 64 : 16384);
  CHECK(weir::test::allocations() == before);
  CHECK(echoed == 500 * (64 + 16384));
}

}  // namespace

TEST_CASE("tcp_request_and_reply_allocate_nothing_in_steady_state") { steady_state(echo::copied); }

TEST_CASE("what_is_lent_and_sent_on_allocates_nothing_in_steady_state") {
  steady_state(echo::sent_on);
}

TEST_CASE("memory_that_the_system_refuses_is_not_charged") {
  buffer::chunk_pool pool(1u << 30);
  auto* const keeper = pool.take(2048);
  REQUIRE(keeper != nullptr);
  const auto before = pool.account().used();
  const auto refused = [&](std::size_t bytes, const auto& take) {
    weir::test::refuse_allocation(bytes);
    CHECK(take() == nullptr);
    CHECK(pool.account().used() == before);
    auto* const second = take();  // the next time it goes well
    REQUIRE(second != nullptr);
    CHECK(pool.account().used() > before);
    pool.give(second);
    CHECK(pool.account().used() == before);
  };
  for (const auto capacity : {480u, 16384u, 65536u})
    refused(buffer::chunk_pool::cost(capacity), [&] { return pool.take(capacity); });
  const auto small = buffer::chunk_capacities.back() + sizeof(buffer::chunk);
  refused(small, [&] { return pool.take_view(*keeper, nullptr); });
  pool.give(keeper);
  CHECK(pool.account().used() == 0);
}

TEST_CASE("foreign_memory_for_which_the_system_refuses_a_record_is_not_charged") {
  buffer::chunk_pool pool(1u << 30);
  weir::test::refuse_allocation(buffer::chunk_capacities.back() + sizeof(buffer::chunk));
  CHECK(pool.take_foreign(5000, [](void*) noexcept {}, nullptr) == nullptr);
  CHECK(pool.account().used() == 0);
}
