// The tables in which flows and listeners are found, and port choice, each against a plain model.
#include <doctest/doctest.h>

#include <random>
#include <set>
#include <unordered_map>
#include <vector>

#include "stack/base/slab.hpp"
#include "stack/listen/flow_table.hpp"
#include "stack/listen/listener_table.hpp"
#include "stack/listen/ports.hpp"

using namespace weir;
using namespace weir::stack;

TEST_CASE("hash_index_matches_a_map_under_insertion_and_removal") {
  for (const std::uint64_t spread : {~0ull, 7ull}) {  // also when nearly all hashes collide
    hash_index index;
    std::unordered_map<std::uint32_t, std::uint64_t> model;
    std::mt19937_64 random(3);
    std::uint32_t next = 0;
    for (int i = 0; i < (spread == 7 ? 3000 : 50000); ++i) {
      if (model.empty() || random() % 5 < 3) {
        const auto hash = random() & spread;
        index.insert(hash, next);
        model.emplace(next++, hash);
      } else {
        auto victim = model.begin();
        std::advance(victim, static_cast<std::ptrdiff_t>(random() %
                                                         std::min<std::size_t>(model.size(), 10)));
        index.erase(victim->second, victim->first);
        model.erase(victim);
      }
      REQUIRE(index.size() == model.size());
      if (i % 97 == 0) {
        for (const auto& [value, hash] : model) {
          const auto wanted = value;
          REQUIRE(index.find(hash, [&](std::uint32_t v) { return v == wanted; }) == wanted);
        }
      }
    }
    CHECK(index.find(12345, [](std::uint32_t) { return false; }) == hash_index::none);
  }
}

// covers: 4987-1
TEST_CASE("flow_keys_hash_by_every_field_and_by_the_secret") {
  const siphash_key key{1, 2};
  const flow_key base{{"10.0.0.1", 1}, {"10.0.0.2", 2}};
  const auto h = base.hash<1, 3>(key);
  CHECK(h == flow_key{{"10.0.0.1", 1}, {"10.0.0.2", 2}}.hash<1, 3>(key));
  CHECK(h != flow_key{{"10.0.0.3", 1}, {"10.0.0.2", 2}}.hash<1, 3>(key));
  CHECK(h != flow_key{{"10.0.0.1", 3}, {"10.0.0.2", 2}}.hash<1, 3>(key));
  CHECK(h != flow_key{{"10.0.0.1", 1}, {"10.0.0.3", 2}}.hash<1, 3>(key));
  CHECK(h != flow_key{{"10.0.0.1", 1}, {"10.0.0.2", 3}}.hash<1, 3>(key));
  CHECK(h != flow_key{{"10.0.0.2", 2}, {"10.0.0.1", 1}}.hash<1, 3>(key));
  CHECK(h != base.hash<1, 3>({1, 3}));
  const flow_key six{{"fd00::1", 1}, {"fd00::2", 2}};
  CHECK(six.hash<1, 3>(key) != flow_key{{"fd00::1", 1}, {"fd00::3", 2}}.hash<1, 3>(key));
}

TEST_CASE("siphash_2_4_gives_the_published_vectors") {
  // From the reference implementation: key 00..0f, messages 00, 00 01, ...
  const std::uint64_t expected[] = {
      0x726fdb47dd0e0e31ull, 0x74f839c593dc67fdull, 0x0d6c8009d9a94f5aull,
      0x85676696d7fb7e2dull, 0xcf2794e0277187b7ull, 0x18765564cd99a68dull,
      0xcbc9466e58fee3ceull, 0xab0200f58b01d137ull, 0x93f5f5799a932462ull};
  const siphash_key key{0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
  std::vector<std::byte> message;
  for (std::size_t i = 0; i < std::size(expected); ++i) {
    CHECK(siphash<2, 4>(key, message) == expected[i]);
    message.push_back(static_cast<std::byte>(i));
  }
}

TEST_CASE("listener_table_prefers_the_specific_address") {
  listener_table table({7, 8});
  const endpoint specific("10.0.0.1", 80), other("10.0.0.2", 80), wildcard("0.0.0.0", 80),
      six("::", 80);
  CHECK(table.match(specific) == listener_table::none);
  const auto w = table.add(wildcard, {});
  CHECK(table.match(specific) == w);
  CHECK(table.match(endpoint("::1", 80)) == listener_table::none);
  const auto s = table.add(specific, {});
  const auto v6 = table.add(six, {});
  CHECK(table.match(specific) == s);
  CHECK(table.match(other) == w);
  CHECK(table.match(endpoint("::1", 80)) == v6);
  CHECK(table.match(endpoint("10.0.0.1", 81)) == listener_table::none);
  table.remove(s);
  CHECK(table.match(specific) == w);
}

// covers: 6056-2
TEST_CASE("ports_walk_the_whole_range_before_repeating") {
  port_allocator ports({5, 6});
  std::set<std::uint16_t> seen;
  const endpoint remote("10.0.0.2", 80);
  for (std::uint32_t i = 0; i < port_allocator::count; ++i) {
    const auto p =
        ports.choose(*ip_address::parse("10.0.0.1"), remote, [](std::uint16_t) { return true; });
    REQUIRE(p);
    seen.insert(*p);
  }
  CHECK(seen.size() == port_allocator::count);
  CHECK_FALSE(
      ports.choose(*ip_address::parse("10.0.0.1"), remote, [](std::uint16_t) { return false; }));
}

TEST_CASE("slab_keeps_addresses_and_objects_while_it_grows_into_large_pages") {
  struct wide {
    std::uint32_t number;
    std::byte rest[504 - sizeof(std::uint32_t)];
  };
  slab<wide, 256> s;
  CHECK(slab<wide, 256>::bytes_each == 508);
  constexpr std::uint32_t count = 3 * (2u << 20) / 508;
  std::vector<wide*> addresses;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto index = s.emplace(wide{i, {}});
    REQUIRE(index == i);
    addresses.push_back(&s[index]);
  }
  bool kept = true;
  for (std::uint32_t i = 0; i < count; ++i) kept &= &s[i] == addresses[i] && s[i].number == i;
  CHECK(kept);
  for (std::uint32_t i = 0; i < count; ++i) s.erase(i);
  CHECK(s.size() == 0);
  for (std::uint32_t i = 0; i < count; ++i) CHECK(s.emplace(wide{}) < count);
}

TEST_CASE("slab_recognises_indexes_that_outlived_their_object") {
  slab<int, 4> s;
  std::vector<std::uint32_t> all;
  for (int i = 0; i < 10; ++i) all.push_back(s.emplace(i));
  int* address = &s[all[3]];
  const auto generation = s.generation(all[3]);
  for (int i = 0; i < 100; ++i) (void)s.emplace(i);
  CHECK(&s[all[3]] == address);
  s.erase(all[3]);
  CHECK(s.find(all[3], generation) == nullptr);
  CHECK(s.emplace(77) == all[3]);
  CHECK(s.find(all[3], generation) == nullptr);
  CHECK(*s.find(all[3], s.generation(all[3])) == 77);
}
