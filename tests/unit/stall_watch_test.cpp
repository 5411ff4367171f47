// The watch over shards that do not turn: it says so while it lasts, and sleeps when they sleep.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "runtime/tasks/stall_watch.hpp"
#include "weir/weir.hpp"

using namespace std::chrono_literals;

namespace {

weir::config settings() {
  weir::config out;
  out.backend = "asio";
  return out;
}

/// Far beyond what anything here takes on the slowest machine.
template <class Reached>
bool reached(Reached r) {
  const auto until = std::chrono::steady_clock::now() + 30s;
  while (!r() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(1ms);
  return r();
}

}  // namespace

TEST_CASE("shard_that_does_not_turn_is_reported_while_it_does_not_and_counted") {
  weir::shard_thread thread(settings());
  std::atomic<int> stalled = 0, again = 0;
  weir::detail::stall_watch watch({&thread.shard()}, 20ms, [&](const std::string& line) {
    stalled += line.starts_with("shard 0 has not turned for ");
    again += line.starts_with("shard 0 turns again");
  });
  thread.shard().post([&] { CHECK(reached([&] { return stalled == 1; })); });
  CHECK(reached([&] { return again == 1; }));
  const auto counts = watch.counts();
  REQUIRE(counts.size() == 1);
  CHECK(counts[0].count == 1);
  CHECK(counts[0].longest >= 20ms);
}

TEST_CASE("watch_sleeps_with_its_shards_and_wakes_with_one") {
  weir::shard_thread thread(settings());
  std::atomic<int> lines = 0;
  weir::detail::stall_watch watch({&thread.shard()}, 20ms, [&](const std::string&) { ++lines; });
  REQUIRE(reached([&] { return watch.asleep(); }));
  const auto looks = watch.looks();
  std::this_thread::sleep_for(300ms);  // however long: nobody wakes it
  CHECK(watch.looks() == looks);
  CHECK(lines == 0);  // a shard that sleeps does not stall
  thread.shard().post([] {});
  CHECK(reached([&] { return watch.looks() > looks; }));
}
