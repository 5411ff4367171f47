// scope: who may start, what a failure does, how drain() ends what is left.
#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "core_world.hpp"
#include "weir/log.hpp"

using namespace std::chrono_literals;
using core_test::world;
using weir::shard;
using weir::task;

namespace {

task<> waits_for(weir::event& e) { co_await e.wait(); }

task<> sleeps(weir::duration d, int& ended, int& cancelled) {
  try {
    co_await weir::sleep_for(d);
    ++ended;
  } catch (const weir::io_error&) {
    ++cancelled;
    throw;
  }
}

task<> fails(const char* what) {
  co_await weir::yield();
  throw std::runtime_error(what);
}

task<> meets_an_error(std::errc code) {
  co_await weir::yield();
  throw weir::io_error(std::make_error_code(code), "read_some");
}

task<> cleans_up_slowly(bool& clean) {
  std::exception_ptr why;
  try {
    co_await weir::sleep_for(1h);
  } catch (const weir::io_error&) {
    why = std::current_exception();
  }
  for (int i = 0; i < 10; ++i) co_await weir::yield();
  clean = true;
  if (why) std::rethrow_exception(why);
}

}  // namespace

TEST_CASE("spawned_tasks_first_run_after_the_caller_suspends") {
  world w;
  w.run([](shard& s) -> task<> {
    bool ran = false;
    auto sets = [](bool& flag) -> task<> {
      flag = true;
      co_return;
    };
    weir::scope scope(s);
    scope.spawn(sets(ran));
    CHECK(!ran);
    CHECK(scope.size() == 1);
    co_await scope.join();
    CHECK(ran);
    CHECK(scope.size() == 0);
  });
}

TEST_CASE("a_full_scope_refuses_and_takes_again_when_there_is_room") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::event go;
    weir::scope scope(s, {.max = 2});
    CHECK(scope.spawn(waits_for(go)));
    CHECK(scope.spawn(waits_for(go)));
    CHECK(!scope.spawn(waits_for(go)));
    CHECK(scope.refused() == 1);
    co_await weir::yield();
    go.set();
    while (scope.size() != 0) co_await weir::yield();
    CHECK(scope.spawn(waits_for(go)));
    co_await scope.join();
  });
}

TEST_CASE("a_refused_task_gives_back_what_it_held") {
  world w;
  w.run([](shard& s) -> task<> {
    auto held = std::make_shared<int>(1);
    auto holds = [](std::shared_ptr<int>) -> task<> { co_return; };
    weir::scope scope(s, {.max = 0});
    CHECK(!scope.spawn(holds(held)));
    CHECK(held.use_count() == 1);
    co_await scope.join();
  });
}

TEST_CASE("drain_waits_for_tasks_that_end_in_time") {
  world w;
  w.run([](shard& s) -> task<> {
    int ended = 0, cancelled = 0;
    weir::scope scope(s);
    for (auto d : {1ms, 2ms, 3ms}) scope.spawn(sleeps(d, ended, cancelled));
    auto seen = co_await scope.drain(1s);
    CHECK(seen.in_time);
    CHECK(seen.cancelled == 0);
    CHECK(ended == 3);
    CHECK(s.now().ns() < 2'000'000'000);
  });
}

TEST_CASE("drain_cancels_what_is_left_at_the_deadline_and_waits_for_it") {
  world w;
  w.run([](shard& s) -> task<> {
    int ended = 0, cancelled = 0;
    bool clean = false;
    weir::scope scope(s);
    scope.spawn(sleeps(1ms, ended, cancelled));
    scope.spawn(sleeps(1h, ended, cancelled));
    scope.spawn(cleans_up_slowly(clean));
    auto began = s.now();
    auto seen = co_await scope.drain(5s);
    CHECK(!seen.in_time);
    CHECK(seen.cancelled == 2);
    CHECK(ended == 1);
    CHECK(cancelled == 1);
    CHECK(clean);
    CHECK(s.now() - began >= 5s);
    CHECK(s.now() - began < 6s);
  });
}

TEST_CASE("draining_an_empty_scope_ends_at_once") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::scope scope(s);
    auto seen = co_await scope.drain(0s);
    CHECK(seen.in_time);
    auto again = co_await scope.drain(1h);
    CHECK(again.in_time);
  });
}

TEST_CASE("a_failure_cancels_the_others_and_comes_out_of_the_wait") {
  world w;
  w.run([](shard& s) -> task<> {
    int ended = 0, cancelled = 0;
    weir::scope scope(s);
    scope.spawn(sleeps(1h, ended, cancelled));
    scope.spawn(fails("first"));
    std::string what;
    try {
      co_await scope.join();
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "first");
    CHECK(cancelled == 1);
    CHECK(!scope.spawn(fails("too late")));
    co_await scope.join();  // it is told once
  });
}

