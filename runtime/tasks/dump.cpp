// Asks the shards and waits for their answers, with a limit.
#include "runtime/tasks/dump.hpp"

#include <chrono>
#include <condition_variable>

#include "runtime/tasks/asking.hpp"

namespace weir::detail {
namespace {

using namespace std::chrono_literals;

struct answers {
  std::mutex lock;
  std::condition_variable changed;
};

/// True: it answered. It is waited for as long as it goes on.
bool wait_for(const task_question& q, answers& of, const bool& there) {
  std::unique_lock locked(of.lock);
  for (auto seen = q.pieces();;) {
    if (of.changed.wait_for(locked, 1s, [&] { return there; })) return true;
    const auto now = q.pieces();
    if (now == seen) return false;
    seen = now;
  }
}

}  // namespace

std::string words_of_silent(shard& of) {
  std::string out = "shard " + std::to_string(of.index()) + " does not turn";
  const auto at = of.pulse().resumed.load(std::memory_order_relaxed);
  if (at == nullptr) return out;
  return out + ": it resumed " + in_words(at).function + ", which had waited at " + short_place(at);
}

std::vector<std::string> dump_tasks(std::span<shard* const> shards, std::size_t most) {
  auto shared = std::make_shared<answers>();
  struct asked {
    std::shared_ptr<task_question> question;
    std::shared_ptr<bool> there = std::make_shared<bool>(false);
  };
  std::vector<asked> all;
  for (auto* s : shards) {
    auto& one = all.emplace_back();
    one.question = std::make_shared<task_question>(
        *s, task_bounds{.listed = 0, .groups = 4 * most},
        [shared, there = one.there](const std::shared_ptr<task_question>&) {
          const std::lock_guard locked(shared->lock);
          *there = true;
          shared->changed.notify_all();
        });
    one.question->ask();
  }
  std::vector<std::string> out;
  for (auto& one : all) {
    auto& q = *one.question;
    if (!wait_for(q, *shared, *one.there) || !q.report()) {
      q.give_up();
      out.push_back(words_of_silent(q.target()));
      continue;
    }
    const auto& report = *q.report();
    out.push_back("shard " + std::to_string(report.shard) + ": " + std::to_string(report.all) +
                  " task(s), " + std::to_string(report.ready) + " of them ready");
    for (const auto& line : lines_by_place(report, most)) out.push_back("  " + line);
  }
  return out;
}

}  // namespace weir::detail
