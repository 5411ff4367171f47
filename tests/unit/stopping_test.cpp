// Stops that are awaited, operations under when_any and when_all, tasks with results, callables in
// scopes, and signals of a program's own use.
#include <doctest/doctest.h>

#include <signal.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <thread>

#include "unit/back_ends.hpp"
#if WEIR_WITH_SIM
#include "weir/sim.hpp"
#endif

using namespace std::chrono_literals;
using back_ends::on_kernel_back_ends;
using weir::shard;
using weir::task;

namespace {

task<> note_stop(bool& stopped) {
  co_await weir::stop_requested();
  stopped = true;
}

task<int> forty_two() {
  co_await weir::yield();
  co_return 42;
}
task<> fails() {
  co_await weir::yield();
  throw std::runtime_error("as it does");
}

task<> set_later(weir::event& e, weir::channel<int>& c) {
  co_await weir::yield();
  co_await weir::yield();
  e.set();
  int value = 7;
  CHECK(c.try_send(value));
}

}  // namespace

#if WEIR_WITH_SIM
TEST_CASE("a_stop_is_awaited_by_any_number_and_at_once_where_it_came_already") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard& s) -> task<> {
    auto late = co_await weir::stop_requested().timeout(5ms).nothrow();
    CHECK(late == std::errc::timed_out);
    bool first = false, second = false, third = false;
    weir::scope tasks(s);
    tasks.spawn(note_stop(first));
    tasks.spawn(note_stop(second));
    weir::scope cancelled(s);
    cancelled.spawn(note_stop(third));
    co_await weir::yield();
    cancelled.cancel();
    co_await cancelled.join();
    CHECK_FALSE(third);
    CHECK_FALSE(first);
    s.request_stop();
    co_await tasks.join();
    CHECK(first);
    CHECK(second);
    const auto before = s.now();
    co_await weir::stop_requested();
    CHECK(s.now() == before);
  });
  net.run();
}

TEST_CASE("sleeps_report_heed_the_stop_and_are_cut_short") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard& s) -> task<> {
    auto slept = co_await weir::sleep_for(5ms).nothrow();
    CHECK_FALSE(slept);
    slept = co_await weir::sleep_for(5s).timeout(5ms).nothrow();
    CHECK(slept == std::errc::timed_out);
    slept = co_await weir::sleep_for(5ms).timeout(5s).nothrow();
    CHECK_FALSE(slept);
    s.request_stop();
    slept = co_await weir::sleep_for(5s).until_stop().nothrow();
    CHECK(slept == std::errc::operation_canceled);
  });
  net.run();
}

TEST_CASE("when_any_takes_operations_and_a_loser_that_had_its_result_tells_it") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard& s) -> task<> {
    weir::event e;
    weir::channel<int> c(4);
    auto timed = co_await weir::when_any(e.wait(), weir::sleep_for(5ms));
    CHECK(timed.index() == 1);
    CHECK_FALSE(timed.get<0>());
    weir::scope tasks(s);
    tasks.spawn(set_later(e, c));
    auto both = co_await weir::when_any(e.wait(), c.receive());
    CHECK(both.index() == 0);
    REQUIRE(both.get<1>());  // it came at the same moment
    CHECK(*both.get<1>() == 7);
    co_await tasks.join();
    auto mixed = co_await weir::when_any(forty_two(), c.receive());
    CHECK(mixed.index() == 0);
    CHECK(*mixed.get<0>() == 42);
    auto reported = co_await weir::when_any(c.receive().timeout(5ms).nothrow(), e.wait());
    CHECK(reported.index() == 1);
    e.reset();
    std::error_code thrown;
    try {
      (void)co_await weir::when_any(c.receive().timeout(5ms), e.wait());
    } catch (const weir::io_error& error) {
      thrown = error.code();
    }
    CHECK(thrown == std::errc::timed_out);
  });
  net.run();
}

TEST_CASE("when_all_takes_operations_and_tasks") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard& s) -> task<> {
    auto listener = s.listen({"10.0.0.1", 7});
    auto ends = co_await weir::when_all(listener.accept(), weir::connect({"10.0.0.1", 7}),
                                        forty_two(), weir::sleep_for(1ms));
    CHECK(std::get<0>(ends).has_value());
    CHECK(std::get<1>(ends));
    CHECK(std::get<2>(ends) == 42);
  });
  net.run();
}

