// when_all and when_any: results, the first failure, the first to end; nothing outlives the
// expression.
#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "core_world.hpp"

using namespace std::chrono_literals;
using core_test::world;
using weir::shard;
using weir::task;

namespace {

template <class T>
task<T> after(weir::duration d, T value) {
  co_await weir::sleep_for(d);
  co_return value;
}

task<> nothing_after(weir::duration d) { co_await weir::sleep_for(d); }

task<int> at_once(int n) { co_return n; }

task<int> fails_after(weir::duration d, const char* what) {
  co_await weir::sleep_for(d);
  throw std::runtime_error(what);
}

task<int> notes_its_end(weir::duration d, bool& ended) {
  struct guard {
    explicit guard(bool& f) : flag(&f) {}
    ~guard() { *flag = true; }
    bool* flag;
  } at_end(ended);
  co_await weir::sleep_for(d);
  co_return 0;
}

}  // namespace

TEST_CASE("when_all_gives_all_results_in_order_after_the_slowest") {
  world w;
  w.run([](shard& s) -> task<> {
    auto began = s.now();
    auto all = co_await weir::when_all(after(3s, 1), after(1s, std::string("two")),
                                       nothing_after(2s), at_once(4));
    CHECK(std::get<0>(all) == 1);
    CHECK(std::get<1>(all) == "two");
    CHECK(std::get<3>(all) == 4);
    CHECK(s.now() - began >= 3s);
    CHECK(s.now() - began < 4s);
  });
}

TEST_CASE("when_all_of_tasks_that_end_at_once_does_not_suspend") {
  world w;
  w.run([](shard&) -> task<> {
    for (int i = 0; i < 100'000; ++i) {
      auto both = co_await weir::when_all(at_once(1), at_once(2));
      REQUIRE(std::get<1>(both) == 2);
    }
  });
}

TEST_CASE("when_all_takes_any_number_of_tasks") {
  world w;
  w.run([](shard&) -> task<> {
    std::vector<task<int>> tasks;
    for (int i = 0; i < 1000; ++i) tasks.push_back(after(std::chrono::microseconds(1000 - i), i));
    auto results = co_await weir::when_all(std::move(tasks));
    REQUIRE(results.size() == 1000);
    for (int i = 0; i < 1000; ++i) REQUIRE(results[static_cast<std::size_t>(i)] == i);
    std::vector<task<int>> none;
    auto empty = co_await weir::when_all(std::move(none));
    CHECK(empty.empty());
  });
}

TEST_CASE("when_all_cancels_the_rest_at_the_first_failure_and_waits_for_them") {
  world w;
  w.run([](shard& s) -> task<> {
    bool ended = false;
    std::string what;
    auto began = s.now();
    try {
      co_await weir::when_all(notes_its_end(1h, ended), fails_after(1ms, "first"),
                              fails_after(1s, "second"));
    } catch (const std::runtime_error& e) {
      what = e.what();
      CHECK(ended);
    }
    CHECK(what == "first");
    CHECK(s.now() - began < 1s);
  });
}

TEST_CASE("when_any_gives_the_first_result_and_cancels_the_others") {
  world w;
  w.run([](shard& s) -> task<> {
    bool ended = false;
    auto began = s.now();
    auto first = co_await weir::when_any(notes_its_end(1h, ended), after(1ms, std::string("quick")),
                                         nothing_after(1s));
    CHECK(first.index() == 1);
    CHECK(std::get<1>(first) == "quick");
    CHECK(ended);
    CHECK(s.now() - began < 1s);
  });
}

TEST_CASE("when_any_throws_what_the_first_to_end_threw") {
  world w;
  w.run([](shard&) -> task<> {
    std::string what;
    try {
      co_await weir::when_any(after(1h, 1), fails_after(1ms, "lost"));
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "lost");
  });
}

TEST_CASE("when_any_with_a_task_that_ends_at_once_lets_the_others_see_the_cancellation") {
  world w;
  w.run([](shard& s) -> task<> {
    bool ended = false;
    auto began = s.now();
    auto first = co_await weir::when_any(at_once(3), notes_its_end(1h, ended));
    CHECK(std::get<0>(first) == 3);
    CHECK(ended);
    CHECK(s.now() - began < 1s);
  });
}

TEST_CASE("cancelling_the_waiter_cancels_all_tasks") {
  world w;
  w.run([](shard& s) -> task<> {
    bool one = false, two = false;
    auto waiter = [](bool& a, bool& b) -> task<> {
      co_await weir::when_all(notes_its_end(1h, a), notes_its_end(1h, b));
    };
    weir::scope scope(s);
    scope.spawn(waiter(one, two));
    co_await weir::yield();
    scope.cancel();
    co_await scope.join();
    CHECK(one);
    CHECK(two);
  });
}
