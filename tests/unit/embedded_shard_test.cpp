// A shard in a loop of somebody else's, which here is poll(2): when it is told, when it is left
// alone, and how it ends. What sockets do there is conformance's (in_a_loop.*).
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>

#include "weir/weir.hpp"

using namespace std::chrono_literals;
using weir::embedded_shard;
using weir::task;

namespace {

constexpr int patience_ms = 30'000;

/// False, and why, where io_uring cannot be used.
bool have_uring(const weir::config& settings) {
  const auto found = weir::probe_backend("uring", settings);
  if (!found.usable) std::printf("SKIPPED: uring: %s\n", found.reason.c_str());
  return found.usable;
}

weir::config on_uring(const std::string& profile = "") {
  weir::config settings;
  settings.backend = "uring";
  settings.uring.profile = profile;
  return settings;
}

/// What a loop does; fails where nothing comes.
void wait_and_turn(embedded_shard& here) {
  pollfd watched{here.descriptor(), POLLIN, 0};
  const int limit = here.poll_timeout();
  const int ready = ::poll(&watched, 1, limit < 0 ? patience_ms : limit);
  if (limit < 0) REQUIRE(ready != 0);  // (-1: a signal for the ring's own purposes)
  here.turn();
}
void loop_until_ended(embedded_shard& here) {
  while (!here.ended()) wait_and_turn(here);
}
/// Turns that find nothing: the loop may sleep.
void settle(embedded_shard& here) {
  do here.turn();
  while (here.poll_timeout() == 0);
}
bool told(embedded_shard& here, int limit_ms) {
  pollfd watched{here.descriptor(), POLLIN, 0};
  return ::poll(&watched, 1, limit_ms) != 0;
}

struct pair {
  pair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    ours.reset(ends[0]);
    theirs.reset(ends[1]);
  }
  weir::unique_fd ours, theirs;
};

task<> echo(weir::unique_fd connected) {
  auto stream = weir::adopt_unix(co_await weir::this_shard(), std::move(connected));
  std::array<std::byte, 64> buffer;
  for (;;) {
    auto got = co_await stream.read_some(buffer).nothrow();
    if (got.n == 0) co_return;
    co_await stream.write_all(std::span(buffer).first(got.n));
  }
}

constexpr const char* profiles[] = {"", "5.19", "6.1"};

}  // namespace

TEST_CASE("a_loop_is_told_of_what_comes_between_its_turn_and_its_wait") {
  for (const auto* profile : profiles) {
    CAPTURE(std::string(profile));
    if (!have_uring(on_uring(profile))) return;
    embedded_shard here(on_uring(profile));
    pair ends;
    here.serve([&](weir::shard&) { return echo(std::move(ends.theirs)); });
    char byte = 'x';
    for (int i = 0; i < 200; ++i) {
      settle(here);
      CHECK(here.poll_timeout() == -1);
      REQUIRE(::write(ends.ours.get(), &byte, 1) == 1);
      for (pollfd answer{ends.ours.get(), POLLIN, 0}; ::poll(&answer, 1, 0) == 0;)
        wait_and_turn(here);
      REQUIRE(::read(ends.ours.get(), &byte, 1) == 1);
    }
    ends.ours.reset();
    loop_until_ended(here);
  }
}

TEST_CASE("a_loop_is_told_of_messages_from_other_threads_however_they_fall") {
  for (const auto* profile : profiles) {
    CAPTURE(std::string(profile));
    if (!have_uring(on_uring(profile))) return;
    embedded_shard here(on_uring(profile));
    constexpr unsigned rounds = 5'000;
    std::atomic<unsigned> heard = 0;
    std::thread speaker([&] {
      for (unsigned i = 0; i < rounds; ++i) {
        here.shard().post([&] { ++heard; });
        while (heard.load() != i + 1) std::this_thread::yield();
      }
    });
    while (heard.load() != rounds) wait_and_turn(here);
    speaker.join();
  }
}

