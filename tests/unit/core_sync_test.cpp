// event, semaphore, mutex, channel: order, bounds, closing, cancelling.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "core_world.hpp"

using namespace std::chrono_literals;
using core_test::world;
using weir::shard;
using weir::task;

TEST_CASE("an_event_wakes_everyone_and_stays_set_until_reset") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::event e;
    std::string order;
    auto waiter = [](weir::event& on, std::string& out, char c) -> task<> {
      co_await on.wait();
      out += c;
    };
    weir::scope scope(s);
    for (char c : {'a', 'b', 'c'}) scope.spawn(waiter(e, order, c));
    co_await weir::yield();
    CHECK(order.empty());
    e.set();
    co_await scope.join();
    CHECK(order == "abc");
    co_await e.wait();  // does not wait
    e.reset();
    auto late = co_await e.wait().nothrow().timeout(1ms);
    CHECK(late == std::errc::timed_out);
  });
}

TEST_CASE("waiting_again_right_after_the_wake_up_sees_the_reset") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::event e;
    int wakes = 0;
    auto waiter = [](weir::event& on, int& count) -> task<> {
      for (int i = 0; i < 3; ++i) {
        co_await on.wait();
        on.reset();
        ++count;
      }
    };
    weir::scope scope(s);
    scope.spawn(waiter(e, wakes));
    for (int i = 1; i <= 3; ++i) {
      co_await weir::yield();
      e.set();
      co_await weir::yield();
      co_await weir::yield();
      CHECK(wakes == i);
    }
    co_await scope.join();
  });
}

TEST_CASE("a_semaphore_serves_in_order_and_nobody_overtakes") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::semaphore permits(2);
    int inside = 0, most = 0;
    std::string order;
    auto worker = [](weir::semaphore& sem, int& in, int& top, std::string& out, char c) -> task<> {
      co_await sem.acquire();
      out += c;
      top = std::max(top, ++in);
      co_await weir::sleep_for(1ms);
      --in;
      sem.release();
    };
    weir::scope scope(s);
    for (char c = 'a'; c < 'g'; ++c) scope.spawn(worker(permits, inside, most, order, c));
    co_await weir::yield();
    co_await weir::yield();
    CHECK(!permits.try_acquire());
    co_await scope.join();
    CHECK(order == "abcdef");
    CHECK(most == 2);
    CHECK(permits.available() == 2);
    CHECK(permits.try_acquire());
    permits.release();
  });
}

TEST_CASE("a_waiter_that_gives_up_loses_its_place_and_no_permit") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::semaphore permits(0);
    bool served = false;
    auto waiter = [](weir::semaphore& sem, bool& flag) -> task<> {
      co_await sem.acquire();
      flag = true;
    };
    auto gone = co_await permits.acquire().nothrow().timeout(1ms);
    CHECK(gone == std::errc::timed_out);
    weir::scope scope(s);
    scope.spawn(waiter(permits, served));
    co_await weir::yield();
    permits.release();
    co_await scope.join();
    CHECK(served);
    CHECK(permits.available() == 0);
  });
}

TEST_CASE("a_permit_that_was_granted_survives_a_cancellation_in_the_same_turn") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::semaphore permits(0);
    std::error_code seen = std::make_error_code(std::errc::interrupted);
    auto waiter = [](weir::semaphore& sem, std::error_code& ec) -> task<> {
      ec = co_await sem.acquire().nothrow();
      if (!ec) sem.release();
    };
    weir::scope scope(s);
    scope.spawn(waiter(permits, seen));
    co_await weir::yield();
    permits.release();  // granted first,
    scope.cancel();     // cancelled then: the result that came first counts
    co_await scope.join();
    CHECK(!seen);
    CHECK(permits.available() == 1);
  });
}

TEST_CASE("a_mutex_excludes_across_suspensions") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::mutex m;
    int inside = 0, wrong = 0, done = 0;
    auto worker = [](weir::mutex& lock, int& in, int& bad, int& count) -> task<> {
      auto held = co_await lock.lock();
      bad += in++ != 0;
      co_await weir::yield();
      co_await weir::sleep_for(10us);
      --in;
      ++count;
    };
    weir::scope scope(s);
    for (int i = 0; i < 20; ++i) scope.spawn(worker(m, inside, wrong, done));
    co_await scope.join();
    CHECK(wrong == 0);
    CHECK(done == 20);
    CHECK(!m.locked());
  });
}

