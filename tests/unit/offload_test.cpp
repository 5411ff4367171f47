// offload() on real threads and on the simulator's; and what another thread may keep of a shard.
#include <doctest/doctest.h>

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "unit/back_ends.hpp"
#include "weir/detail/surroundings.hpp"
#if WEIR_WITH_SIM
#include "weir/sim.hpp"
#endif

using namespace std::chrono_literals;
using weir::shard;
using weir::task;

namespace {

weir::config one_thread_one_place() {
  weir::config settings;
  settings.offload.threads = 1;
  settings.offload.queue = 1;
  return settings;
}

/// Returns once a thread of the pool runs something.
task<> until_one_runs(shard& s) {
  while (weir::offload_counts(s).running == 0) co_await weir::yield();
}

task<> block_until(std::latch& opened, bool& ran) {
  co_await weir::offload([&] {
    opened.wait();
    ran = true;
  });
}

task<> sets(bool& flag) {
  co_await weir::offload([&flag] { flag = true; });
}

task<std::error_code> code_of_sets(bool& flag) {
  co_return co_await weir::offload([&flag] { flag = true; }).nothrow();
}

}  // namespace

TEST_CASE("what_a_function_returns_or_throws_comes_back") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    const auto here = std::this_thread::get_id();
    auto there = co_await weir::offload([] { return std::this_thread::get_id(); });
    CHECK(there != here);
    CHECK(s.on_this_thread());
    int calls = 0;
    co_await weir::offload([&calls] { ++calls; });
    CHECK(calls == 1);
    std::string text = "kept by its name";
    auto copy = [text] { return text + "!"; };
    auto got = co_await weir::offload(copy);
    CHECK(got == "kept by its name!");
    auto reported = co_await weir::offload([] { return std::make_unique<int>(7); }).nothrow();
    REQUIRE(reported.has_value());
    CHECK(**reported == 7);
    bool thrown = false;
    try {
      co_await weir::offload([] { throw std::runtime_error("over there"); });
    } catch (const std::runtime_error& error) {
      thrown = error.what() == std::string("over there");
    }
    CHECK(thrown);
    CHECK(weir::offload_counts(s).running == 0);
  });
}

TEST_CASE("the_shard_goes_on_while_a_function_blocks") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    std::latch opened(1);
    bool ran = false;
    weir::scope tasks(s);
    tasks.spawn(block_until(opened, ran));
    co_await until_one_runs(s);
    CHECK_FALSE(ran);
    opened.count_down();  // by a coroutine of the shard that would else be blocked
    co_await tasks.join();
    CHECK(ran);
  });
}

TEST_CASE("a_full_queue_refuses_and_counts") {
  back_ends::on_kernel_back_ends(
      [](shard& s) -> task<> {
        std::latch opened(1);
        bool first = false, second = false, third = false;
        weir::scope tasks(s);
        tasks.spawn(block_until(opened, first));
        co_await until_one_runs(s);
        tasks.spawn(sets(second));
        co_await weir::yield();
        auto refused = co_await code_of_sets(third);
        CHECK(refused == std::errc::resource_unavailable_try_again);
        auto counts = weir::offload_counts(s);
        CHECK(counts.refused == 1);
        CHECK(counts.queued == 1);
        CHECK(counts.peak >= 1);
        opened.count_down();
        co_await tasks.join();
        CHECK(second);
        CHECK_FALSE(third);
        counts = weir::offload_counts(s);
        CHECK(counts.done == 2);
        CHECK(counts.queued == 0);
      },
      one_thread_one_place());
}

TEST_CASE("a_function_that_waits_for_a_thread_is_taken_back_and_one_that_runs_is_waited_for") {
  back_ends::on_kernel_back_ends(
      [](shard& s) -> task<> {
        std::latch opened(1);
        bool first = false, second = false;
        weir::scope tasks(s);
        tasks.spawn(block_until(opened, first));
        co_await until_one_runs(s);
        auto late = co_await weir::offload([&] { second = true; }).timeout(1ms).nothrow();
        CHECK(late == std::errc::timed_out);
        CHECK_FALSE(second);
        CHECK(weir::offload_counts(s).canceled == 1);
        tasks.cancel();
        co_await weir::yield();
        CHECK(tasks.size() == 1);  // cancelled, and still there
        opened.count_down();
        co_await tasks.join();
        CHECK(first);
        CHECK(tasks.io_errors() == 0);  // it ended well
      },
      one_thread_one_place());
}

