// run(): one thread per shard, signals, exit codes. Shard 0 runs on the calling thread. Every shard
// is made before any serves, and every shard runs until all are done, since tasks may be submitted
// to it until then.
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <atomic>
#include <barrier>
#include <exception>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "runtime/core/flight_words.hpp"
#include "runtime/core/log.hpp"
#include "runtime/core/task_report.hpp"
#include "stack/device/private_network.hpp"
#if WEIR_WITH_URING || WEIR_WITH_ASIO
#include "runtime/run/admin_socket.hpp"
#endif
#include "runtime/backend/family.hpp"
#include "runtime/backend/limits.hpp"
#include "runtime/run/backends.hpp"
#include "runtime/run/crash_notes.hpp"
#include "runtime/run/ending.hpp"
#include "runtime/run/offload_pool.hpp"
#include "runtime/run/pinning.hpp"
#include "runtime/run/signals.hpp"
#include "runtime/tasks/dump.hpp"
#include "runtime/tasks/stall_watch.hpp"
#if WEIR_WITH_STACK
#include "runtime/transport/stack/dedicated/dedicated_stack.hpp"
#endif
#include "weir/detail/surroundings.hpp"
#include "weir/runtime.hpp"
#include "weir/scope.hpp"

namespace weir {
namespace {

#if WEIR_WITH_URING || WEIR_WITH_ASIO
using detail::admin_endpoint;
using detail::admin_socket;
using detail::open_admin_listener;
using detail::open_admin_socket;
using detail::serve_admin;
#else
std::optional<tcp_listener> open_admin_listener(shard&) { return {}; }
task<> serve_admin(shard&, tcp_listener, std::vector<shard*>, const detail::stall_watch*) {
  co_return;
}
struct admin_socket {};
struct admin_endpoint {};
std::optional<admin_socket> open_admin_socket(const config& settings) {
  if (settings.observe.listen.empty()) return {};
  throw config_error("observe.listen: this build has no kernel sockets to serve it on");
}
#endif

constexpr int exit_ok = 0;
constexpr int exit_failed = 1;    // serve() threw
constexpr int exit_unusable = 2;  // the configuration cannot be used here
constexpr int exit_signal_base =
    128;  // a second signal cancelled what ran: 128 + its number, as shells have it

std::string what_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

bool is_cancellation(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::system_error& error) {
    return error.code() == std::errc::operation_canceled;
  } catch (...) {
    return false;
  }
}

/// Of any thread; a shard's driver tells the time to the shard only.
instant steady_now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return instant::from_ns(std::chrono::duration_cast<duration>(since).count());
}

class server {
 public:
  server(const config& settings, std::function<task<>(shard&)> serve, std::vector<int> cores,
         std::optional<admin_socket> admin)
      : settings_(settings),
        serve_(std::move(serve)),
        cores_(std::move(cores)),
        count_(settings.shard_count()),
        shards_(count_),
        serving_(count_),
        made_(static_cast<std::ptrdiff_t>(count_)),
        in_step_(static_cast<std::ptrdiff_t>(count_)),
        admin_(std::move(admin)) {
    family_->inside().part<detail::program_pool>().of(settings);  // before any thread is pinned
    if (cores_.size() > count_)
      family_->inside().part<detail::dedicated_family>().core = cores_[count_];
  }

  int run(detail::stop_signals& signals) {
    signals_ = std::make_unique<detail::signal_thread>(
        signals, [this](int number, int count) { on_signal(number, count); });
    std::vector<std::thread> threads;
    threads.reserve(count_);
    try {
      while (threads.size() + 1 < count_)
        threads.emplace_back(
            [this, i = static_cast<unsigned>(threads.size() + 1)] { shard_main(i); });
    } catch (const std::system_error& error) {
      give_up_threads(count_ - 1 - static_cast<unsigned>(threads.size()), error.what());
    }
    shard_main(0);
    for (auto& thread : threads) thread.join();
    return exit_code_;
  }

 private:
  void shard_main(unsigned index) {
    detail::broken_pipes_are_errors tolerated;
    if (index != 0) pthread_setname_np(pthread_self(), fmt::format("weir-{}", index).c_str());
    std::unique_ptr<shard> mine;
    // One after the other: the first makes what the others join (the device).
    for (unsigned turn = 0; turn < count_; ++turn) {
      if (turn == index && !unusable_) mine = make(index);
      in_step_.arrive_and_wait();
    }
    if (index == 0) watch();
    if (index == 0 && !unusable_) notes_.emplace(shards_);
    if (index == 0) observe();
    made_.count_down();
    if (!unusable_) serve_on(*mine);
    // The endpoint asks shards: it goes when no loop answers any more, and before the shards do.
    in_step_.arrive_and_wait();
    if (index == 0) endpoint_.reset();
    if (index == 0) admin_listener_.reset();
    if (index == 0) signals_.reset();
    if (index == 0) stalls_.reset();
    // All loops have stopped, the signals' thread too: from here on nothing is delivered to any
    // shard.
    in_step_.arrive_and_wait();
  }