TEST_CASE("a_started_task_gives_its_result_to_its_handle") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard& s) -> task<> {
    weir::scope tasks(s, {.max = 2});
    auto number = tasks.start(forty_two());
    auto failing = tasks.start(fails());
    CHECK_FALSE(tasks.start(forty_two()));  // full
    CHECK_FALSE(number.ended());
    co_await number.wait();
    CHECK(number.take() == 42);
    co_await failing.wait();
    CHECK_THROWS_AS(failing.take(), std::runtime_error);
    co_await tasks.join();  // the handle had the failure
    weir::scope others(s);
    (void)others.start(fails());  // nobody will ask
    bool thrown = false;
    try {
      co_await others.join();
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    CHECK(thrown);
  });
  net.run();
}

TEST_CASE("a_scope_keeps_the_callable_that_it_was_given") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard& s) -> task<> {
    std::string seen;
    weir::scope tasks(s, {.max = 1});
    {
      std::string text(100, 'x');
      tasks.spawn([&seen, text]() -> task<> {
        co_await weir::sleep_for(1ms);
        seen = text;  // the lambda that was written here has gone
      });
      CHECK_FALSE(tasks.spawn([]() -> task<> { co_return; }));
    }
    co_await tasks.join();
    CHECK(seen == std::string(100, 'x'));
  });
  net.run();
}

TEST_CASE("a_channel_is_asked_without_waiting") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard&) -> task<> {
    weir::channel<std::string> c(2);
    CHECK_FALSE(c.try_receive());
    co_await c.send("one");
    co_await c.send("two");
    CHECK(c.try_receive() == "one");
    c.close();
    CHECK(c.try_receive() == "two");
    CHECK_FALSE(c.try_receive());
  });
  net.run();
}

TEST_CASE("a_simulation_has_no_signals") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard& s) -> task<> {
    CHECK_THROWS_AS(weir::signal_watch(s, {SIGHUP}), weir::io_error);
    co_return;
  });
  net.run();
}
#endif

TEST_CASE("signals_are_awaited_and_are_as_before_afterwards") {
  on_kernel_back_ends([](shard& s) -> task<> {
    struct sigaction before{}, during{}, after{};
    ::sigaction(SIGHUP, nullptr, &before);
    {
      weir::signal_watch watch(s, {SIGHUP, SIGUSR1});
      weir::signal_watch other(s, {SIGHUP});
      ::sigaction(SIGHUP, nullptr, &during);
      CHECK((during.sa_handler != before.sa_handler));
      auto none = co_await watch.next().timeout(1ms).nothrow();
      CHECK(none.error() == std::errc::timed_out);
      ::kill(::getpid(), SIGHUP);
      auto got = co_await watch.next();
      CHECK(got == SIGHUP);
      got = co_await other.next();
      CHECK(got == SIGHUP);
      std::thread elsewhere([] { ::raise(SIGUSR1); });
      elsewhere.join();
      got = co_await watch.next().timeout(30s);
      CHECK(got == SIGUSR1);
      none = co_await other.next().timeout(1ms).nothrow();
      CHECK(none.error() == std::errc::timed_out);
    }
    ::sigaction(SIGHUP, nullptr, &after);
    CHECK((after.sa_handler == before.sa_handler));
    for (int number : {SIGTERM, SIGKILL, SIGSEGV, 0, 100}) {
      std::error_code refused;
      try {
        weir::signal_watch watch(s, {number});
      } catch (const weir::io_error& error) {
        refused = error.code();
      }
      CHECK(refused == std::errc::invalid_argument);
    }
  });
}

TEST_CASE("signal_watches_are_bounded") {
  on_kernel_back_ends([](shard& s) -> task<> {
    std::vector<std::unique_ptr<weir::signal_watch>> all;
    for (int i = 0; i < 16; ++i) {
      all.push_back(std::make_unique<weir::signal_watch>(s, std::initializer_list<int>{SIGHUP}));
    }
    std::error_code refused;
    try {
      weir::signal_watch watch(s, {SIGHUP});
    } catch (const weir::io_error& error) {
      refused = error.code();
    }
    CHECK(refused == std::errc::resource_unavailable_try_again);
    co_return;
  });
}
