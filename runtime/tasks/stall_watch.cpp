// The watching thread. It looks at the shards' pulses twice in the limit, as long as any of them is
// awake, and for a second longer: then it sleeps until one rings.
#include "runtime/tasks/stall_watch.hpp"

#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/core/flight_recorder.hpp"
#include "runtime/core/task_report.hpp"
#include "runtime/tasks/thread_stack.hpp"
#include "stack/base/probes.hpp"
#include "weir/shard.hpp"

namespace weir::detail {
namespace {

constexpr duration awake_longer = std::chrono::seconds(1);
constexpr std::size_t most_functions = 12;                   // of a stack, in the line
constexpr duration between_lines = std::chrono::seconds(1);  // of one shard

instant now() {
  return instant::from_ns(std::chrono::duration_cast<std::chrono::nanoseconds>(
                              std::chrono::steady_clock::now().time_since_epoch())
                              .count());
}

std::string percent(duration of, duration all) {
  return std::to_string(all.count() == 0 ? 0 : std::min<std::int64_t>(100, 100 * of / all)) + "%";
}

/// Computing, blocking and not being scheduled, told apart by what the thread had meanwhile.
std::string what_it_does(const thread_state& at, duration cpu, duration cpu_wait, duration over) {
  std::string out = "it blocks in a system call";
  if (cpu_wait > over / 2 || (at.state == 'R' && cpu_wait > cpu))
    out = "it is not given a processor";
  else if (cpu > over / 2 || at.state == 'R')
    out = "it computes";
  else if (at.state == 'D')
    out = "it waits for a disk or its like";
  return out + " (CPU " + percent(cpu, over) + ", waited for one " + percent(cpu_wait, over) + ")";
}

/// Among the shard's last events, by itself: nobody else writes there.
void record(shard& of, flight_event event, duration lasted) {
  if (!of.recorder()) return;
  event.lasted_us = static_cast<std::uint32_t>(lasted.count() / 1000);
  of.post([into = of.recorder(), event] { into->add(event); });
}

}  // namespace

struct stall_watch::watched {
  shard* of;
  std::uint64_t turn = 0;
  instant since;     // it was first seen in this turn
  instant measured;  // in the middle of the limit, when `then` was taken
  thread_state then = {};
  bool reported = false;
  bool said = false;
  source_at resumed = nullptr;
  instant last_line;
  std::uint64_t unsaid = 0;
};

stall_watch::stall_watch(std::vector<shard*> shards, duration limit,
                         std::function<void(const std::string&)> say)
    : limit_(limit), say_(std::move(say)), stacks_(std::make_unique<stack_taker>()) {
  for (auto* one : shards) {
    shards_.push_back({.of = one, .since = now(), .measured = {}, .last_line = {}});
    one->pulse().bell.store(&bell_);
  }
  ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
  thread_ = std::thread([this] { run(); });
}

stall_watch::~stall_watch() {
  end_ = true;
  bell_.ring();
  thread_.join();
  for (auto& one : shards_) one.of->pulse().bell.store(nullptr);
}

bool stall_watch::all_asleep() const {
  return std::all_of(shards_.begin(), shards_.end(), [](const watched& one) {
    return one.of->pulse().sleeping.load() || one.of->pulse().turns.load() == 0;
  });
}

/// A shard that wakes while it does not see that we sleep is one that we see awake: the barrier
/// orders its store before our look, or its look behind our store.
void stall_watch::sleep_with_them() {
  bell_.asleep = true;
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0 || !all_asleep() ||
      end_) {
    bell_.asleep = false;
    return;
  }
  bell_.asleep.wait(true);
}

void stall_watch::run() {
  ::pthread_setname_np(::pthread_self(), "weir-stalls");
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  auto last_awake = now();
  while (!end_) {
    looks_.fetch_add(1, std::memory_order_relaxed);
    const auto at = now();
    for (auto& one : shards_) look(one, at);
    if (!all_asleep())
      last_awake = at;
    else if (at - last_awake > awake_longer)
      sleep_with_them(), last_awake = now();
    std::this_thread::sleep_for(limit_ / 2);
  }
}

void stall_watch::look(watched& at, instant time) {
  const auto& pulse = at.of->pulse();
  // In this order: a turn that is seen with it has not begun to sleep before.
  const bool asleep = pulse.sleeping.load();
  const auto turn = pulse.turns.load();
  if (asleep || turn != at.turn || turn == 0) {
    if (at.reported) ended(at, time);
    at.turn = turn;
    at.since = time;
    at.reported = false;
    at.measured = {};
    return;
  }
  const auto lasted = time - at.since;
  if (at.measured == instant()) {
    at.measured = time;
    at.then = state_of(pulse.thread.load());
  }
  if (lasted < limit_ || at.reported) return;
  at.reported = true;
  at.resumed = pulse.resumed.load();
  probe::stall(at.of->index(), pulse.thread.load(), lasted.count());
  report(at, lasted);
}

void stall_watch::report(watched& at, duration lasted) {
  const auto time = now();
  at.said = at.last_line == instant() || time - at.last_line >= between_lines;
  if (!at.said) {
    ++at.unsaid;
    return;
  }
  at.last_line = time;
  const auto& pulse = at.of->pulse();
  const int thread = pulse.thread.load();
  const auto state = state_of(thread);
  auto stack = stacks_->take(thread);
  if (pulse.turns.load() != at.turn) stack.clear();  // it was over when we looked
  std::string line = "shard " + std::to_string(at.of->index()) + " has not turned for " +
                     for_people(lasted) + ": " +
                     what_it_does(state, state.cpu - at.then.cpu, state.cpu_wait - at.then.cpu_wait,
                                  time - at.measured);
  if (at.resumed != nullptr)
    line += "; it resumed " + in_words(at.resumed).function + ", which had waited at " +
            short_place(at.resumed);
  if (!stack.empty()) line += "; in ";
  for (std::size_t i = 0; i < stack.size() && i < most_functions; ++i)
    line += (i == 0 ? "" : " < ") + stacks_->name(stack[i]);
  if (at.unsaid != 0) line += "; " + std::to_string(at.unsaid) + " more since the last such line";
  at.unsaid = 0;
  say_(line);
}

void stall_watch::ended(watched& at, instant time) {
  const auto lasted = time - at.since;
  count(at, lasted);
  record(*at.of, {.at = at.since, .about = at.resumed, .what = flight_event::kind::stalled},
         lasted);
  if (at.said)
    say_("shard " + std::to_string(at.of->index()) + " turns again, after some " +
         for_people(lasted));
}

void stall_watch::count(const watched& at, duration lasted) {
  const std::lock_guard locked(lock_);
  auto found = std::find_if(counts_.begin(), counts_.end(), [&](const stall_count& one) {
    return one.shard == at.of->index() && one.resumed == at.resumed;
  });
  if (found == counts_.end()) {
    if (counts_.size() == most_places)
      found = counts_.end() - 1;
    else
      found = counts_.insert(counts_.end(), {.shard = at.of->index(), .resumed = at.resumed});
  }
  ++found->count;
  found->longest = std::max(found->longest, lasted);
  found->sum += lasted;
}

std::vector<stall_count> stall_watch::counts() const {
  const std::lock_guard locked(lock_);
  return counts_;
}

}  // namespace weir::detail