  void watch() {
    const std::chrono::milliseconds limit(settings_.tasks.stall_ms);
    if (limit == limit.zero() || unusable_) return;
    try {
      stalls_ = std::make_unique<detail::stall_watch>(
          shards_, limit, [](const std::string& line) { detail::log_line(line); });
    } catch (const std::exception& error) {
      detail::log_line(fmt::format("tasks.stall_ms: nobody watches: {}", error.what()));
    }
  }

  /// Every shard was made: the admin endpoint may ask them from now on.
  void observe() {
#if WEIR_WITH_URING || WEIR_WITH_ASIO
    if (!admin_ || unusable_) return;
    try {
      auto targets = shards_;
#if WEIR_WITH_STACK
      // It lives as long as the family: longer than the endpoint.
      if (const auto& stack = family_->inside().part<detail::dedicated_family>().stack)
        targets.push_back(&stack->shard());
#endif
      endpoint_ =
          std::make_unique<admin_endpoint>(std::move(*admin_), std::move(targets), stalls_.get());
    } catch (const std::exception& error) {
      // The shards serve all the same: a server is not kept down for want of a view of it.
      detail::log_line(fmt::format("observe.listen: no admin endpoint: {}", error.what()));
    }
#endif
  }

  /// Stands in for threads that could not be started, so that the others do not wait for them.
  void give_up_threads(unsigned missing, const char* why) {
    unusable_ = true;
    fail(exit_unusable, fmt::format("shards = {}: no thread for each of them: {} ({})", count_, why,
                                    detail::limit_on_threads()));
    for (; missing > 0; --missing) {
      in_step_.arrive_and_drop();
      made_.count_down();
    }
  }

  std::unique_ptr<shard> make(unsigned index) {
    try {
      if (!cores_.empty()) detail::pin_this_thread(cores_[index]);
      auto made = make_shard(index, settings_, family_);
      if (index == 0) admin_listener_ = open_admin_listener(*made);
      shards_[index] = made.get();
      return made;
    } catch (const std::exception& error) {
      unusable_ = true;
      fail(exit_unusable, error.what());
      return nullptr;
    }
  }

  void serve_on(shard& mine) {
    mine.around().siblings = shards_;
    mine.start(start(mine),
               [this, &mine](std::exception_ptr failure) { served(mine, std::move(failure)); });
    detail::ending end(mine);
    bool counted = false, failed = false;
    mine.run_until([&] {
      if (const auto error = mine.failed_network(); error && !std::exchange(failed, true))
        transport_failed(error);
      if (serving_ != 0) return false;
      const bool over = end.reached();
      if (over && !counted) {
        counted = true;
        if (++ended_ == count_) wake_all();
      }
      return ended_ == count_ && over;
    });
  }

  /// serve_() itself may throw where it is no coroutine; here that becomes the root's failure.
  task<> start(shard& mine) {
    if (mine.index() == 0 && admin_listener_) return serve_observed(mine);
    return serve_plainly(mine);
  }
  task<> serve_plainly(shard& mine) { co_await serve_(mine); }

  /// With the admin endpoint beside it, on one of the shard's networks.
  task<> serve_observed(shard& mine) {
    scope beside(mine);
    beside.on_failure([](const std::exception_ptr& failure) {
      detail::log_line("the admin endpoint ended: " + what_of(failure));
    });
    beside.spawn(serve_admin(mine, std::move(*admin_listener_), shards_, stalls_.get()));
    co_await serve_(mine);
    beside.cancel();
    co_await beside.join();
  }

  void served(shard& mine, std::exception_ptr failure) {
    if (failure && !(cancelled_ && is_cancellation(failure))) {
      fail(exit_failed, what_of(failure));
      show_those_left(mine);
      show_last_events(mine);
      cancel_all();
    }
    if (--serving_ == 0) wake_all();
  }

  /// Without sockets there is nothing to serve: whoever watches the program should start it again.
  void transport_failed(std::error_code error) {
    fail(exit_failed, "the server stops: its sockets are gone: " + error.message());
    for (auto* s : shards_) s->request_stop();
  }

