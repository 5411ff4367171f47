// weir-bench tasks: see scenarios.hpp. A shard on a thread of its own holds tasks that wait; this
// thread asks it what they wait for, as weir-ps does, and the report tells what that cost it.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <vector>

#include "process.hpp"
#include "runtime/tasks/asking.hpp"
#include "scenarios/scenarios.hpp"
#include "weir/runtime.hpp"
#include "weir/weir.hpp"

namespace weir::bench {
namespace {

task<> hold(event& leave) { co_await leave.wait(); }

task<> hold_many(shard& mine, std::uint64_t count, event& leave, std::promise<void>& parked) {
  scope held(mine, {.name = "held"});
  for (std::uint64_t i = 0; i < count; ++i) held.spawn(hold(leave));
  co_await sleep_for(duration(1));  // behind the turn in which they have begun to wait
  parked.set_value();
  co_await leave.wait();
  co_await held.join();
}

struct dump {
  double seconds = 0, longest_pause_us = 0;
  unsigned pieces = 0;
  std::uint64_t tasks = 0;
};

dump ask(shard& of) {
  std::promise<void> answered;
  const auto question = std::make_shared<detail::task_question>(
      of, detail::task_bounds{},
      [&](const std::shared_ptr<detail::task_question>&) { answered.set_value(); });
  const auto begun = std::chrono::steady_clock::now();
  question->ask();
  answered.get_future().wait();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  if (!question->report()) throw std::runtime_error("no memory for a report");
  const auto& told = *question->report();
  return {took.count(), static_cast<double>(told.longest_pause.count()) / 1e3, told.pieces,
          told.all};
}

double median(std::vector<dump>& of, double dump::* what) {
  std::sort(of.begin(), of.end(), [&](const dump& a, const dump& b) { return a.*what < b.*what; });
  return of[of.size() / 2].*what;
}

}  // namespace

int run_tasks(const tasks_settings& settings) {
  config how;
  shard_thread thread(resolve_backend(how));
  auto& mine = thread.shard();
  event leave;
  std::promise<void> parked, ended;
  mine.post([&] {
    mine.start(hold_many(mine, settings.tasks, leave, parked),
               [&](const std::exception_ptr&) { ended.set_value(); });
  });
  parked.get_future().wait();
  std::vector<dump> rounds;
  for (unsigned i = 0; i < settings.rounds; ++i) rounds.push_back(ask(mine));
  mine.post([&] { leave.set(); });
  ended.get_future().wait();
  for (const auto& one : rounds)
    if (one.tasks < settings.tasks) {
      fmt::print(stderr, "weir-bench tasks: {} of {} tasks were shown\n", one.tasks,
                 settings.tasks);
      return 1;
    }
  const auto pieces = rounds.front().pieces;
  const double seconds = median(rounds, &dump::seconds);
  const double pause = median(rounds, &dump::longest_pause_us);
  fmt::print("{} tasks that wait, {} dumps, {} pieces each\n", settings.tasks, settings.rounds,
             pieces);
  fmt::print(
      "a dump takes {:.1f} ms; its longest piece holds the shard up for {:.0f} us "
      "(median; {:.0f} to {:.0f})\n",
      seconds * 1e3, pause, rounds.front().longest_pause_us, rounds.back().longest_pause_us);
  return 0;
}

}  // namespace weir::bench