TEST_CASE("a_task_that_was_cancelled_gives_nothing_to_the_pool") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    bool ran = false;
    weir::scope tasks(s);
    tasks.spawn(sets(ran));
    tasks.cancel();
    co_await tasks.join();
    CHECK_FALSE(ran);
    CHECK(weir::offload_counts(s).done == 0);
  });
}

TEST_CASE("functions_are_not_held_to_the_core_that_their_shard_is_pinned_to") {
  cpu_set_t before;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  if (CPU_COUNT(&before) < 2) {
    MESSAGE("SKIPPED: one core");
    return;
  }
  weir::config settings;
  settings.pin = true;
  cpu_set_t there, here;
  auto code = weir::run(settings, [&](shard&) -> task<> {
    ::sched_getaffinity(0, sizeof here, &here);
    co_await weir::offload([&] { ::sched_getaffinity(0, sizeof there, &there); });
  });
  ::sched_setaffinity(0, sizeof before, &before);
  CHECK(code == 0);
  CHECK(CPU_COUNT(&here) == 1);
  CHECK(CPU_EQUAL(&there, &before));
}

TEST_CASE("a_shard_without_a_pool_says_so") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    auto pool = std::exchange(s.around().pool, nullptr);
    auto refused = co_await weir::offload([] { return 1; }).nothrow();
    CHECK(refused.error() == std::errc::operation_not_supported);
    s.around().pool = pool;
  });
}

#if WEIR_WITH_SIM
namespace {

weir::sim::host_options busy_for(weir::duration time, unsigned threads, std::uint32_t queue) {
  weir::sim::host_options options;
  options.offload_time = time;
  options.settings.offload.threads = threads;
  options.settings.offload.queue = queue;
  return options;
}

using moments = std::vector<std::int64_t>;

task<> note_end(shard& s, moments& ends) {
  co_await weir::offload([] {});
  ends.push_back(s.now().ns() / 1'000'000);
}

task<> six_at_once(shard& s, moments& ends, std::uint64_t& refused) {
  weir::scope tasks(s);
  for (int i = 0; i < 6; ++i) tasks.spawn(note_end(s, ends));
  co_await tasks.join();
  refused = tasks.io_errors();
}

/// What the process writes to stderr while `body` runs.
std::string said_during(const std::function<void()>& body) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fflush(stderr);
  const int kept = ::dup(2);
  ::dup2(::fileno(file), 2);
  body();
  std::fflush(stderr);
  ::dup2(kept, 2);
  ::close(kept);
  std::string text(4096, '\0');
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

}  // namespace

TEST_CASE("in_a_simulation_functions_take_their_virtual_time_in_order") {
  weir::sim::network net;
  auto& ends = net.keep(moments());
  auto& refused = net.keep(std::uint64_t(0));
  auto& host = net.add_host("10.0.0.1/24", busy_for(10ms, 2, 3));
  const auto start = net.now().ns() / 1'000'000;
  net.start(host, [&](shard& s) { return six_at_once(s, ends, refused); });
  net.run();
  for (auto& each : ends) each -= start;
  CHECK(ends == moments{10, 10, 20, 20, 30});
  CHECK(refused == 1);  // two ran, three waited
}

TEST_CASE("a_stop_that_waits_for_a_function_says_so") {
  weir::sim::network net;
  auto& ends = net.keep(moments());
  auto& host = net.add_host("10.0.0.1/24", busy_for(5s, 1, 1));
  net.start(host, [&](shard& s) { return note_end(s, ends); });
  net.run_for(1s);
  host.shard().request_cancel();
  const auto said = said_during([&] { net.run(); });
  CHECK(said.find("was asked to stop and waits for 1 offloaded function(s)") != std::string::npos);
  CHECK(ends.size() == 1);  // it ended, and what it gave counted

  net.start(host, [&](shard& s) { return note_end(s, ends); });
  CHECK_THROWS_AS(net.run(), weir::io_error);  // a cancelled shard begins nothing more
}
#endif

TEST_CASE("a_poster_outlives_its_shard") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    weir::event posted;
    auto to = s.poster();
    std::thread other([to, &posted] { CHECK(to.post([&posted] { posted.set(); })); });
    co_await posted.wait();
    other.join();
  });
  weir::poster to;
  CHECK_FALSE(to.post([] {}));
  auto dropped = std::make_shared<int>();
  {
    weir::config settings;
    auto s = weir::make_shard(0, settings);
    to = s->poster();
  }
  CHECK_FALSE(to.post([dropped] {}));
  CHECK(dropped.use_count() == 1);
}
