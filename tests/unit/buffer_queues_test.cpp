// Send and receive queues against a plain model, and what they charge.
#include <doctest/doctest.h>

#include <array>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "buffer/receive_queue.hpp"
#include "buffer/send_queue.hpp"

using namespace weir::stack::buffer;

namespace {

std::span<const std::byte> as_bytes(const std::string& s) {
  return std::as_bytes(std::span(s.data(), s.size()));
}

std::string pattern(std::uint64_t from, std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += static_cast<char>((from + i) * 131 >> 3);
  return out;
}

std::string gathered(send_queue& q, std::uint32_t offset, std::size_t n) {
  std::string out;
  std::array<std::span<const std::byte>, 4> parts;
  while (n > 0) {
    std::size_t count = 0;
    const auto got = q.gather(offset, n, parts, count);
    for (std::size_t i = 0; i < count; ++i)
      out.append(reinterpret_cast<const char*>(parts[i].data()), parts[i].size());
    offset += static_cast<std::uint32_t>(got);
    n -= got;
  }
  return out;
}

}  // namespace

TEST_CASE("send_queue_matches_a_string") {
  chunk_pool pool(1u << 30);
  std::mt19937 random(5);
  send_queue q;
  std::string model;
  std::uint64_t written = 0;
  for (int i = 0; i < 5000; ++i) {
    const auto n = random() % (i % 50 == 0 ? 100000 : 700);
    const auto text = pattern(written, n);
    const std::span<const std::byte> parts[] = {as_bytes(text).first(n / 2),
                                                as_bytes(text).subspan(n / 2)};
    const auto taken = q.append(pool, parts, 200000 - std::min<std::size_t>(200000, model.size()));
    model += text.substr(0, taken);
    written += taken;
    if (!model.empty()) {
      const auto at = random() % model.size();
      const auto want = std::min<std::size_t>(model.size() - at, random() % 5000 + 1);
      REQUIRE(gathered(q, static_cast<std::uint32_t>(at), want) == model.substr(at, want));
    }
    const auto done = model.empty() ? 0 : random() % std::min<std::size_t>(model.size(), 2000);
    q.consume(pool, static_cast<std::uint32_t>(done));
    model.erase(0, done);
    REQUIRE(q.size() == model.size());
    REQUIRE(q.charged() == pool.account().used());
    REQUIRE(q.charged() <= q.size() + 3 * 65568);  // only the ends are partly filled
  }
  q.clear(pool);
  CHECK(pool.account().used() == 0);
}

TEST_CASE("send_queue_takes_less_when_memory_is_full") {
  chunk_pool pool(3000);
  send_queue q;
  const std::string text(100000, 'x');
  const std::span<const std::byte> parts[] = {as_bytes(text)};
  CHECK(q.append(pool, parts, text.size()) == 0);  // not even one chunk of the wanted class fits
  const std::span<const std::byte> small[] = {as_bytes(text).first(400)};
  CHECK(q.append(pool, small, 400) == 400);
  CHECK(pool.account().used() <= 3000);
  q.clear(pool);
}

TEST_CASE("receive_queue_matches_a_map_of_bytes") {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    chunk_pool pool(1u << 30);
    std::mt19937 random(seed);
    receive_queue q;
    std::map<std::uint64_t, char> beyond;
    std::uint64_t next = 0, read = 0;
    for (int i = 0; i < 2000; ++i) {
      const auto skip = random() % 3 == 0 ? 0 : random() % 8000;
      const auto n = 1 + random() % (random() % 20 == 0 ? 9000 : 300);
      const auto at = next + skip;
      const auto text = pattern(at, n);
      const auto outcome = q.insert(pool, at, as_bytes(text), 1u << 20);
      REQUIRE((outcome == receive_queue::status::stored ||
               outcome == receive_queue::status::duplicate));
      for (std::size_t k = 0; k < n; ++k) beyond.emplace(at + k, text[k]);
      while (!beyond.empty() && beyond.begin()->first == next) {
        beyond.erase(beyond.begin());
        ++next;
      }
      REQUIRE(q.next_offset() == next);
      REQUIRE(q.out_of_order() == beyond.size());
      std::uint64_t held = 0, last = next;
      for (auto range : q.ranges()) {
        REQUIRE(range.begin > last);
        REQUIRE(range.end > range.begin);
        held += range.end - range.begin;
        last = range.end;
      }
      REQUIRE(held == beyond.size());
      if (random() % 4 == 0) {
        const auto head = q.peek();
        const auto take = head.empty() ? 0 : 1 + random() % head.size();
        REQUIRE(std::string(reinterpret_cast<const char*>(head.data()), take) ==
                pattern(read, take));
        q.consume(pool, static_cast<std::uint32_t>(take));
        read += take;
      }
      REQUIRE(q.charged() == pool.account().used());
    }
    q.clear(pool);
    REQUIRE(pool.account().used() == 0);
  }
}

TEST_CASE("receive_queue_bounds_ranges_and_memory") {
  chunk_pool pool(1u << 30);
  receive_queue q;
  const std::string one = "x";
  std::size_t refused = 0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    if (q.insert(pool, 2 + i * 2, as_bytes(one), 1u << 20) == receive_queue::status::no_range)
      ++refused;
  }
  CHECK(q.ranges().size() == receive_queue::max_ranges);
  CHECK(refused == 3000 - receive_queue::max_ranges);
  CHECK(q.charged() < 64 * 1024);
  q.clear(pool);
  CHECK(q.insert(pool, 1000000, as_bytes(one), 100) == receive_queue::status::no_memory);
  CHECK(pool.account().used() == 0);
}

TEST_CASE("pool_recycles_last_in_first_out_and_stops_allocating") {
  chunk_pool pool(1u << 30);
  auto* a = pool.take(100);
  auto* b = pool.take(100);
  pool.give(a);
  pool.give(b);
  CHECK(pool.take(100) == b);
  CHECK(pool.take(100) == a);
  pool.give(a);
  pool.give(b);
  const auto before = pool.allocations();
  receive_queue in;
  send_queue out;
  const auto text = pattern(0, 400);
  const std::span<const std::byte> parts[] = {as_bytes(text)};
  for (int i = 0; i < 1000; ++i) {
    (void)in.insert(pool, in.next_offset(), as_bytes(text), 1u << 20);
    (void)out.append(pool, parts, 1u << 20);
    in.consume(pool, in.readable());
    out.consume(pool, out.size());
  }
  CHECK(pool.allocations() == before);
  CHECK(pool.account().used() == 0);
}

TEST_CASE("account_never_exceeds_its_limit") {
  chunk_pool pool(10000);
  std::vector<chunk*> held;
  while (auto* c = pool.take(2048)) held.push_back(c);
  CHECK(held.size() == 4);
  CHECK(pool.account().used() <= 10000);
  for (auto* c : held) pool.give(c);
  CHECK(pool.account().used() == 0);
}
