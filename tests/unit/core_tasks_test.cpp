// What coroutines wait for, as it is told: each planted fault is named by the file and the line of
// the co_await, in virtual time.
#include <doctest/doctest.h>

#include <source_location>
#include <string>
#include <vector>

#include "core_world.hpp"
#include "runtime/core/task_report.hpp"

using namespace std::chrono_literals;
using core_test::world;
using weir::shard;
using weir::task;
namespace detail = weir::detail;

namespace {

detail::task_report report_of(shard& s, const detail::task_bounds& bounds = {}) {
  detail::task_reporter reporter(s, bounds);
  while (!reporter.go_on()) {
  }
  return reporter.take();
}

std::string all_of(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& line : lines) out += line + "\n";
  return out;
}

bool says(const std::string& text, const std::string& part) {
  INFO("looked for: ", part, "\nin:\n", text);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

std::string line(unsigned number) { return "core_tasks_test.cpp:" + std::to_string(number); }
constexpr unsigned here(std::source_location at = std::source_location::current()) {
  return at.line();
}

constexpr unsigned at_lock = here() + 2;
task<> keeps_the_lock(weir::mutex& m, weir::event& never) {
  auto guard = co_await m.lock();
  co_await never.wait();
}
constexpr unsigned at_wanted = here() + 1;
task<> wants_the_lock(weir::mutex& m) { auto guard = co_await m.lock(); }
constexpr unsigned at_send = here() + 2;
task<> fills(weir::channel<int>& c) {
  for (int i = 0;; ++i) co_await c.send(i);
}
constexpr unsigned at_event = here() + 2;
task<int> inner(weir::event& e) {
  co_await e.wait();
  co_return 1;
}
constexpr unsigned at_inner = here() + 1;
task<> outer(weir::event& e) { co_await inner(e); }
constexpr unsigned at_any = here() + 1;
task<> either(weir::event& a, weir::event& b) { co_await weir::when_any(a.wait(), b.wait()); }
task<> sleeps(weir::duration d) { co_await weir::sleep_for(d); }

/// One that nothing ends but the test.
class [[nodiscard]] deaf_operation : public detail::operation {
 public:
  explicit deaf_operation(deaf_operation*& where)
      : operation(&hook<&deaf_operation::asked>), handle_(&where) {}
  bool await_ready() const noexcept { return false; }
  template <detail::weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { *handle_ = this; });
  }
  void await_resume() const {}

 private:
  static void asked(operation&) noexcept {}
  deaf_operation** handle_;
};
constexpr unsigned at_deaf = here() + 1;
task<> waits_for_the_deaf(deaf_operation*& op) { co_await deaf_operation(op); }

}  // namespace

TEST_CASE("a_lock_that_is_never_released_is_named_by_where_it_was_taken") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::mutex m;
    weir::event never;
    weir::scope scope(s);
    scope.spawn(keeps_the_lock(m, never));
    scope.spawn(wants_the_lock(m));
    co_await weir::sleep_for(12s);
    const auto text = all_of(lines_by_place(report_of(s), 100));
    says(text, "wants_the_lock");
    says(text, line(at_wanted) + ": mutex lock, taken at " + line(at_lock) + ", for 12.0 s");
    never.set();
    co_await scope.join();
  });
}

TEST_CASE("a_full_channel_is_named_with_its_bound") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::channel<int> c(4);
    weir::scope scope(s);
    scope.spawn(fills(c));
    co_await weir::sleep_for(3s);
    says(all_of(lines_by_place(report_of(s), 100)),
         "fills " + line(at_send) + ": channel send (4 of 4), for 3.0 s");
    scope.cancel();
    co_await scope.join();
  });
}

TEST_CASE("a_wait_is_told_with_its_chain_up_to_the_scope_and_the_shard") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::event wrong;
    const unsigned made = here() + 1;
    weir::scope scope(s, {.name = "sessions"});
    scope.spawn(outer(wrong));
    co_await weir::sleep_for(1s);
    const auto text = all_of(lines_by_task(report_of(s), 100));
    says(text, "inner " + line(at_event) + ": event wait, for 1.0 s");
    says(text, "awaited by");
    says(text, "outer " + line(at_inner));
    says(text, "scope sessions of " + line(made) + " (1 task(s)), shard 0");
    wrong.set();
    co_await scope.join();
  });
}

TEST_CASE("a_wait_inside_when_any_is_named_by_the_line_of_the_program") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::event a, b;
    weir::scope scope(s);
    scope.spawn(either(a, b));
    co_await weir::sleep_for(1s);
    says(all_of(lines_by_place(report_of(s), 100)), "2 x ");
    says(all_of(lines_by_place(report_of(s), 100)), "either " + line(at_any) + ": event wait");
    a.set();
    co_await scope.join();
  });
}

