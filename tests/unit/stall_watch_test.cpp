// The watch over shards that do not turn: it says so while it lasts, and sleeps when they sleep.
#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "runtime/tasks/stall_watch.hpp"
#include "runtime/tasks/thread_stack.hpp"
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

struct released {};

[[noreturn, gnu::noinline]] void waits_to_be_released(std::atomic<bool>& go) {
  while (!go) ::usleep(1000);  // where the thread sanitizer lets a signal in
  throw released();
}

/// Its last instruction is the call: what it would return to lies behind it.
[[gnu::noinline]] void ends_with_a_call(std::atomic<bool>& go) { waits_to_be_released(go); }

[[gnu::noinline]] int calls_in_its_middle(std::atomic<bool>& go) {
  try {
    ends_with_a_call(go);
  } catch (const released&) {
    return 1;
  }
  return 0;
}

}  // namespace

TEST_CASE("stack_of_a_thread_names_functions_even_where_they_end_with_the_call") {
  std::atomic<int> id = 0, ended = 0;
  std::atomic<bool> go = false;
  std::thread waiting([&] {
    id = ::gettid();
    ended = calls_in_its_middle(go);
  });
  weir::detail::stack_taker taker;
  std::string names;
  const auto shown = [&](const char* function) {
    return names.find(std::string(function) + '(') != std::string::npos;
  };
  CHECK(reached([&] {
    names.clear();
    for (void* at : taker.take(id)) names += taker.name(at) + '\n';
    return shown("waits_to_be_released");
  }));
  INFO(names);
  CHECK(shown("ends_with_a_call"));
  CHECK(shown("calls_in_its_middle"));
  go = true;
  waiting.join();
  CHECK(ended == 1);
}

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