  void on_signal(int number, int count) {
    made_.wait();
    if (unusable_) return;
    if (count == 0) return show_tasks();
    auto* name = sigabbrev_np(number);
    // Said after it was asked for: whoever reads the line can rely on it.
    if (count == 1) {
      for (auto* s : shards_) s->request_stop();
      detail::log_line(fmt::format(
          "SIG{}: no more connections are accepted; a second signal cancels those that are left",
          name));
      return;
    }
    int expected = exit_ok;
    exit_code_.compare_exchange_strong(expected, exit_signal_base + number);
    cancel_all();
    detail::log_line(fmt::format("SIG{}: everything is cancelled", name));
  }

  /// SIGQUIT: what everything waits for, and the program goes on.
  void show_tasks() {
    constexpr std::size_t most_lines = 100;
    detail::log_line("SIGQUIT: what the coroutines wait for:");
    for (const auto& line : detail::dump_tasks(shards_, most_lines)) detail::log_line(line);
    for (auto* s : shards_) show_last_events(*s);
  }

  /// Any thread.
  static void show_last_events(shard& of) {
    if (!of.recorder() || of.recorder()->written() == 0) return;
    detail::log_line(fmt::format("the last events of shard {}:", of.index()));
    const auto lines =
        detail::lines_of_last(*of.recorder(), steady_now(), detail::crash_notes::most_events);
    for (const auto& line : lines) detail::log_line("  " + line);
  }

  /// Who is there when serve() has failed, before everything is cancelled.
  void show_those_left(shard& mine) {
    constexpr std::size_t most_lines = 20;
    // (Those of a scope that the exception passed are cancelled already, and ready for their end.)
    detail::task_reporter reporter(mine, {.listed = 0, .groups = 4 * most_lines});
    while (!reporter.go_on()) {
    }
    const auto lines = detail::lines_by_place(reporter.take(), most_lines);
    if (lines.empty()) return;
    detail::log_line(fmt::format("shard {} is left with:", mine.index()));
    for (const auto& line : lines) detail::log_line("  " + line);
  }

  void cancel_all() {
    cancelled_ = true;
    for (auto* s : shards_) s->request_cancel();
  }
  void wake_all() {
    for (auto* s : shards_) s->post([] {});
  }

  void fail(int code, const std::string& why) {
    int expected = exit_ok;
    exit_code_.compare_exchange_strong(expected, code);
    std::lock_guard lock(said_mutex_);
    if (said_ != why) detail::log_line(why);  // what fails on one shard often fails on all
    said_ = why;
  }

  const config& settings_;
  std::shared_ptr<shard_family> family_ = std::make_shared<shard_family>();
  std::function<task<>(shard&)> serve_;
  std::vector<int> cores_;
  unsigned count_;
  std::vector<shard*> shards_;
  std::atomic<unsigned> serving_;    // shards whose serve() has not ended
  std::atomic<unsigned> ended_ = 0;  // shards on which nothing is left
  std::atomic<bool> unusable_ = false;
  std::atomic<bool> cancelled_ = false;
  std::atomic<int> exit_code_ = exit_ok;
  std::latch made_;  // every shard was made, or could not be
  std::mutex said_mutex_;
  std::string said_;  // the last failure that was printed
  std::barrier<> in_step_;
  std::unique_ptr<detail::signal_thread> signals_;
  [[maybe_unused]] std::optional<admin_socket> admin_;
  std::optional<detail::crash_notes> notes_;
  std::optional<tcp_listener> admin_listener_;  // on a network of shard 0
  std::unique_ptr<detail::stall_watch> stalls_;
  std::unique_ptr<admin_endpoint> endpoint_;
};

bool has_own_stack(const config& settings) {
  return settings.backend == "stack" && settings.stack.placement == placement::dedicated;
}

void prepare_network(const config& settings) {
  if (!settings.stack.private_net) return;
  std::string why;
  if (auto error = stack::enter_private_network(why))
    throw config_error("stack.private_net: " + why);
}

}  // namespace

int run(const config& settings, std::function<task<>(shard&)> serve) try {
  detail::stop_signals signals;
  config resolved;
  std::vector<int> cores;
  std::optional<admin_socket> admin;
  try {
    admin = open_admin_socket(settings);
    prepare_network(settings);
    std::string why;
    resolved = detail::resolve_backend(settings, why);
    if (!why.empty()) detail::log_line(why);
    if (resolved.pin) cores = detail::cores_for(resolved.shard_count(), has_own_stack(resolved));
  } catch (const config_error& error) {
    detail::log_line(error.what());
    return exit_unusable;
  }
  return server(resolved, std::move(serve), std::move(cores), std::move(admin)).run(signals);
} catch (const std::system_error& error) {  // no descriptor for the signals, no thread
  detail::log_line(error.what());
  return exit_unusable;
}

}  // namespace weir