TEST_CASE("tasks_of_a_scope_that_has_gone_say_so") {
  world w;
  w.run([](shard& s) -> task<> {
    deaf_operation* op = nullptr;
    {
      weir::scope leaked(s);
      leaked.spawn(waits_for_the_deaf(op));
      co_await weir::yield();
    }
    co_await weir::sleep_for(1s);
    const auto text = all_of(lines_by_place(report_of(s), 100));
    says(text, "waits_for_the_deaf " + line(at_deaf));
    says(text, "the scope itself has gone");
    op->complete();
  });
}

TEST_CASE("an_operation_that_was_asked_to_end_and_has_not_is_still_told") {
  world w;
  w.run([](shard& s) -> task<> {
    deaf_operation* op = nullptr;
    weir::scope scope(s, {.name = "drained"});
    scope.spawn(waits_for_the_deaf(op));
    co_await weir::yield();
    auto drains = [](weir::scope& of) -> task<> { co_await of.drain(1s); };
    weir::scope drainers(s);
    drainers.spawn(drains(scope));
    co_await weir::sleep_for(5s);
    const auto text = all_of(lines_by_place(report_of(s), 100));
    says(text, "the end of a scope 1, asked to end, for 5.0 s");
    says(text, "waits_for_the_deaf " + line(at_deaf) + ": deaf_operation, asked to end, for 5.0 s");
    op->complete();
    co_await drainers.join();
  });
}

TEST_CASE("short_waits_are_left_out_and_the_longest_are_listed_first") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::scope scope(s);
    for (int i = 0; i < 10; ++i) {
      scope.spawn(sleeps(1h));
      co_await weir::sleep_for(1s);
    }
    auto report = report_of(s, {.listed = 3, .at_least = 5s});
    CHECK(report.all == 10);
    CHECK(report.waited == 6);
    REQUIRE(report.listed.size() == 3);
    CHECK(report.taken - report.listed[0].since >= 10s);
    CHECK(report.listed[1].since > report.listed[0].since);
    REQUIRE(report.groups.size() == 1);
    CHECK(report.groups[0].count == 6);
    scope.cancel();
    co_await scope.join();
  });
}

TEST_CASE("a_report_in_pieces_tells_each_waiting_task_once_while_others_come_and_go") {
  world w;
  w.run([](shard& s) -> task<> {
    constexpr std::size_t many = 10'000;
    weir::scope idle(s), busy(s);
    for (std::size_t i = 0; i < many; ++i) idle.spawn(sleeps(1h));
    co_await weir::sleep_for(1s);
    detail::task_reporter reporter(s, {.listed = 0, .at_least = 500ms});
    unsigned pieces = 0;
    for (bool ended = false; !ended; ++pieces) {
      ended = reporter.go_on();
      for (int i = 0; i < 100; ++i) busy.spawn(sleeps(1ms));
      {
        weir::scope gone(s);
        gone.spawn(sleeps(1h));
      }
      co_await weir::sleep_for(2ms);
    }
    CHECK(pieces > 2);
    CHECK(reporter.take().waited == many);
    idle.cancel();
    co_await idle.join();
    co_await busy.join();
  });
}

TEST_CASE("a_report_is_bounded_and_counts_what_it_leaves_out") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::event e;
    weir::scope scope(s);
    scope.spawn(sleeps(1h));
    scope.spawn(outer(e));
    co_await weir::sleep_for(1s);
    auto report = report_of(s, {.listed = 1, .groups = 1});
    CHECK(report.listed.size() == 1);
    CHECK(report.groups.size() == 1);
    CHECK(report.apart == 1);
    CHECK(report.waited == 2);
    e.set();
    scope.cancel();
    co_await scope.join();
  });
}

TEST_CASE("a_task_that_was_never_started_has_its_function_for_its_place") {
  weir::event e;
  auto forgotten = inner(e);
  const auto frame = forgotten.release();
  const auto words = detail::in_words(detail::place_of(frame.promise()));
  CHECK(words.function.ends_with("inner"));
  CHECK(words.file.ends_with("core_tasks_test.cpp"));
  frame.destroy();
}

TEST_CASE("functions_are_named_without_parameters_and_results") {
  const auto lambda = [](std::vector<std::pair<int, std::string>>) -> task<int> { co_return 1; };
  auto made = lambda({});
  const auto frame = made.release();
  const auto name = detail::in_words(detail::place_of(frame.promise())).function;
  CHECK(name.find("pair") == std::string::npos);
  CHECK(name.ends_with("operator()"));
  frame.destroy();
}
