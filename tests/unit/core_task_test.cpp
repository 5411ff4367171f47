// task<T>: laziness, results, exceptions, what a child inherits, and the depth of the machine's
// stack.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "core_world.hpp"

using core_test::world;
using weir::shard;
using weir::task;

namespace {

task<int> number(int n) { co_return n; }

task<int> number_later(int n) {
  co_await weir::yield();
  co_return n;
}

task<int> sum_to(int n) {
  int rest = 0;
  if (n > 0) rest = co_await sum_to(n - 1);
  co_return n + rest;
}

struct counted {
  explicit counted(int& c) : count(&c) { ++*count; }
  counted(counted&& other) noexcept : count(std::exchange(other.count, nullptr)) {}
  ~counted() {
    if (count != nullptr) --*count;
  }
  int* count;
};

task<> holds(counted) { co_return; }

task<> sets(bool& flag) {
  flag = true;
  co_return;
}

task<> throws_at_once() {
  throw std::runtime_error("at once");
  co_return;
}

task<> throws_later() {
  co_await weir::yield();
  throw std::runtime_error("later");
}

}  // namespace

TEST_CASE("a_million_synchronous_children_use_no_stack") {
  world w;
  long long sum = 0;
  w.run([&](shard&) -> task<> {
    for (int i = 0; i < 1'000'000; ++i) {
      auto n = co_await number(1);
      sum += n;
    }
  });
  CHECK(sum == 1'000'000);
}

TEST_CASE("children_that_wait_use_no_stack_either") {
  world w;
  long long sum = 0;
  w.run([&](shard&) -> task<> {
    for (int i = 0; i < 100'000; ++i) {
      auto n = co_await number_later(1);
      sum += n;
    }
  });
  CHECK(sum == 100'000);
}

TEST_CASE("inline_completions_without_end_let_others_run") {
  world w;
  bool other_ran = false;
  w.run([&](shard& s) -> task<> {
    weir::scope scope(s);
    scope.spawn(sets(other_ran));
    weir::event always;
    always.set();
    // Each wait completes inline; the budget of a turn, not this loop, decides when others run.
    for (int i = 0; i < 100'000 && !other_ran; ++i) {
      co_await always.wait();
      if (i % 64 == 63) co_await weir::yield();
    }
    co_await scope.join();
  });
  CHECK(other_ran);
}

TEST_CASE("chains_of_children_nest_as_deep_as_calls_do") {
  world w;
  int sum = 0;
  w.run([&](shard&) -> task<> { sum = co_await sum_to(500); });
  CHECK(sum == 125'250);
}

TEST_CASE("a_task_runs_only_when_it_is_awaited") {
  world w;
  bool ran = false;
  w.run([&](shard&) -> task<> {
    auto child = sets(ran);
    co_await weir::yield();
    CHECK(!ran);
    co_await std::move(child);
    CHECK(ran);
  });
}

TEST_CASE("a_task_that_never_ran_gives_back_what_it_held") {
  int alive = 0;
  {
    auto never = holds(counted(alive));
    CHECK(alive == 1);
    auto moved = std::move(never);
    CHECK(!never);
    CHECK(bool(moved));
    moved = holds(counted(alive));
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("results_of_every_kind_come_back") {
  world w;
  w.run([](shard&) -> task<> {
    auto only_movable = [](int n) -> task<std::unique_ptr<int>> {
      co_return std::make_unique<int>(n);
    };
    auto pointer = co_await only_movable(7);
    CHECK(*pointer == 7);
    int here = 1;
    auto reference = [](int& r) -> task<int&> { co_return r; };
    int& same = co_await reference(here);
    CHECK(&same == &here);
    auto text = [](const char* t) -> task<std::string> {
      co_await weir::yield();
      co_return t;
    };
    auto long_text = co_await text("longer than any small string optimisation would hold");
    CHECK(long_text.size() == 52);
  });
}

TEST_CASE("exceptions_pass_to_the_one_who_awaits") {
  world w;
  w.run([](shard&) -> task<> {
    std::string at_once, later;
    try {
      co_await throws_at_once();
    } catch (const std::runtime_error& e) {
      at_once = e.what();
    }
    try {
      co_await throws_later();
    } catch (const std::runtime_error& e) {
      later = e.what();
    }
    CHECK(at_once == "at once");
    CHECK(later == "later");
  });
  CHECK_THROWS_AS(w.run([](shard&) -> task<> { co_await throws_later(); }), std::runtime_error);
}

TEST_CASE("children_run_on_their_parents_shard") {
  world w;
  w.run([&](shard& s) -> task<> {
    auto where = []() -> task<shard*> {
      auto& mine = co_await weir::this_shard();
      co_return &mine;
    };
    auto* found = co_await where();
    CHECK(found == &s);
  });
}

TEST_CASE("yield_lets_everything_that_is_ready_run_once") {
  world w;
  std::string order;
  w.run([&](shard& s) -> task<> {
    auto writer = [](std::string& out, char c) -> task<> {
      for (int i = 0; i < 3; ++i) {
        out += c;
        co_await weir::yield();
      }
    };
    weir::scope scope(s);
    scope.spawn(writer(order, 'a'));
    scope.spawn(writer(order, 'b'));
    co_await scope.join();
  });
  CHECK(order == "ababab");
}

TEST_CASE("posted_functions_run_in_order_outside_coroutines") {
  world w;
  std::string order;
  w.run([&](shard& s) -> task<> {
    s.post([&] { order += 'a'; });
    s.post([&] { order += 'b'; });
    CHECK(order.empty());
    while (order.size() < 2) co_await weir::yield();
  });
  CHECK(order == "ab");
}

TEST_CASE("posted_functions_that_never_ran_are_freed") {
  auto held = std::make_shared<int>(1);
  {
    world w;
    w.shard().post([held] {});
    CHECK(held.use_count() == 2);
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("a_loop_that_has_ended_is_not_waited_for_by_the_stall_watch") {
  world w;
  bool turned = false;
  w.run([&](shard& s) -> task<> {
    CHECK_FALSE(s.pulse().sleeping.load());
    turned = true;
    co_return;
  });
  CHECK(turned);
  CHECK(w.shard().pulse().sleeping.load());
}

#if defined(__GNUC__) && !defined(__clang__) && !defined(NDEBUG)
// clang refuses to compile it, and other builds do not check.
TEST_CASE("a_task_with_a_result_that_ends_without_co_return_is_an_assertion") {
  const auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGABRT, SIG_DFL);
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, 2);
    auto nothing = []() -> task<int> { co_await weir::yield(); };
    world w;
    w.run([&](shard&) -> task<> { co_await nothing(); });
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
}
#endif
