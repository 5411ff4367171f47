// run(), the registry of back ends and shard_thread, on kernel sockets.
#include <doctest/doctest.h>
#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <latch>
#include <set>
#include <stdexcept>
#include <string>

#include "runtime/backend/limits.hpp"
#include "weir/weir.hpp"

using namespace weir;
using namespace std::chrono_literals;

namespace {

config settings_with(unsigned shards = 1) {
  config settings;
  settings.backend = "asio";
  settings.shards = shards;
  return settings;
}

task<> nothing(shard&) { co_return; }

std::string config_error_of(const config& settings) {
  try {
    (void)resolve_backend(settings);
  } catch (const config_error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("run_ends_with_0_when_serve_has_returned_on_every_shard") {
  std::atomic<unsigned> seen = 0;
  CHECK(run(settings_with(3), [&](shard& s) -> task<> {
          seen |= 1u << s.index();
          co_await sleep_for(1ms);
        }) == 0);
  CHECK(seen == 7);
}

TEST_CASE("an_exception_out_of_serve_cancels_the_other_shards_and_gives_1") {
  std::atomic<int> cancelled = 0;
  CHECK(run(settings_with(3), [&](shard& s) -> task<> {
          if (s.index() == 1) throw std::runtime_error("this test's own failure");
          try {
            co_await sleep_for(1h);
          } catch (const io_error& error) {
            if (error.code() == std::errc::operation_canceled) ++cancelled;
            throw;
          }
        }) == 1);
  CHECK(cancelled == 2);
}

TEST_CASE("what_is_submitted_to_another_shard_runs_there_even_when_its_serve_has_returned") {
  std::atomic<shard*> other = nullptr;
  unsigned ran_on = 99;
  CHECK(run(settings_with(2), [&](shard& s) -> task<> {
          if (s.index() == 1) {
            other = &s;
            co_return;
          }
          while (other == nullptr) co_await yield();
          auto work = [](unsigned& where) -> task<> {
            auto& here = co_await this_shard();
            where = here.index();
          };
          co_await submit_to(*other, work(ran_on));
        }) == 0);
  CHECK(ran_on == 1);
}

TEST_CASE("a_port_that_is_taken_on_the_second_shard_is_a_failure_of_the_whole") {
  CHECK(run(settings_with(2), [](shard& s) -> task<> {
          static std::atomic<std::uint16_t> port = 0;
          if (s.index() == 0) {
            auto listener = s.listen({"127.0.0.1", 0});
            port = listener.local_endpoint().port;
            co_await listener.accept();
            co_return;
          }
          while (port == 0) co_await yield();
          auto listener = s.listen({"127.0.0.1", port});  // exclusive is the default
        }) == 1);
}

TEST_CASE("pinned_shards_run_on_a_core_each") {
  cpu_set_t before;
  CPU_ZERO(&before);
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  auto settings = settings_with(CPU_COUNT(&before) > 1 ? 2 : 1);
  settings.pin = true;
  std::atomic<unsigned> alone = 0;
  CHECK(run(settings, [&](shard&) -> task<> {
          cpu_set_t mine;
          CPU_ZERO(&mine);
          sched_getaffinity(0, sizeof mine, &mine);
          if (CPU_COUNT(&mine) == 1) ++alone;
          co_return;
        }) == 0);
  CHECK(alone == settings.shards);
  sched_setaffinity(0, sizeof before, &before);
}

TEST_CASE("more_pinned_shards_than_cores_are_refused") {
  auto settings = settings_with(1000);
  settings.pin = true;
  CHECK(run(settings, nothing) == 2);
}

TEST_CASE("a_back_end_that_cannot_be_used_gives_2") {
  auto settings = settings_with();
  settings.backend = "sim";
  CHECK(run(settings, nothing) == 2);
  settings.backend = "epoll";
  CHECK(run(settings, nothing) == 2);
}

TEST_CASE("errors_about_back_ends_say_what_to_do") {
  auto settings = settings_with();
  settings.backend = "sim";
  CHECK(config_error_of(settings).find("weir/sim.hpp") != std::string::npos);
  settings.backend = "epoll";
  CHECK(config_error_of(settings).find("uring, asio, stack, sim") != std::string::npos);
  settings.backend = "stack";
  settings.stack.placement = placement::dedicated;
  settings.shards = 2;
  settings.stack.queues = 2;  // one thread reads one
  CHECK(config_error_of(settings).find("stack.placement") != std::string::npos);
  settings = settings_with();
  settings.backend = "stack";
  settings.stack.device = "lo";
  auto on_lo = probe_backend("stack", settings);
  CHECK_FALSE(on_lo.usable);
  CHECK_FALSE(on_lo.reason.empty());
}

namespace {

/// What `says` when the limit is this.
std::string with_limit(__rlimit_resource_t which, rlim_t current, std::string (*says)()) {
  rlimit before{};
  REQUIRE(::getrlimit(which, &before) == 0);
  const rlimit now{current, before.rlim_max};
  REQUIRE(::setrlimit(which, &now) == 0);
  auto said = says();
  REQUIRE(::setrlimit(which, &before) == 0);
  return said;
}

}  // namespace

TEST_CASE("limits_that_stop_a_program_are_said_as_ulimit_shows_them") {
  const auto files = with_limit(RLIMIT_NOFILE, 61, &detail::limit_on_open_files);
  CHECK(files.find("(RLIMIT_NOFILE) is 61: raise it with ulimit -n") != files.npos);
  const auto memory = with_limit(RLIMIT_MEMLOCK, 61 * 1024 + 1023, &detail::limit_on_locked_memory);
  CHECK(memory.find(" is 61 KiB: raise it with ulimit -l") != memory.npos);
  const auto threads = with_limit(RLIMIT_NPROC, 61, &detail::limit_on_threads);
  CHECK(threads.find("(RLIMIT_NPROC) is 61: raise it with ulimit -u") != threads.npos);
  rlimit most{};
  ::getrlimit(RLIMIT_NPROC, &most);
  if (most.rlim_max == RLIM_INFINITY) {
    const auto none = with_limit(RLIMIT_NPROC, RLIM_INFINITY, &detail::limit_on_threads);
    CHECK(none.find(" is not set: ") != none.npos);
  }
}

TEST_CASE("an_admin_endpoint_that_cannot_listen_is_a_configuration_that_cannot_be_used") {
  auto settings = settings_with();
  settings.observe.listen = "0.0.0.0:0";  // a wildcard that nobody allowed
  bool served = false;
  CHECK(run(settings, [&](shard&) -> task<> {
          served = true;
          co_return;
        }) == 2);
  CHECK_FALSE(served);
}

TEST_CASE("auto_becomes_a_back_end_on_kernel_sockets") {
  auto settings = settings_with();
  settings.backend = "auto";
  auto resolved = resolve_backend(settings).backend;
  CHECK((resolved == "uring" || resolved == "asio"));
  CHECK(probe_backend(resolved, settings).usable);
}

TEST_CASE("built_back_ends_have_names_and_reasons") {
  auto names = built_backends();
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  for (auto& name : names) {
    auto probed = probe_backend(name, config{});
    CAPTURE(name);
    CHECK((probed.usable || !probed.reason.empty()));
  }
  CHECK_FALSE(probe_backend("epoll", config{}).usable);
}

TEST_CASE("a_shard_thread_runs_tasks_until_it_goes_and_cancels_the_rest") {
  std::atomic<bool> cancelled = false;
  auto wait = [&]() -> task<> {
    try {
      co_await sleep_for(1h);
    } catch (const io_error&) {
      cancelled = true;
    }
  };
  {
    shard_thread other(settings_with(), 7);
    CHECK(other.shard().index() == 7);
    other.shard().post([&] { other.shard().start(wait(), [](std::exception_ptr) {}); });
  }
  CHECK(cancelled);
}

TEST_CASE("a_shard_thread_may_end_as_soon_as_its_coroutine_has_the_answer") {
  // Here the thread sanitizer decides.
  shard_thread other(settings_with(), 1);
  auto answer = []() -> task<int> { co_return 7; };
  auto ask = [&](std::atomic<int>& got) -> task<> {
    const int value = co_await submit_to(other.shard(), answer());
    got = value;
  };
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> got = 0;
    std::latch ended(1);
    {
      shard_thread caller(settings_with());
      caller.shard().post(
          [&] { caller.shard().start(ask(got), [&](std::exception_ptr) { ended.count_down(); }); });
      ended.wait();
    }
    CHECK(got == 7);
  }
}

TEST_CASE("a_shard_thread_that_cannot_be_made_throws_where_it_was_asked_for") {
  auto settings = settings_with();
  settings.backend = "epoll";
  CHECK_THROWS_AS(shard_thread{settings}, config_error);
}