TEST_CASE("a_mutex_can_be_given_up_early_and_waited_for_with_a_limit") {
  world w;
  w.run([](shard&) -> task<> {
    weir::mutex m;
    auto held = co_await m.lock();
    auto late = co_await m.lock().nothrow().timeout(1ms);
    CHECK(!late);
    CHECK(late.error() == std::errc::timed_out);
    held.unlock();
    CHECK(!m.locked());
    auto again = co_await m.lock().nothrow();
    CHECK(again.has_value());
    CHECK(m.locked());
  });
}

TEST_CASE("a_channel_is_bounded_and_keeps_order") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::channel<int> numbers(3);
    std::size_t most = 0;
    std::vector<int> got;
    auto producer = [](weir::channel<int>& to, std::size_t& top) -> task<> {
      for (int i = 0; i < 100; ++i) {
        co_await to.send(i);
        top = std::max(top, to.size());
      }
      to.close();
    };
    auto consumer = [](weir::channel<int>& from, std::vector<int>& out) -> task<> {
      for (;;) {
        auto n = co_await from.receive();
        if (!n) break;
        out.push_back(*n);
        if (out.size() % 7 == 0) co_await weir::sleep_for(1us);
      }
    };
    weir::scope scope(s);
    scope.spawn(producer(numbers, most));
    scope.spawn(consumer(numbers, got));
    co_await scope.join();
    CHECK(most == 3);
    CHECK(got.size() == 100);
    CHECK(std::ranges::is_sorted(got));
  });
}

TEST_CASE("a_full_channel_refuses_try_send_and_leaves_the_value") {
  world w;
  w.run([](shard&) -> task<> {
    weir::channel<std::unique_ptr<int>> values(1);
    auto one = std::make_unique<int>(1), two = std::make_unique<int>(2);
    CHECK(values.try_send(one));
    CHECK(one == nullptr);
    CHECK(!values.try_send(two));
    CHECK(*two == 2);
    CHECK_FALSE(values.try_send(std::move(two)));
    CHECK(*two == 2);
    auto got = co_await values.receive();
    CHECK(**got == 1);
  });
}

TEST_CASE("a_closed_channel_drains_and_then_gives_nothing") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::channel<int> numbers(2);
    co_await numbers.send(1);
    co_await numbers.send(2);
    std::error_code seen;
    auto blocked = [](weir::channel<int>& to, std::error_code& ec) -> task<> {
      ec = co_await to.send(3).nothrow();
    };
    weir::scope scope(s);
    scope.spawn(blocked(numbers, seen));
    co_await weir::yield();
    numbers.close();
    co_await scope.join();
    CHECK(seen == weir::error::closed);
    auto refused = co_await numbers.send(4).nothrow();
    CHECK(refused == weir::error::closed);
    auto first = co_await numbers.receive();
    auto second = co_await numbers.receive();
    auto none = co_await numbers.receive();
    CHECK(first == 1);
    CHECK(second == 2);
    CHECK(!none.has_value());
  });
}

TEST_CASE("closing_a_channel_wakes_those_who_wait_to_receive") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::channel<int> numbers(1);
    int ended = 0;
    auto consumer = [](weir::channel<int>& from, int& count) -> task<> {
      auto n = co_await from.receive();
      count += !n.has_value();
    };
    weir::scope scope(s);
    scope.spawn(consumer(numbers, ended));
    scope.spawn(consumer(numbers, ended));
    co_await weir::yield();
    numbers.close();
    co_await scope.join();
    CHECK(ended == 2);
  });
}