TEST_CASE("an_operating_error_of_one_task_is_counted_and_the_others_go_on") {
  world w;
  w.run([](shard& s) -> task<> {
    int ended = 0, cancelled = 0;
    weir::scope scope(s);
    scope.spawn(meets_an_error(std::errc::connection_reset));
    scope.spawn(meets_an_error(std::errc::timed_out));
    scope.spawn(meets_an_error(std::errc::operation_canceled));
    scope.spawn(sleeps(1ms, ended, cancelled));
    co_await scope.join();
    CHECK(scope.io_errors() == 2);
    CHECK(ended == 1);
  });
}

TEST_CASE("a_failure_handler_gets_everything_and_the_scope_goes_on") {
  world w;
  w.run([](shard& s) -> task<> {
    int failures = 0, ended = 0, cancelled = 0;
    weir::scope scope(s);
    scope.on_failure([&](std::exception_ptr e) { failures += e != nullptr; });
    scope.spawn(fails("handled"));
    scope.spawn(meets_an_error(std::errc::connection_reset));
    scope.spawn(sleeps(1ms, ended, cancelled));
    co_await scope.join();
    CHECK(failures == 2);
    CHECK(ended == 1);
  });
}

TEST_CASE("cancelling_a_scope_reaches_the_scopes_inside_its_tasks") {
  world w;
  w.run([](shard& s) -> task<> {
    int ended = 0, cancelled = 0;
    auto nest = [](shard& here, int& e, int& c) -> task<> {
      weir::scope inner(here);
      inner.spawn(sleeps(1h, e, c));
      co_await inner.join();
    };
    weir::scope outer(s);
    outer.spawn(nest(s, ended, cancelled));
    outer.spawn(sleeps(1h, ended, cancelled));
    for (int i = 0; i < 5; ++i) co_await weir::yield();
    outer.cancel();
    co_await outer.join();
    CHECK(cancelled == 2);
  });
}

TEST_CASE("a_cancelled_waiter_still_waits_for_the_tasks") {
  world w;
  w.run([](shard& s) -> task<> {
    bool clean = false;
    auto nest = [](shard& here, bool& done) -> task<> {
      weir::scope inner(here);
      inner.spawn(cleans_up_slowly(done));
      co_await inner.join();
      CHECK(done);
    };
    auto bounded = [](task<> child) -> task<> {
      co_await weir::with_timeout(1ms, std::move(child));
    };
    co_await bounded(nest(s, clean));
    CHECK(clean);
  });
}

TEST_CASE("a_drain_that_is_cancelled_already_names_nobody_who_ends_at_once") {
  std::vector<std::string> said;
  const auto before =
      weir::set_log_sink([&](const weir::log_record& r) { said.emplace_back(r.text); });
  world w;
  w.run([](shard& s) -> task<> {
    auto drains = [](shard& here, weir::duration limit) -> task<> {
      weir::scope inner(here);
      bool clean = false;
      inner.spawn(cleans_up_slowly(clean));
      (void)co_await weir::sleep_for(1h).nothrow();  // ends by the cancellation
      const auto seen = co_await inner.drain(limit);
      CHECK_FALSE(seen.in_time);
      CHECK(clean);
    };
    for (const auto limit : {weir::duration(0), weir::duration(5s)}) {
      weir::scope outer(s);
      outer.spawn(drains(s, limit));
      co_await weir::yield();
      outer.cancel();
      co_await outer.join();
    }
  });
  weir::set_log_sink(before);
  CHECK(said.empty());
}

TEST_CASE("a_scope_that_goes_early_cancels_its_tasks_and_the_shard_waits_for_them") {
  world w;
  bool clean = false;
  w.run([&](shard& s) -> task<> {
    weir::scope scope(s);
    scope.spawn(cleans_up_slowly(clean));
    co_await weir::yield();
    co_await weir::yield();
  });
  CHECK(clean);
  CHECK(w.shard().roots() == 0);
}

TEST_CASE("a_cancelled_shard_cancels_everything_on_it") {
  world w;
  int ended = 0, cancelled = 0;
  w.run([&](shard& s) -> task<> {
    weir::scope scope(s);
    for (int i = 0; i < 10; ++i) scope.spawn(sleeps(1h, ended, cancelled));
    co_await weir::yield();
    s.request_cancel();
    s.request_cancel();
    co_await scope.join();
    CHECK(s.stop_requested());
  });
  CHECK(cancelled == 10);
}

TEST_CASE("ten_thousand_tasks_come_and_go") {
  world w;
  w.run([](shard& s) -> task<> {
    int ended = 0, cancelled = 0;
    weir::scope scope(s, {.max = 10'000});
    for (int i = 0; i < 10'000; ++i)
      scope.spawn(sleeps(std::chrono::microseconds(i * 7919 % 10'000), ended, cancelled));
    CHECK(!scope.spawn(sleeps(0s, ended, cancelled)));
    co_await scope.join();
    CHECK(ended == 10'000);
  });
}
