// Send and receive queues against a plain model, and what they charge.
#include <doctest/doctest.h>

#include <array>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "stack/buffer/receive_queue.hpp"
#include "stack/buffer/send_queue.hpp"

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

TEST_CASE("receive_queue_keeps_of_each_byte_what_came_first") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    chunk_pool pool(1u << 30);
    std::mt19937 random(seed);
    receive_queue q;
    std::string model(4000, '\0');
    const auto insert = [&](std::size_t at, const std::string& text) {
      const auto before = model;
      for (std::size_t k = 0; k < text.size(); ++k)
        if (model[at + k] == '\0') model[at + k] = text[k];
      // What is in order already is the caller's to cut off.
      const auto done =
          std::min<std::size_t>(q.next_offset() - std::min(q.next_offset(), at), text.size());
      if (done == text.size()) return;
      const auto rest = as_bytes(text).subspan(done);
      REQUIRE(q.insert(pool, at + done, rest, 1u << 20) ==
              (before == model ? receive_queue::status::duplicate : receive_queue::status::stored));
    };
    for (char letter = 1; letter < 100; ++letter) {
      const auto at = random() % model.size();
      const auto n = 1 + random() % std::min<std::size_t>(model.size() - at, 400);
      insert(at, std::string(n, letter));
    }
    insert(0, std::string(model.size(), 'z'));
    std::string read(model.size() + 1, '\0');
    read.resize(q.read(pool, std::as_writable_bytes(std::span(read))));
    CHECK(read == model);
    CHECK(pool.account().used() == 0);
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
  CHECK(before == 2);
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

// --- Lending.

TEST_CASE("receive_queue_lends_its_chunks_and_is_charged_for_them_until_they_come_back") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    chunk_pool pool(1u << 30);
    std::mt19937 random(seed);
    receive_queue q;
    struct loan {
      chunk* memory;
      std::span<const std::byte> bytes;
      std::uint64_t at;
    };
    std::vector<loan> out;
    std::uint64_t read = 0, lent = 0;
    const auto take_back = [&] {
      const auto i = random() % out.size();
      const auto& one = out[i];
      REQUIRE(std::string(reinterpret_cast<const char*>(one.bytes.data()), one.bytes.size()) ==
              pattern(one.at, one.bytes.size()));
      lent -= one.bytes.size();
      q.take_back(pool, one.memory, static_cast<std::uint32_t>(one.bytes.size()));
      out.erase(out.begin() + static_cast<long>(i));
    };
    for (int i = 0; i < 3000; ++i) {
      // In order mostly, so that a chunk is filled on while parts of it are lent.
      const auto at = q.next_offset() + (random() % 8 == 0 ? random() % 3000 : 0);
      const auto text = pattern(at, 1 + random() % 900);
      REQUIRE(q.insert(pool, at, as_bytes(text), 1u << 20) != receive_queue::status::no_memory);
      if (random() % 2 == 0 && q.readable() > 0) {
        const auto bytes = q.peek();
        out.push_back({q.lend(pool), bytes, read});
        read += bytes.size();
        lent += bytes.size();
      } else if (random() % 3 == 0) {
        const auto n = std::min<std::uint32_t>(q.readable(), random() % 500);
        q.consume(pool, n);
        read += n;
      }
      while (!out.empty() && random() % 2 == 0) take_back();
      REQUIRE(q.lent() == lent);
      REQUIRE(q.charged() == pool.account().used());
    }
    q.clear(pool);
    CHECK(q.charged() == pool.account().used());
    while (!out.empty()) take_back();
    CHECK(q.charged() == 0);
    CHECK(pool.account().used() == 0);
  }
}

TEST_CASE("receive_queue_that_disowns_its_loans_leaves_them_to_their_holders") {
  chunk_pool pool(1u << 30);
  receive_queue q;
  const auto text = pattern(0, 600);
  (void)q.insert(pool, 0, as_bytes(text).first(300), 1u << 20);
  const auto bytes = q.peek();
  auto* first = q.lend(pool);
  (void)q.insert(pool, 400, as_bytes(text).subspan(400), 1u << 20);  // beyond a gap
  q.disown();
  CHECK(q.lent() == 0);
  CHECK(q.charged() + first->true_size() == pool.account().used());
  q.clear(pool);
  CHECK(q.charged() == 0);
  CHECK(pool.account().used() == first->true_size());
  CHECK(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) ==
        text.substr(0, 300));
  CHECK(pool.let_go(first));
  CHECK(pool.account().used() == 0);
}

