// The states of a link's neighbours (RFC 4861 7.3.2), and the bounds of their table.
#include <doctest/doctest.h>

#include "unit/link_support.hpp"

using namespace weir;
using namespace weir::test;
using stack::neighbour_state;
using stack::neighbour_table;

namespace {

/// A table, its clock, what it asked and what left it.
class table_bench final : private stack::neighbour_owner {
 public:
  explicit table_bench(const stack::neighbour_limits& limits = {})
      : table(limits, *this, counters) {}

  bool keep(const ip_address& to, std::size_t size = 10) {
    const auto packet = pattern(size);
    const std::span<const std::byte> parts[] = {packet};
    return table.keep_waiting(now, to, parts, {});
  }
  void pass(duration time) {
    for (const auto end = now + time;;) {
      if (table.next_deadline() > end) {
        now = end;
        return;
      }
      now = std::max(now, table.next_deadline());
      table.advance(now);
    }
  }
  neighbour_state state(const ip_address& who) const {
    const auto* found = table.state_of(who);
    REQUIRE(found != nullptr);
    return *found;
  }

  instant now = instant::from_ns(1'000'000'000);
  stack::link_counters counters;
  std::vector<std::pair<ip_address, bool>> asked;  // whom, and whether at its own card
  std::vector<bytes> left;
  neighbour_table table;

 private:
  void ask(const ip_address& target, const mac_address* known) override {
    asked.emplace_back(target, known != nullptr);
  }
  void send_waiting(const mac_address&, std::span<const std::byte> packet,
                    const stack::transmit_meta&) override {
    left.emplace_back(packet.begin(), packet.end());
  }
};

ip_address host(unsigned n) { return ip_address::v4(0x0a000000u + n); }

}  // namespace

// covers: 8504-1
TEST_CASE("neighbour_goes_through_its_states_while_it_is_used") {
  table_bench b;
  const auto who = host(1);
  CHECK(b.keep(who));
  CHECK(b.state(who) == neighbour_state::incomplete);
  CHECK(b.table.answered(b.now, who, {guest_mac, true, true}));
  CHECK(b.state(who) == neighbour_state::reachable);
  CHECK(b.left.size() == 1);
  b.pass(neighbour_table::reachable_time);
  CHECK(b.state(who) == neighbour_state::stale);
  REQUIRE(b.table.find(b.now, who) != nullptr);
  CHECK(b.state(who) == neighbour_state::delay);
  b.asked.clear();
  b.pass(neighbour_table::delay_first_probe);
  CHECK(b.state(who) == neighbour_state::probe);
  CHECK(b.asked == std::vector{std::pair{who, true}});
  CHECK(b.table.answered(b.now, who, {guest_mac, true, false}));
  CHECK(b.state(who) == neighbour_state::reachable);
}

TEST_CASE("neighbour_that_answers_no_probe_is_forgotten") {
  table_bench b;
  b.table.heard(b.now, host(1), guest_mac);
  CHECK(b.state(host(1)) == neighbour_state::stale);
  b.pass(24h);  // unused, it is asked nothing
  CHECK(b.asked.empty());
  b.table.find(b.now, host(1));
  b.pass(5s);
  REQUIRE(b.table.find(b.now, host(1)) != nullptr);  // used while it is asked
  b.pass(3s);
  CHECK(b.asked.size() == 3);
  CHECK(b.table.state_of(host(1)) == nullptr);
  CHECK(b.counters[link_counter::neighbours_lost] == 1);
}

TEST_CASE("answer_that_may_not_replace_casts_doubt_only") {
  table_bench b;
  CHECK_FALSE(b.table.answered(b.now, host(1), {guest_mac, true, true}));
  b.keep(host(1));
  b.table.answered(b.now, host(1), {guest_mac, true, true});
  b.table.answered(b.now, host(1), {other_mac, true, false});
  CHECK(b.state(host(1)) == neighbour_state::stale);
  CHECK(*b.table.card_of(host(1)) == guest_mac);
  b.table.answered(b.now, host(1), {other_mac, false, true});
  CHECK(*b.table.card_of(host(1)) == other_mac);
  CHECK(b.state(host(1)) == neighbour_state::stale);
}

TEST_CASE("neighbour_table_full_of_questions_takes_no_more") {
  stack::neighbour_limits limits;
  limits.neighbours = 4;
  table_bench b(limits);
  for (unsigned i = 0; i < 4; ++i) CHECK(b.keep(host(i)));
  CHECK_FALSE(b.keep(host(4)));
  CHECK(b.counters[link_counter::drop_neighbours_full] == 1);
  CHECK(b.table.size() == 4);
  b.pass(3s);
  CHECK(b.table.size() == 0);
  CHECK(b.keep(host(4)));
}

TEST_CASE("neighbour_used_longest_ago_makes_room_for_a_new_one") {
  stack::neighbour_limits limits;
  limits.neighbours = 3;
  table_bench b(limits);
  b.keep(host(0));
  b.table.answered(b.now, host(0), {guest_mac, true, true});  // in use: it stays
  for (unsigned i = 1; i < 50; ++i) {
    b.pass(1ms);
    b.table.heard(b.now, host(i), other_mac);
    CHECK(b.table.size() <= 3);
  }
  CHECK(b.counters[link_counter::neighbours_evicted] == 47);
  CHECK(b.table.state_of(host(0)) != nullptr);
  CHECK(b.table.state_of(host(49)) != nullptr);
  CHECK(b.table.state_of(host(47)) == nullptr);
}

TEST_CASE("waiting_packets_are_bounded_in_number_and_bytes") {
  stack::neighbour_limits limits;
  limits.waiting_bytes = 100;
  table_bench b(limits);
  for (int i = 0; i < 3; ++i) CHECK(b.keep(host(1), 10));
  CHECK_FALSE(b.keep(host(1), 10));
  CHECK(b.keep(host(2), 70));
  CHECK_FALSE(b.keep(host(3), 1));
  CHECK(b.counters[link_counter::drop_waiting_full] == 2);
  CHECK(b.table.waiting_bytes() == 100);
  b.table.answered(b.now, host(1), {guest_mac, true, true});
  CHECK(b.left.size() == 3);
  CHECK(b.table.waiting_bytes() == 70);
  b.pass(3s);
  CHECK(b.table.waiting_bytes() == 0);
  CHECK(b.counters[link_counter::drop_unresolved] == 1);
}