TEST_CASE("a_loop_whose_shard_is_idle_is_left_alone") {
  for (const auto* profile : profiles) {
    CAPTURE(std::string(profile));
    if (!have_uring(on_uring(profile))) return;
    embedded_shard here(on_uring(profile));
    pair ends;
    here.serve([&](weir::shard&) { return echo(std::move(ends.theirs)); });
    here.serve([](weir::shard& shard) -> task<> {
      auto listener = shard.listen({"127.0.0.1", 0});
      while (auto peer = co_await listener.accept()) peer->close();
    });
    settle(here);
    (void)told(here, 20);  // what was under way
    settle(here);
    CHECK(here.poll_timeout() == -1);
    CHECK_FALSE(told(here, 300));
    here.shard().request_stop();
    ends.ours.reset();
    loop_until_ended(here);
  }
}

TEST_CASE("a_loop_learns_when_the_next_turn_is_due") {
  if (!have_uring(on_uring())) return;
  embedded_shard here(on_uring());
  int waits = 0;
  here.serve([](weir::shard&) -> task<> {
    co_await weir::sleep_for(30ms);
    co_await weir::sleep_for(30ms);
  });
  CHECK(here.poll_timeout() == 0);
  const auto began = std::chrono::steady_clock::now();
  while (!here.ended()) {
    if (here.poll_timeout() > 0) ++waits;
    wait_and_turn(here);
  }
  CHECK(std::chrono::steady_clock::now() - began >= 60ms);
  CHECK(waits >= 2);
  CHECK(here.next_deadline().is_never());
}

TEST_CASE("an_embedded_shard_that_is_asked_to_stop_ends_when_its_coroutines_have") {
  if (!have_uring(on_uring())) return;
  embedded_shard here(on_uring());
  CHECK(here.ended());
  bool drained = false;
  here.serve([&](weir::shard& shard) -> task<> {
    auto listener = shard.listen({"127.0.0.1", 0});
    for (;;) {
      auto peer = co_await listener.accept();
      if (!peer) break;
    }
    co_await weir::sleep_for(10ms);
    drained = true;
  });
  settle(here);
  CHECK_FALSE(here.ended());
  here.shard().request_stop();
  loop_until_ended(here);
  CHECK(drained);
  CHECK_FALSE(here.failed());

  // And may begin again.
  bool again = false;
  here.serve([&](weir::shard&) -> task<> {
    co_await weir::sleep_for(1ms);
    again = true;
  });
  CHECK_FALSE(here.ended());
  loop_until_ended(here);
  CHECK(again);
}

TEST_CASE("an_embedded_shard_that_goes_cancels_what_runs_there") {
  if (!have_uring(on_uring())) return;
  std::error_code ended_by;
  {
    embedded_shard here(on_uring());
    here.serve([&](weir::shard&) -> task<> {
      try {
        co_await weir::sleep_for(1h);
      } catch (const weir::io_error& error) {
        ended_by = error.code();
      }
    });
    settle(here);
  }
  CHECK(ended_by == std::errc::operation_canceled);
}

TEST_CASE("a_failure_goes_to_whoever_asked_for_it_and_else_cancels_the_rest") {
  if (!have_uring(on_uring())) return;
  embedded_shard here(on_uring());
  std::exception_ptr told_of;
  here.serve(
      [](weir::shard&) -> task<> {
        co_await weir::sleep_for(1ms);
        throw std::runtime_error("told");
      },
      [&](std::exception_ptr failure) { told_of = std::move(failure); });
  loop_until_ended(here);
  CHECK(told_of != nullptr);
  CHECK_FALSE(here.failed());
  here.serve([](weir::shard&) -> task<> { co_await weir::sleep_for(1h); },
             [](std::exception_ptr) {});
  here.serve([](weir::shard&) -> task<> {
    co_await weir::sleep_for(1ms);
    throw std::runtime_error("a test's own failure, which is logged");
  });
  loop_until_ended(here);
  CHECK(here.failed());
}

TEST_CASE("a_back_end_without_a_descriptor_says_so") {
  weir::config settings;
  settings.backend = "asio";
  if (weir::probe_backend("asio", settings).usable) {
    std::error_code refused;
    try {
      embedded_shard here(settings);
    } catch (const weir::io_error& error) {
      refused = error.code();
    }
    CHECK(refused == std::errc::operation_not_supported);
  }
  settings.backend = "sim";
  CHECK_THROWS_AS(embedded_shard{settings}, weir::config_error);
}