TEST_CASE("what_is_lent_and_sent_on_is_the_send_queues_once_it_was_taken_back") {
  chunk_pool pool(1u << 30);
  receive_queue in;
  send_queue out;
  const auto text = pattern(0, 1000);
  (void)in.insert(pool, 0, as_bytes(text), 1u << 20);
  const auto bytes = in.peek();
  auto* c = in.lend(pool);
  REQUIRE(out.append_view(pool, *c, bytes, c->true_size()));
  in.take_back(pool, c, 1000);
  CHECK(in.charged() == 0);
  CHECK(out.charged() == pool.account().used());
  CHECK(gathered(out, 0, 1000) == text);
  out.consume(pool, 1000);
  CHECK(out.charged() == 0);
  CHECK(pool.account().used() == 0);
}

// --- Views.

namespace {

struct owner {
  std::string text;
  int released = 0;
  static void release(void* self) noexcept { ++static_cast<owner*>(self)->released; }
};

}  // namespace

TEST_CASE("send_queue_with_views_matches_a_string_and_lets_go_of_each_owner_once") {
  chunk_pool pool(1u << 30);
  std::mt19937 random(11);
  send_queue q;
  std::string model;
  std::vector<std::unique_ptr<owner>> owners;
  std::uint64_t written = 0;
  for (int i = 0; i < 4000; ++i) {
    const auto text = pattern(written, 1 + random() % 3000);
    if (random() % 2 == 0) {
      auto& o = *owners.emplace_back(std::make_unique<owner>());
      o.text = text;
      auto* keeper = pool.take_foreign(text.size(), &owner::release, &o);
      REQUIRE(keeper != nullptr);
      // In two pieces, as when there is room for one only.
      const auto half = text.size() / 2;
      if (half > 0) REQUIRE(q.append_view(pool, *keeper, as_bytes(o.text).first(half), 7));
      REQUIRE(q.append_view(pool, *keeper, as_bytes(o.text).subspan(half), 7));
      CHECK_FALSE(pool.let_go(keeper));
    } else {
      const std::span<const std::byte> parts[] = {as_bytes(text)};
      REQUIRE(q.append(pool, parts, text.size()) == text.size());
    }
    model += text;
    written += text.size();
    const auto at = random() % model.size();
    const auto want = std::min<std::size_t>(model.size() - at, random() % 9000 + 1);
    REQUIRE(gathered(q, static_cast<std::uint32_t>(at), want) == model.substr(at, want));
    const auto done = random() % (std::min<std::size_t>(model.size(), 4000) + 1);
    q.consume(pool, static_cast<std::uint32_t>(done));
    model.erase(0, done);
    REQUIRE(q.size() == model.size());
    for (const auto& o : owners) REQUIRE(o->released <= 1);
  }
  // Small chunks between views: what they waste stays a small multiple of what they hold.
  CHECK(q.charged() < 4 * q.size() + 4 * 65568);
  q.clear(pool);
  CHECK(q.charged() == 0);
  CHECK(pool.account().used() == 0);
  for (const auto& o : owners) CHECK(o->released == 1);
}

