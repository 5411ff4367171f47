// The ring of a shard's last events: its bound, what goes together, readers on other threads, and
// its words.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "runtime/core/flight_recorder.hpp"
#include "runtime/core/flight_words.hpp"
#include "unit/core_world.hpp"
#include "weir/error.hpp"

using namespace std::chrono_literals;
using namespace weir::detail;
using kind = flight_event::kind;
using weir::endpoint;
using weir::instant;

namespace {

constexpr instant later(std::int64_t us) { return instant::from_ns(us * 1000); }

flight_event numbered(std::uint64_t i) {
  const auto n = static_cast<std::uint16_t>(i % 60'000 + 1);
  return {.at = later(static_cast<std::int64_t>(i)),
          .count = i,
          .peer = endpoint(weir::ip_address::loopback_v4(), n),
          .port = n};
}

std::string said(const flight_event& event, instant now = {}) {
  std::array<char, 512> text;
  return std::string(in_words(event, now, text));
}

}  // namespace

TEST_CASE("recorder_keeps_its_last_events_and_no_more") {
  flight_recorder recorder(8);
  std::array<flight_event, 64> got;
  CHECK(recorder.last(got) == 0);
  for (std::uint64_t i = 0; i < 5; ++i) recorder.add(numbered(i));
  REQUIRE(recorder.last(got) == 5);
  CHECK(got[0].count == 0);
  for (std::uint64_t i = 5; i < 1000; ++i) {
    recorder.add(numbered(i));
    const auto n = recorder.last(got);
    REQUIRE(n == std::min<std::uint64_t>(i + 1, 8));
    for (std::size_t j = 0; j < n; ++j) REQUIRE(got[j].count == i + 1 - n + j);
  }
  CHECK(recorder.written() == 1000);
  CHECK(recorder.size() == 8);
  REQUIRE(recorder.last(std::span(got).first(3)) == 3);
  CHECK(got[0].count == 997);
  CHECK(got[2].count == 999);
}

TEST_CASE("recorder_of_one_event_keeps_the_last") {
  flight_recorder recorder(1);
  std::array<flight_event, 2> got;
  for (std::uint64_t i = 0; i < 3; ++i) recorder.add(numbered(i));
  REQUIRE(recorder.last(got) == 1);
  CHECK(got[0].count == 2);
}

TEST_CASE("flood_of_one_drop_is_one_event_a_second") {
  flight_recorder recorder(4);
  recorder.add(numbered(1));
  const auto drop = [&](const char* name, std::int64_t us) {
    recorder.add({.at = later(us), .about = name, .what = kind::counted});
  };
  constexpr const char* one = "drop_tcp_paws";
  for (int i = 0; i < 100'000; ++i) drop(one, i);
  std::array<flight_event, 4> got;
  REQUIRE(recorder.last(got) == 2);
  CHECK(got[0].what == kind::accepted);
  CHECK(got[1].count == 100'000);
  CHECK(got[1].lasted_us == 99'999);
  drop("drop_tcp_memory", 100'000);  // another one
  drop(one, 100'001);
  drop(one, 2'000'000);  // much later
  CHECK(recorder.written() == 5);
}

TEST_CASE("recorder_is_read_whole_while_its_shard_writes") {
  flight_recorder recorder(16);
  std::atomic<bool> end = false;
  std::thread shard([&] {
    for (std::uint64_t i = 1; !end; ++i) recorder.add(numbered(i));
  });
  std::array<flight_event, 16> got;
  for (int looked = 0; looked < 20'000; ++looked) {
    const auto n = recorder.last(got);
    for (std::size_t i = 0; i < n; ++i) {
      const auto whole = numbered(got[i].count);
      REQUIRE(got[i].at == whole.at);
      REQUIRE(got[i].peer == whole.peer);
      REQUIRE(got[i].port == whole.port);
      if (i != 0) REQUIRE(got[i].count == got[i - 1].count + 1);
    }
  }
  end = true;
  shard.join();
}

TEST_CASE("events_have_words_that_fit_any_room") {
  flight_event event = numbered(6);
  event.count = 1;
  CHECK(said(event, later(1'500'006)) == "-1.500000 s accept 127.0.0.1:7 at port 7");
  event = {.at = later(5), .peer = endpoint("2001:db8::1", 80), .what = kind::broke};
  event.set_error(std::make_error_code(std::errc::connection_reset));
  CHECK(said(event) ==
        "+0.000005 s connection broke [2001:db8:0:0:0:0:0:1]:80: Connection reset by peer");
  event.set_error(make_error_code(weir::error::truncated));
  CHECK(said(event).ends_with(": stream cut off"));
  event = {.count = 3, .about = "drop_tcp_paws", .what = kind::counted};
  CHECK(said(event) == "-0.000000 s of the stack: drop_tcp_paws, times: 3");
  std::array<char, 12> little;
  CHECK(in_words(event, {}, little) == "-0.000000 s ");
  std::array<char, 1> least;
  CHECK(in_words(event, {}, std::span(least).first(0)).empty());
}

TEST_CASE("timeouts_drains_and_refused_tasks_are_among_the_last_events_with_their_places") {
  core_test::world world;
  world.run([&](weir::shard& s) -> weir::task<> {
    weir::event never;
    auto waited = co_await never.wait().timeout(1ms).nothrow();
    CHECK(waited == std::errc::timed_out);
    weir::scope tasks(s, {.max = 1});
    CHECK(tasks.spawn([](weir::event& e) -> weir::task<> {
      auto ended = co_await e.wait().nothrow();
      (void)ended;
    }(never)));
    CHECK_FALSE(tasks.spawn([]() -> weir::task<> { co_await weir::yield(); }()));
    co_await tasks.drain(2ms);
  });
  const auto& recorder = world.shard().recorder();
  REQUIRE(recorder != nullptr);
  std::array<flight_event, 16> got;
  REQUIRE(recorder->last(got) == 4);
  CHECK(got[0].what == kind::timed_out);
  CHECK(got[1].what == kind::task_refused);
  CHECK(got[2].what == kind::drain_begun);
  CHECK(got[2].count == 1);
  CHECK(got[3].what == kind::drain_ended_early);
  CHECK(got[3].at - got[2].at >= 2ms);
  CHECK(got[3].at - got[2].at < 3ms);  // of the timer wheel's grain
#if WEIR_WITH_TASKS
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(said(got[i]).find("core_recorder_test.cpp:") != std::string::npos);
#endif
}
