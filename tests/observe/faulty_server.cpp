// A server with a planted fault: faulty_server --fault lock --lazy 127.0.0.1:0. It prints where the
// fault stands, "fault faulty_server.cpp:57", and waits in it until it is stopped. For tests of
// what weir-ps and the lines on stderr say.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <weir/weir.hpp>

#include "common/listening.hpp"
#include "weir/metrics.hpp"
#if WEIR_TEST_RESOLVE
#include "weir/resolve.hpp"
#endif

using namespace std::chrono_literals;

namespace {

/// The fault stands `below` lines under the call.
void stands(unsigned below, std::source_location at = std::source_location::current()) {
  std::printf("fault faulty_server.cpp:%u\n", static_cast<unsigned>(at.line()) + below);
  std::fflush(stdout);
}

weir::task<> keeps_the_lock(weir::mutex& m, weir::event& never) {
  stands(1);
  auto guard = co_await m.lock();
  co_await never.wait().nothrow();
}
weir::task<> wants_the_lock(weir::mutex& m) { auto guard = co_await m.lock(); }
weir::task<> lock_never_released(weir::shard& shard) {
  weir::mutex m;
  weir::event never;
  weir::scope tasks(shard);
  tasks.spawn(keeps_the_lock(m, never));
  tasks.spawn(wants_the_lock(m));
  co_await tasks.join();
}

weir::task<> silent_peer(weir::shard&, weir::endpoint self) {
  auto stream = co_await weir::connect(self, {});
  std::array<std::byte, 16> buffer;
  stands(1);
  co_await stream.read_some(buffer);
}

[[gnu::noinline]] void crunch(std::chrono::milliseconds time) {
  const auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) {
  }
}
weir::task<> computation(weir::shard& shard) {
  stands(2);
  while (!shard.stop_requested()) {
    co_await weir::sleep_for(50ms);
    crunch(100ms);
  }
}

weir::task<> full_channel(weir::shard&) {
  weir::channel<int> queue(4);
  stands(1);
  for (int i = 0;; ++i) co_await queue.send(i);
}

weir::task<> wrong_event(weir::shard&) {
  weir::event right, wrong;
  right.set();
  stands(1);
  co_await wrong.wait();
}

/// Hears nothing of a cancellation.
weir::task<> stubborn(std::atomic<bool>& stop) {
  auto block = [&stop] { stop.wait(false); };
  stands(1);
  co_await weir::offload(block);
}
weir::task<> ends_it(std::atomic<bool>& stop) {
  auto stopped = co_await weir::stop_requested().nothrow();
  (void)stopped;
  stop = true;
  stop.notify_all();
}
weir::task<> blocked_drain(weir::shard& shard) {
  std::atomic<bool> stop = false;
  weir::scope ends(shard), sessions(shard, {.name = "sessions"});
  ends.spawn(ends_it(stop));
  sessions.spawn(stubborn(stop));
  co_await sessions.drain(100ms);
  co_await ends.join();
}

weir::task<> sleeps() { co_await weir::sleep_for(1h); }
weir::task<> leaked_scope(weir::shard& shard) {
  stands(1);
  auto* leaked = new weir::scope(shard, {.name = "leaked"});  // on purpose: nobody ends it
  leaked->spawn(sleeps());
  co_await weir::stop_requested();
  leaked->cancel();
  co_await leaked->join();
  delete leaked;
}

weir::task<> blocked_disk(weir::shard&, std::string fifo) {
  auto open = [&fifo] { ::close(::open(fifo.c_str(), O_RDONLY)); };  // nobody writes to it
  stands(1);
  co_await weir::offload(open);
}

/// Many, of whom nobody does anything.
weir::task<> crowd(weir::shard& shard) {
  constexpr int many = 100'000;
  weir::scope all(shard, {.name = "crowd"});
  for (int i = 0; i < many; ++i) all.spawn(sleeps());
  co_await weir::sleep_for(1ms);
  std::printf("fault crowd\n");
  std::fflush(stdout);
  co_await all.join();
}

/// After something that is among the last events.
weir::task<> dies(weir::shard&, weir::endpoint self, bool of_a_fault) {
  auto stream = co_await weir::connect(self, {});
  if (!of_a_fault) std::abort();
  volatile int* volatile nowhere = nullptr;
  *nowhere = 1;
}

weir::task<> never_run() { co_await weir::yield(); }
weir::task<> never_started(weir::shard&) {
  {
    auto forgotten = never_run();
  }
  co_await weir::stop_requested();
}

weir::task<> slow_resolver(weir::shard& shard) {
#if WEIR_TEST_RESOLVE
  auto& names = weir::resolver_of(shard);
  stands(1);
  auto addresses = co_await names.addresses("slow.example");
#else
  (void)shard;
  co_await weir::stop_requested();
#endif
}

weir::task<> serve(weir::shard& shard, const std::vector<examples::offer>& offers,
                   examples::announcement& announce, const std::string& fault,
                   const std::string& fifo) {
  auto listener = examples::listen_for(shard, offers.at(0));
  const auto here = listener.local_endpoint();
  announce.shard_listens(shard, {{offers.at(0).service, here}});
  auto& mine = shard.local<weir::metrics>();
  mine.counter("faults", "faults that were planted", {{"which", fault}}).add();
  mine.gauge("fault_size", "of the fault").set(0.5);
  mine.histogram("fault_seconds", "how long it took to plant it", {0.1, 1}).observe(0.01);
  weir::scope faults(shard, {.name = "faults"});
  if (fault == "lock") faults.spawn(lock_never_released(shard));
  if (fault == "peer") faults.spawn(silent_peer(shard, here));
  if (fault == "computation") faults.spawn(computation(shard));
  if (fault == "channel") faults.spawn(full_channel(shard));
  if (fault == "event") faults.spawn(wrong_event(shard));
  if (fault == "drain") faults.spawn(blocked_drain(shard));
  if (fault == "scope") faults.spawn(leaked_scope(shard));
  if (fault == "disk") faults.spawn(blocked_disk(shard, fifo));
  if (fault == "crowd") faults.spawn(crowd(shard));
  if (fault == "start") faults.spawn(never_started(shard));
  if (fault == "resolver") faults.spawn(slow_resolver(shard));
  if (fault == "abort" || fault == "fault") faults.spawn(dies(shard, here, fault == "fault"));
  if (fault == "throw") {
    faults.spawn(wrong_event(shard));
    co_await weir::sleep_for(50ms);
    throw std::runtime_error("thrown on purpose");
  }
  co_await weir::stop_requested();
  co_await faults.drain(0s);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<examples::offer> offers;
  std::string fault, fifo;
  weir::config_parser parser("faulty_server", "Has a fault.");
  parser.repeated("--lazy", "ADDR:PORT", "where it listens",
                  [&](std::string_view text) { return examples::add_offer(offers, "lazy", text); });
  parser.value("--fault", "NAME", "which", fault);
  parser.value("--fifo", "FILE", "a pipe without a writer", fifo);
  auto settings = parser.parse_or_exit(argc, argv);
  examples::announcement announce("faulty_server");
  return weir::run(settings,
                   [&](weir::shard& shard) { return serve(shard, offers, announce, fault, fifo); });
}