TEST_CASE("foreign_memory_is_charged_until_the_last_holder_lets_go") {
  chunk_pool pool(10'000);
  owner o;
  CHECK(pool.take_foreign(20'000, &owner::release, &o) == nullptr);
  CHECK(o.released == 0);
  CHECK(pool.account().used() == 0);
  auto* keeper = pool.take_foreign(5'000, &owner::release, &o);
  REQUIRE(keeper != nullptr);
  CHECK(pool.account().used() >= 5'000);
  auto* seen = pool.take_view(*keeper, nullptr);
  REQUIRE(seen != nullptr);
  CHECK_FALSE(pool.let_go(keeper));
  CHECK(o.released == 0);
  CHECK(pool.let_go(seen));
  CHECK(o.released == 1);
  CHECK(pool.account().used() == 0);
}

TEST_CASE("memory that runs out between two charges leaves the account as it was") {
  const auto release = [](void*) noexcept { FAIL("nothing was kept"); };
  chunk_pool pool(1000);
  REQUIRE(pool.account().charge(100));
  CHECK(pool.take_foreign(890, release, nullptr) == nullptr);  // the bytes fit, what keeps them not
  CHECK(pool.account().used() == 100);
  CHECK(pool.take_foreign(901, release, nullptr) == nullptr);
  CHECK(pool.account().used() == 100);
  auto* const keeper = pool.take(1);
  REQUIRE(keeper != nullptr);
  const auto used = pool.account().used();
  REQUIRE(pool.account().charge(pool.account().available() - 10));
  CHECK(pool.take_view(*keeper, keeper->data()) == nullptr);
  CHECK(+keeper->holders == 1);
  pool.account().release(pool.account().used() - used);
  pool.give(keeper);
}

TEST_CASE("an account keeps a reserve, and says how short it is") {
  memory_account account(800'000);
  CHECK(account.bulk_available() == 700'000);
  CHECK_FALSE(account.pressure());
  CHECK(account.share() == 87'500);
  REQUIRE(account.charge(600'000));
  CHECK(account.pressure());
  CHECK(account.share() == 12'500);
  CHECK(account.level() == shortage::none);
  REQUIRE(account.charge(60'000));
  CHECK(account.level() == shortage::bulk);
  CHECK_FALSE(account.relieved());
  REQUIRE(account.charge(40'000));
  // Nothing beside the reserve: a little all the same.
  CHECK(account.share() == 0);
  CHECK(account.send_share() == memory_account::small_send);
  CHECK(account.receive_share() == memory_account::small_receive);
  REQUIRE(account.charge(50'000));
  CHECK(account.level() == shortage::reserve);
  REQUIRE(account.charge(40'000));
  CHECK(account.level() == shortage::critical);
  REQUIRE(account.charge(9'000));
  // What came from another host counts also where it is too much.
  CHECK_FALSE(account.adopt(5'000));
  CHECK(account.available() == 0);
  CHECK_FALSE(account.charge(1));
  account.release(204'000);
  CHECK(account.relieved());
  CHECK(account.level() == shortage::none);
}

TEST_CASE("queues take no larger chunk than they may be charged for") {
  chunk_pool pool(1u << 20);
  send_queue sends;
  const auto text = pattern(0, 60'000);
  const std::span<const std::byte> all[] = {as_bytes(text)};
  CHECK(sends.append(pool, all, 40'000) == 40'000);
  const auto before = sends.charged();
  const auto spare = sends.spare();
  CHECK(sends.append(pool, all, spare + 480) == spare + 480);
  CHECK(sends.charged() == before + chunk_pool::cost(480));
  sends.clear(pool);
  receive_queue received;
  CHECK(received.insert(pool, 0, as_bytes(text), 4160) == receive_queue::status::no_memory);
  CHECK(received.readable() > 0);
  CHECK(received.charged() <= 4160);
  received.clear(pool);
  CHECK(pool.account().used() == 0);
}

TEST_CASE("memory_that_is_full_between_two_charges_leaves_the_account_as_it_was") {
  // The bytes are affordable, and then what stands for them is not: at each place of the border.
  for (std::uint64_t limit = 990; limit <= 1100; ++limit) {
    chunk_pool pool(limit);
    owner o;
    auto* kept = pool.take_foreign(1000, &owner::release, &o);
    if (kept == nullptr) {
      CHECK(pool.account().used() == 0);
      CHECK(o.released == 0);
      continue;
    }
    // A view beside it, where there is room.
    const auto before = pool.account().used();
    auto* view = pool.take_view(*kept, nullptr);
    CHECK(pool.account().used() - before == (view != nullptr ? view->true_size() : 0));
    if (view != nullptr) pool.give(view);
    CHECK(pool.account().used() == before);
    pool.give(kept);
    CHECK(pool.account().used() == 0);
    CHECK(o.released == 1);
  }
}

TEST_CASE("bytes_in_order_take_as_few_chunks_as_hold_them") {
  chunk_pool pool(1u << 24);
  receive_queue q;
  const auto segment = pattern(0, 65'160);
  for (int i = 0; i < 4; ++i)
    CHECK(q.insert(pool, q.next_offset(), as_bytes(segment), 1u << 22) ==
          receive_queue::status::stored);
  std::size_t pieces = 0;
  while (q.readable() != 0) {
    ++pieces;
    q.consume(pool, static_cast<std::uint32_t>(q.peek().size()));
  }
  CHECK(pieces == 4);  // also where a segment fills up what the one before it left
}

TEST_CASE("what_does_not_fit_in_order_is_taken_in_part_in_the_next_smaller_chunk") {
  // The limit leaves room for a chunk of that class, and for none of the wanted one.
  for (const auto [had, more, part] : {std::array{16'384u, 2'000u, 480u},
                                       {65'536u, 2'000u, 480u},
                                       {65'536u, 10'000u, 2'048u},
                                       {65'536u, 40'000u, 16'384u}}) {
    CAPTURE(had);
    CAPTURE(more);
    chunk_pool pool(1u << 20);
    receive_queue q;
    const auto first = pattern(0, had), next = pattern(had, more);
    REQUIRE(q.insert(pool, 0, as_bytes(first), 1u << 20) == receive_queue::status::stored);
    const auto before = q.charged();
    REQUIRE(before == chunk_pool::cost(had));
    const auto room = chunk_pool::cost(part);
    CHECK(q.insert(pool, had, as_bytes(next), before + room) == receive_queue::status::no_memory);
    CHECK(q.readable() == had + part);
    CHECK(q.charged() == before + room);
    q.clear(pool);
    CHECK(pool.account().used() == 0);
  }
}
