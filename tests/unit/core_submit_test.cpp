// Between shards: submit_to, post, wake-ups, cancelling across threads.
#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core_world.hpp"

using namespace std::chrono_literals;
using core_test::second_shard;
using core_test::world;
using weir::shard;
using weir::task;

namespace {

task<unsigned> index_here() {
  auto& here = co_await weir::this_shard();
  co_return here.index();
}

task<std::string> answer(const std::string& question) {
  co_await weir::yield();
  co_return question + "!";
}

task<> waits_on(weir::event& e, std::atomic<bool>& began) {
  began = true;
  co_await e.wait();
}

task<> fails_there() {
  co_await weir::yield();
  throw std::runtime_error("over there");
}

}  // namespace

TEST_CASE("a_task_runs_on_the_other_shard_and_its_result_comes_back") {
  world w;
  second_shard other;
  w.run([&](shard& s) -> task<> {
    auto there = co_await weir::submit_to(other.shard(), index_here());
    CHECK(there == 1);
    auto here = co_await index_here();
    CHECK(here == 0);
    CHECK(s.on_this_thread());
    std::string question = "references into the caller's frame stay valid";
    auto text = co_await weir::submit_to(other.shard(), answer(question));
    CHECK(text == question + "!");
  });
}

TEST_CASE("a_shard_may_end_as_soon_as_the_message_has_run") {
  // A driver that is slow to wake: the message has run long before.
  struct slow_driver final : core_test::jumping_driver {
    slow_driver(std::atomic<bool>& s, std::atomic<bool>& t) : sleeps(s), touched(t) {}
    ~slow_driver() override { touched = waking.load(); }
    void turn(weir::instant deadline) override {
      sleeps = true;
      sleeps.notify_one();
      jumping_driver::turn(deadline);
    }
    void wake() noexcept override {
      waking = true;
      jumping_driver::wake();
      std::this_thread::sleep_for(50ms);
      waking = false;
    }
    std::atomic<bool>&sleeps, &touched;
    std::atomic<bool> waking = false;
  };
  std::atomic<bool> sleeps = false, touched = false;
  weir::config settings;
  auto mine = std::make_unique<shard>(0, settings, std::make_unique<slow_driver>(sleeps, touched),
                                      std::make_unique<core_test::no_transport>());
  bool heard = false;
  std::thread caller([&, s = mine.get()] {
    sleeps.wait(false);
    s->post([&] { heard = true; });
  });
  mine->run_until([&] { return heard; });
  mine.reset();
  CHECK_FALSE(touched);
  caller.join();
}

TEST_CASE("a_task_can_be_submitted_to_its_own_shard") {
  world w;
  w.run([&](shard& s) -> task<> {
    auto here = co_await weir::submit_to(s, index_here());
    CHECK(here == 0);
  });
}

TEST_CASE("an_exception_comes_back_too") {
  world w;
  second_shard other;
  w.run([&](shard&) -> task<> {
    std::string what;
    try {
      co_await weir::submit_to(other.shard(), fails_there());
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "over there");
  });
}

TEST_CASE("thousands_of_calls_one_after_the_other") {
  world w;
  second_shard other;
  w.run([&](shard&) -> task<> {
    for (int i = 0; i < 5'000; ++i) {
      auto there = co_await weir::submit_to(other.shard(), index_here());
      REQUIRE(there == 1);
    }
  });
}

