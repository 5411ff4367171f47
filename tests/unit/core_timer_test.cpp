// The timer wheel against a plain model, and what coroutines see of it: sleep_for, timeouts,
// with_timeout.
#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "core_world.hpp"
#include "runtime/core/timer_wheel.hpp"

using namespace std::chrono_literals;
using core_test::world;
using weir::duration;
using weir::instant;
using weir::shard;
using weir::task;
using weir::detail::timer_node;
using weir::detail::timer_wheel;

namespace {

struct test_timer : timer_node {
  test_timer() : timer_node(&test_timer::fired_now) {}
  static void fired_now(timer_node& node) noexcept {
    auto& self = static_cast<test_timer&>(node);
    ++self.fired;
    if (self.then) self.then();
  }
  int fired = 0;
  std::function<void()> then;
};

constexpr duration tick{1024};
constexpr instant start = instant::from_ns(1024 * std::int64_t{5'000'000});

}  // namespace

TEST_CASE("timers_fire_when_due_and_never_before") {
  for (auto delay : {0ns, 1ns, 999ns, 1000ns, 65'000ns, 70'000ns, 1'000'000ns, 123'456'789ns,
                     7'200'000'000'000ns}) {
    timer_wheel wheel(start);
    test_timer timer;
    wheel.arm(timer, start + delay);
    CHECK(wheel.next() <= start + delay + tick);
    if (delay > tick) {
      wheel.expire(start + delay - tick);
      CHECK(timer.fired == 0);
      CHECK(timer.armed());
    }
    wheel.expire(start + delay + tick);
    CHECK(timer.fired == 1);
    CHECK(!timer.armed());
    CHECK(wheel.next().is_never());
  }
}

TEST_CASE("a_deadline_of_never_is_no_timer") {
  timer_wheel wheel(start);
  test_timer timer;
  wheel.arm(timer, instant::never());
  CHECK(!timer.armed());
  CHECK(wheel.next().is_never());
}

TEST_CASE("disarmed_and_destroyed_timers_do_not_fire") {
  timer_wheel wheel(start);
  test_timer stays;
  {
    test_timer goes;
    wheel.arm(goes, start + 1ms);
    wheel.arm(stays, start + 1ms);
  }
  stays.disarm();
  CHECK(wheel.expire(start + 1s) == 0);
  CHECK(stays.fired == 0);
}

TEST_CASE("arming_again_moves_a_timer") {
  timer_wheel wheel(start);
  test_timer timer;
  wheel.arm(timer, start + 1ms);
  wheel.arm(timer, start + 3ms);
  wheel.expire(start + 2ms);
  CHECK(timer.fired == 0);
  wheel.expire(start + 4ms);
  CHECK(timer.fired == 1);
}

TEST_CASE("callbacks_may_disarm_and_arm_others") {
  timer_wheel wheel(start);
  test_timer first, victim, follower;
  first.then = [&] {
    victim.disarm();
    wheel.arm(follower, start + 2ms);
  };
  wheel.arm(first, start + 1ms);
  wheel.arm(victim, start + 1ms);
  wheel.expire(start + 1100us);
  CHECK(first.fired == 1);
  CHECK(victim.fired == 0);
  wheel.expire(start + 3ms);
  CHECK(follower.fired == 1);
}

TEST_CASE("a_timer_that_rearms_itself_for_now_does_not_hold_up_the_turn") {
  timer_wheel wheel(start);
  test_timer timer;
  timer.then = [&] { wheel.arm(timer, start); };
  wheel.arm(timer, start);
  CHECK(wheel.expire(start) == 1);
  CHECK(wheel.expire(start) == 1);
  timer.then = nullptr;
}

TEST_CASE("timers_outlive_their_wheel") {
  test_timer timer;
  {
    timer_wheel wheel(start);
    wheel.arm(timer, start + 1h);
  }
  CHECK(!timer.armed());
}

TEST_CASE("the_wheel_agrees_with_a_sorted_map") {
  std::mt19937_64 random(20240817);
  timer_wheel wheel(start);
  constexpr int count = 400;
  std::vector<test_timer> timers(count);
  std::multimap<instant, int> model;
  std::vector<std::multimap<instant, int>::iterator> place(count, model.end());
  std::vector<int> expected(count, 0);
  auto now = start;
  int overdue = 0, early = 0, fired = 0;
  for (int step = 0; step < 20'000; ++step) {
    auto i = static_cast<int>(random() % count);
    auto at = static_cast<std::size_t>(i);
    switch (random() % 4) {
      case 0:
      case 1: {
        auto deadline = now + duration(static_cast<std::int64_t>(random() >> (24 + random() % 38)));
        if (place[at] != model.end()) model.erase(place[at]);
        place[at] = model.emplace(deadline, i);
        wheel.arm(timers[at], deadline);
        break;
      }
      case 2:
        if (place[at] != model.end()) model.erase(place[at]);
        place[at] = model.end();
        timers[at].disarm();
        break;
      default: {
        // To the next deadline exactly, or some way on.
        auto next = wheel.next();
        REQUIRE((model.empty() || next <= model.begin()->first + tick));
        now = random() % 2 == 0 && !next.is_never() && next > now
                  ? next
                  : now + duration(static_cast<std::int64_t>(random() >> (30 + random() % 32)));
        wheel.expire(now);
        for (std::size_t k = 0; k < timers.size(); ++k) {
          auto seen = timers[k].fired - expected[k];
          if (seen == 0) {
            // What has not fired is not overdue by more than a tick.
            overdue += place[k] != model.end() && now >= place[k]->first + tick;
            continue;
          }
          REQUIRE(seen == 1);
          REQUIRE(place[k] != model.end());
          early += place[k]->first > now;
          ++fired;
          model.erase(place[k]);
          place[k] = model.end();
          expected[k] = timers[k].fired;
        }
      }
    }
  }
  CHECK(overdue == 0);
  CHECK(early == 0);
  CHECK(fired > 1000);
}

