// What streams and datagrams have in common (engine.hpp): the phases of a run, the pace of an open
// loop, the window.
#include "load/engine.hpp"

#include <algorithm>

#include "weir/error.hpp"
#include "weir/timing.hpp"

namespace weir::load {
namespace {

constexpr auto look_again = std::chrono::milliseconds(2);
constexpr auto warm_part = std::chrono::milliseconds(100);
constexpr auto longest_warmup = std::chrono::seconds(10);
constexpr auto notice = std::chrono::milliseconds(10);  // of the window's begin, for other shards
constexpr duration close_by = std::chrono::microseconds(3);
constexpr auto longest_drain = std::chrono::seconds(2);

}  // namespace

shard_load::shard_load(run_context& run, shard& here, unsigned index, clocks& time)
    : run_(run),
      plan_(run.of),
      control_(run.shared),
      shard_(here),
      index_(index),
      shards_(run.shards),
      time_(time),
      recorder_(run.of, run.shared, index),
      work_(here) {}

task<> shard_load::run() {
  // Whatever a connection meets is counted; what else goes wrong ends the run.
  work_.on_failure([this](std::exception_ptr failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const io_error& error) {
      if (error.code() != std::errc::operation_canceled) give_up(error.what());
    } catch (const std::exception& error) {
      give_up(error.what());
    }
  });
  bool begun = true;
  try {
    begin();
  } catch (const std::exception& error) {
    give_up(error.what());
    begun = false;
  }
  if (share() == 0 || !begun) all_ready_.set();
  if (index_ == 0) work_.spawn(direct());
  co_await stand_by();
  scope timing(shard_);
  timing.spawn(watch_window());
  if (plan_.mode == loop::open && share() > 0) timing.spawn(pace());
  co_await timing.join();
  co_await drain();
  settle();
  work_.cancel();
  co_await work_.drain(duration());
}

task<> shard_load::until(std::int64_t at) {
  for (auto left = at - now(); left > 0; left = at - now()) {
    if (control_.abandon.load(std::memory_order_relaxed)) co_return;
    co_await sleep_for(duration(left));
  }
}

/// Until this shard's connections stand, and all others' do.
task<> shard_load::stand_by() {
  while (!all_ready_.is_set() && !control_.abandon.load(std::memory_order_relaxed)) {
    auto late = co_await all_ready_.wait().timeout(look_again).nothrow();
    (void)late;
  }
  control_.ready.fetch_add(1);
  while (control_.start.load() == INT64_MAX && !control_.abandon.load())
    co_await sleep_for(look_again);
  co_await until(control_.start.load());
  go_.set();
}

task<bool> shard_load::started() {
  co_await go_.wait();
  const bool goes_on = !control_.abandon.load(std::memory_order_relaxed);
  co_return goes_on;
}

void shard_load::one_is_ready() {
  if (++ready_ >= share()) all_ready_.set();
}

void shard_load::give_up(std::string why) {
  if (seen().failure.empty()) seen().failure = std::move(why);
  control_.abandon.store(true);
}

/// Open loop: every request whose instant has come goes to a connection; what comes late is told by
/// its instant.
task<> shard_load::pace() {
  arrivals_of_shard schedule(plan_, index_, shards_, control_.start.load());
  while (!over()) {
    const auto at = now();
    const auto end = control_.end.load(std::memory_order_relaxed);
    while (schedule.next() <= at && schedule.next() < end) {
      recorder_.due(schedule.next());
      assign(schedule.next());
      schedule.pop();
    }
    // The end may be set while we wait: what is due after it is not asked for.
    const auto next = std::min({schedule.next(), end, at + duration(look_again * 50).count()});
    // A timer's tick is a microsecond: where that counts, the last of a wait is turned away.
    const auto early = plan_.spins ? close_by.count() : 0;
    if (const auto left = next - now(); left > early)
      co_await sleep_for(duration(left - early / 2));
    else
      co_await yield();
  }
}

task<> shard_load::watch_window() {
  while (control_.begin.load() == INT64_MAX && !control_.abandon.load())
    co_await sleep_for(look_again);
  co_await until(control_.begin.load());
  if (control_.abandon.load()) co_return;
  const bool first = index_ == 0;
  if (first) run_.hooks.begins();
  recorder_.open(now(), time_.thread_cpu());
  auto next = control_.begin.load() + plan_.slice.count();
  while (!over()) {
    co_await until(std::min(next, control_.end.load()));
    if (now() < next || over()) continue;
    recorder_.roll(now());
    if (first) run_.hooks.progress(seen().slices.back(), control_.answers(), control_.errors());
    next += plan_.slice.count();
  }
  recorder_.close(now(), time_.thread_cpu());
  if (first) run_.hooks.ends();
}

/// Open loop: what was asked in the window may still be answered.
task<> shard_load::drain() {
  if (closed_loop() || control_.abandon.load()) co_return;
  const auto limit = now() + std::min<duration>(plan_.timeout, longest_drain).count();
  while (owed() > 0 && now() < limit) co_await sleep_for(look_again);
}

/// On shard 0: says when requests begin, when it is warm, and when the window closes.
task<> shard_load::direct() {
  while (control_.ready.load() < shards_ && !control_.abandon.load())
    co_await sleep_for(look_again);
  if (control_.abandon.load()) co_return;
  control_.start.store(now() + duration(look_again).count());
  co_await warm_up();
  const auto begin = co_await agreed_begin();
  if (control_.abandon.load()) co_return;
  control_.end.store(begin + plan_.window.count());
  control_.begin.store(begin);
  step_watch watch;
  while (!over()) {
    watch.look(time_.now(), time_.reference());
    seen().machine.clock_steps = watch.steps();
    seen().machine.largest_step_ns = watch.largest().count();
    if (shard_.stop_requested()) control_.end.store(now());
    co_await sleep_for(notice);
  }
}

/// When the window begins; requests go on until then.
task<std::int64_t> shard_load::agreed_begin() {
  if (!run_.hooks.agreed_begin) co_return now() + duration(notice).count();
  while (!control_.abandon.load()) {
    if (const auto at = run_.hooks.agreed_begin()) co_return *at;
    if (shard_.stop_requested()) give_up("the run was ended");
    co_await sleep_for(look_again);
  }
  co_return now();
}

task<> shard_load::warm_up() {
  const auto begun = control_.start.load();
  co_await until(begun);
  if (plan_.warmup) {
    co_await until(begun + plan_.warmup->count());
  } else {
    steady_rate rate;
    const auto done = [this] { return control_.answers() + control_.errors(); };
    auto last = done();
    const auto limit = begun + duration(longest_warmup).count();
    while (!rate.steady() && now() < limit && !control_.abandon.load() &&
           !shard_.stop_requested()) {
      const auto at = now();
      co_await sleep_for(warm_part);
      const auto count = done();
      rate.add(static_cast<double>(count - last) / static_cast<double>(now() - at));
      last = count;
    }
    seen().steady = rate.steady();
  }
  seen().warmup_s = static_cast<double>(now() - begun) / 1e9;
}

task<> run_on_shard(run_context& run, shard& here, unsigned index, clocks& time, outcome& into) {
  auto load = run.of.to.datagrams() ? make_datagram_load(run, here, index, time)
                                    : make_stream_load(run, here, index, time);
  co_await load->run();
  into = std::move(load->seen());
}

}  // namespace weir::load