TEST_CASE("many_calls_at_once") {
  world w;
  second_shard other;
  w.run([&](shard& s) -> task<> {
    int done = 0;
    auto caller = [](shard& to, int& count) -> task<> {
      auto there = co_await weir::submit_to(to, index_here());
      count += there == 1;
    };
    weir::scope scope(s);
    for (int i = 0; i < 2'000; ++i) scope.spawn(caller(other.shard(), done));
    co_await scope.join();
    CHECK(done == 2'000);
  });
}

TEST_CASE("two_shards_call_each_other") {
  world w;
  second_shard other;
  w.run([&](shard& s) -> task<> {
    auto there_and_back = [](shard& home) -> task<unsigned> {
      auto n = co_await weir::submit_to(home, index_here());
      auto& here = co_await weir::this_shard();
      co_return n * 10 + here.index();
    };
    for (int i = 0; i < 500; ++i) {
      auto n = co_await weir::submit_to(other.shard(), there_and_back(s));
      REQUIRE(n == 1);
    }
  });
}

TEST_CASE("cancelling_the_caller_cancels_the_task_over_there_and_waits_for_it") {
  world w;
  second_shard other;
  w.run([&](shard& s) -> task<> {
    for (int i = 0; i < 100; ++i) {
      std::atomic<bool> began{false};
      std::error_code seen;
      // Made and used over there only.
      auto waits_there = [](std::atomic<bool>& flag) -> task<> {
        weir::event never;
        co_await waits_on(never, flag);
      };
      auto caller = [](shard& to, task<> work, std::error_code& ec) -> task<> {
        auto call = [](shard& target, task<> what) -> task<> {
          co_await weir::submit_to(target, std::move(what));
        };
        ec = co_await core_test::error_of(call(to, std::move(work)));
      };
      weir::scope scope(s);
      scope.spawn(caller(other.shard(), waits_there(began), seen));
      // Now and then before it began, now and then after.
      while (i % 2 == 0 && !began) co_await weir::yield();
      co_await weir::yield();
      scope.cancel();
      co_await scope.join();
      REQUIRE(seen == std::errc::operation_canceled);
    }
  });
}

TEST_CASE("a_cancelled_shard_cancels_what_others_submitted_to_it") {
  world w;
  second_shard other;
  w.run([&](shard& s) -> task<> {
    std::atomic<bool> began{false};
    std::error_code seen;
    auto waits_there = [](std::atomic<bool>& flag) -> task<> {
      weir::event never;
      co_await waits_on(never, flag);
    };
    auto caller = [](shard& to, task<> work, std::error_code& ec) -> task<> {
      auto call = [](shard& target, task<> what) -> task<> {
        co_await weir::submit_to(target, std::move(what));
      };
      ec = co_await core_test::error_of(call(to, std::move(work)));
    };
    weir::scope scope(s);
    scope.spawn(caller(other.shard(), waits_there(began), seen));
    while (!began) co_await weir::yield();
    other.shard().request_cancel();
    co_await scope.join();
    CHECK(seen == std::errc::operation_canceled);
  });
}

TEST_CASE("posts_from_many_threads_all_arrive_in_each_senders_order") {
  world w;
  constexpr int senders = 4, each = 5'000;
  std::vector<int> last(senders, -1);
  int arrived = 0, wrong = 0;
  std::vector<std::thread> threads;
  w.run([&](shard& s) -> task<> {
    weir::event all;
    for (int t = 0; t < senders; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < each; ++i)
          s.post([&, t, i] {
            auto& previous = last[static_cast<std::size_t>(t)];
            wrong += previous != i - 1;
            previous = i;
            if (++arrived == senders * each) all.set();
          });
      });
    co_await all.wait();
  });
  for (auto& thread : threads) thread.join();
  CHECK(arrived == senders * each);
  CHECK(wrong == 0);
}

TEST_CASE("stop_and_cancel_may_be_requested_from_any_thread") {
  world w;
  std::atomic<bool> began{false};
  std::thread operator_at_the_keyboard([&] {
    while (!began) std::this_thread::yield();
    w.shard().request_stop();
    w.shard().request_cancel();
  });
  w.run([&](shard&) -> task<> {
    weir::event never;
    began = true;
    auto ec = co_await never.wait().nothrow();
    CHECK(ec == std::errc::operation_canceled);
  });
  operator_at_the_keyboard.join();
  CHECK(w.shard().stop_requested());
}