TEST_CASE("sleepers_wake_in_the_order_of_their_deadlines") {
  world w;
  std::string order;
  w.run([&](shard& s) -> task<> {
    auto sleeper = [](std::string& out, char c, duration d) -> task<> {
      co_await weir::sleep_for(d);
      out += c;
    };
    weir::scope scope(s);
    scope.spawn(sleeper(order, 'c', 3h));
    scope.spawn(sleeper(order, 'a', 10us));
    scope.spawn(sleeper(order, 'b', 1s));
    auto began = s.now();
    co_await scope.join();
    CHECK(s.now() - began >= 3h);
    CHECK(s.now() - began < 3h + 1ms);
  });
  CHECK(order == "abc");
}

TEST_CASE("sleeping_for_no_time_or_less_ends_at_once") {
  world w;
  w.run([](shard& s) -> task<> {
    auto began = s.now();
    co_await weir::sleep_for(0s);
    co_await weir::sleep_for(-5s);
    CHECK(s.now() - began < 1ms);
  });
}

TEST_CASE("with_timeout_gives_a_result_that_came_in_time") {
  world w;
  w.run([](shard& s) -> task<> {
    auto quick = []() -> task<int> {
      co_await weir::sleep_for(1ms);
      co_return 5;
    };
    auto began = s.now();
    auto n = co_await weir::with_timeout(1s, quick());
    CHECK(n == 5);
    CHECK(s.now() - began < 100ms);
  });
}

TEST_CASE("with_timeout_cancels_what_is_late_and_says_timed_out") {
  world w;
  w.run([](shard& s) -> task<> {
    bool unwound = false;
    auto slow = [](bool& flag) -> task<> {
      struct guard {
        explicit guard(bool& f) : done(&f) {}
        ~guard() { *done = true; }
        bool* done;
      } at_end(flag);
      co_await weir::sleep_for(1h);
    };
    auto bounded = [](task<> child) -> task<> {
      co_await weir::with_timeout(5ms, std::move(child));
    };
    auto began = s.now();
    auto ec = co_await core_test::error_of(bounded(slow(unwound)));
    CHECK(ec == std::errc::timed_out);
    CHECK(unwound);
    CHECK(s.now() - began < 1s);
  });
}

TEST_CASE("with_timeout_keeps_a_result_that_came_in_spite_of_the_cancellation") {
  world w;
  w.run([](shard&) -> task<> {
    auto stubborn = []() -> task<int> {
      try {
        co_await weir::sleep_for(1h);
      } catch (const weir::io_error&) {
        // has what it needs
      }
      co_return 9;
    };
    auto n = co_await weir::with_timeout(1ms, stubborn());
    CHECK(n == 9);
  });
}

TEST_CASE("an_outer_cancellation_is_no_timeout") {
  world w;
  w.run([](shard& s) -> task<> {
    std::error_code seen;
    auto waits = []() -> task<> { co_await weir::sleep_for(1h); };
    auto bounded = [](task<> child) -> task<> {
      co_await weir::with_timeout(1min, std::move(child));
    };
    auto notes = [](task<> child, std::error_code& ec) -> task<> {
      ec = co_await core_test::error_of(std::move(child));
    };
    weir::scope scope(s);
    scope.spawn(notes(bounded(waits()), seen));
    co_await weir::yield();
    scope.cancel();
    co_await scope.join();
    CHECK(seen == std::errc::operation_canceled);
  });
}

TEST_CASE("nested_timeouts_end_at_the_nearest") {
  world w;
  w.run([](shard& s) -> task<> {
    auto waits = []() -> task<> { co_await weir::sleep_for(1h); };
    auto inner = [](task<> child) -> task<> {
      co_await weir::with_timeout(1min, std::move(child));
    };
    auto outer = [](task<> child) -> task<> { co_await weir::with_timeout(1s, std::move(child)); };
    auto began = s.now();
    auto ec = co_await core_test::error_of(outer(inner(waits())));
    CHECK(ec == std::errc::timed_out);
    CHECK(s.now() - began < 2s);
  });
}

TEST_CASE("an_operations_own_timeout_ends_it_alone") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::event never;
    auto began = s.now();
    auto ec = co_await never.wait().nothrow().timeout(20ms);
    CHECK(ec == std::errc::timed_out);
    CHECK(s.now() - began >= 20ms);
    CHECK(s.now() - began < 21ms);
    never.set();
    auto fine = co_await never.wait().nothrow().timeout(20ms);
    CHECK(!fine);
  });
}
