// The main proof: random worlds, one per seed (plan.hpp says what a seed draws). In every one each
// byte arrives once and in order, no window or memory bound is broken at any step, every connection
// ends, and nothing is left over: no flow, no half-open entry, no TIME_WAIT after its time, no
// byte.
//
// The seeds are dealt out to the test cases, which ctest runs side by side. WEIR_SIM_SEEDS says how
// many, WEIR_SIM_FROM where they begin, WEIR_SIM_SEED runs one alone, WEIR_SIM_PCAP captures it:
// ./dev sim sets them.
#include <doctest/doctest.h>

#include "sim/seeds.hpp"
#include "sim/world.hpp"

using namespace sim_test;

namespace {

constexpr std::uint64_t hands = 8;

std::string run_world(std::uint64_t seed) {
  const char* pcap = std::getenv("WEIR_SIM_PCAP");
  world one(draw_world(seed), pcap == nullptr ? "" : pcap);
  return one.run();
}

// Every seed whose remainder is `hand`.
void deal(std::uint64_t hand) {
  auto wanted = seeds_wanted(WEIR_SIM_WORLDS);
  std::uint64_t run = 0;
  for (auto seed = wanted.first; seed < wanted.first + wanted.count; ++seed) {
    if (seed % hands != hand) continue;
    ++run;
    auto failure = run_world(seed);
    if (failure.empty()) continue;
    report_seed(seed, failure);
    if (!keep_going()) break;
  }
  MESSAGE(run << " worlds");
  CHECK((run > 0 || wanted.count < hands));
}

}  // namespace

#define WEIR_WORLDS(hand) \
  TEST_CASE("every_promise_holds_in_every_random_world_" #hand) { deal(hand); }
WEIR_WORLDS(0)
WEIR_WORLDS(1)
WEIR_WORLDS(2)
WEIR_WORLDS(3)
WEIR_WORLDS(4)
WEIR_WORLDS(5)
WEIR_WORLDS(6)
WEIR_WORLDS(7)

TEST_CASE("a_random_world_replays_exactly") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    world first(draw_world(seed)), second(draw_world(seed));
    CHECK(first.run() == second.run());
    CHECK(first.trace() == second.trace());
    CHECK(first.now() == second.now());
  }
}