TEST_CASE("a_cancelled_send_was_not_sent_and_a_cancelled_receive_took_nothing") {
  world w;
  w.run([](shard&) -> task<> {
    weir::channel<int> numbers(1);
    auto nothing = co_await numbers.receive().nothrow().timeout(1ms);
    CHECK(nothing.error() == std::errc::timed_out);
    co_await numbers.send(1);
    auto full = co_await numbers.send(2).nothrow().timeout(1ms);
    CHECK(full == std::errc::timed_out);
    auto got = co_await numbers.receive();
    CHECK(got == 1);
    CHECK(numbers.size() == 0);
  });
}

TEST_CASE("a_wait_in_a_cancelled_task_ends_at_once") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::event never;
    int ended = 0;
    auto stubborn = [](weir::event& on, int& count) -> task<> {
      for (int i = 0; i < 3; ++i) {
        auto ec = co_await on.wait().nothrow();
        count += ec == std::errc::operation_canceled;
      }
    };
    weir::scope scope(s);
    scope.spawn(stubborn(never, ended));
    co_await weir::yield();
    scope.cancel();
    co_await scope.join();
    CHECK(ended == 3);
  });
}

TEST_CASE("waits_that_find_nothing_to_wait_for_count_against_the_turn") {
  core_test::world w;
  w.run([](weir::shard& s) -> task<> {
    weir::mutex lock;
    weir::event set;
    set.set();
    weir::semaphore permits(1);
    weir::channel<int> numbers(4);
    const auto before = s.counters().turns;
    for (int i = 0; i < 2000; ++i) {
      auto guard = co_await lock.lock();
      co_await set.wait();
      co_await permits.acquire();
      permits.release();
      co_await numbers.send(i);
      auto got = co_await numbers.receive();
      CHECK(got == i);
    }
    CHECK(s.counters().turns - before >= 30);
  });
}

TEST_CASE("a_loop_of_locks_hears_that_it_is_cancelled") {
  core_test::world w;
  w.run([](weir::shard& s) -> task<> {
    weir::scope tasks(s);
    weir::mutex lock;
    tasks.spawn([](weir::mutex& m) -> task<> {
      for (;;) {
        auto guard = co_await m.lock();
      }
    }(lock));
    tasks.spawn([](weir::scope& all) -> task<> {
      co_await weir::yield();
      all.cancel();
    }(tasks));
    co_await tasks.join();
    CHECK(tasks.size() == 0);
  });
}

TEST_CASE("operations_that_end_at_once_because_they_are_cancelled_count_against_the_turn") {
  core_test::world w;
  w.run([](weir::shard& s) -> task<> {
    weir::scope tasks(s);
    std::uint64_t turns = 0;
    tasks.spawn([](weir::shard& here, weir::scope& mine, std::uint64_t& used) -> task<> {
      weir::event never;
      mine.cancel();
      const auto before = here.counters().turns;
      for (int i = 0; i < 2000; ++i) {
        auto ec = co_await never.wait().nothrow();
        CHECK(ec == std::errc::operation_canceled);
      }
      used = here.counters().turns - before;
    }(s, tasks, turns));
    co_await tasks.join();
    CHECK(turns >= 2000 / 256);
  });
}

TEST_CASE("a_wait_for_the_stop_ends_every_kind_of_wait") {
  core_test::world w;
  w.run([](weir::shard& s) -> task<> {
    weir::mutex lock;
    auto held = co_await lock.lock();
    weir::event never;
    weir::channel<int> empty(1);
    weir::scope waiting(s);
    std::error_code from_lock, from_event, from_channel;
    waiting.spawn([](weir::mutex& m, std::error_code& ec) -> task<> {
      auto got = co_await m.lock().until_stop().nothrow();
      ec = got.error();
    }(lock, from_lock));
    waiting.spawn([](weir::event& e, std::error_code& ec) -> task<> {
      ec = co_await e.wait().nothrow().until_stop();
    }(never, from_event));
    waiting.spawn([](weir::channel<int>& c, std::error_code& ec) -> task<> {
      auto got = co_await c.receive().until_stop().nothrow();
      ec = got.error();
    }(empty, from_channel));
    co_await weir::yield();
    s.request_stop();
    co_await waiting.join();
    CHECK(from_lock == std::errc::operation_canceled);
    CHECK(from_event == std::errc::operation_canceled);
    CHECK(from_channel == std::errc::operation_canceled);
  });
}
