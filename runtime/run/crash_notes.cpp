// The handler. It may run on any thread, in the middle of anything: it reads the rings, formats
// into its own stack and calls write(2) and clock_gettime(2), which a handler may.
#include "runtime/run/crash_notes.hpp"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <mutex>
#include <string_view>

#include "runtime/core/flight_recorder.hpp"
#include "runtime/core/flight_words.hpp"
#include "weir/shard.hpp"

namespace weir::detail {
namespace {

constexpr std::array fatal = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

struct noted {
  std::atomic<const flight_recorder*> of{nullptr};
  unsigned shard = 0;
};
constinit std::array<noted, crash_notes::most_recorders> all = {};

constinit std::mutex changing;  // guards `all` against other writers, and the next
constinit unsigned users = 0;

void say(std::string_view text) noexcept {
  (void)!::write(STDERR_FILENO, text.data(), text.size());
}

void say_events(const noted& one, const flight_recorder& of, instant now) noexcept {
  std::array<flight_event, crash_notes::most_events> events;
  const auto n = of.last(events);
  std::array<char, 16> number;
  const auto end = std::to_chars(number.data(), number.data() + number.size(), one.shard).ptr;
  say("weir: the last events of shard ");
  say({number.data(), static_cast<std::size_t>(end - number.data())});
  say(n == 0 ? ": none\n" : ":\n");
  std::array<char, 512> text;
  for (std::size_t i = 0; i < n; ++i) {
    constexpr std::string_view begin = "weir:   ";
    std::copy(begin.begin(), begin.end(), text.begin());
    const auto room = std::span(text).subspan(begin.size(), text.size() - begin.size() - 1);
    const auto used = begin.size() + in_words(events[i], now, room).size();
    text[used] = '\n';
    say({text.data(), used + 1});
  }
}

extern "C" void weir_fatal_signal(int number, siginfo_t* info, void*) {
  const int saved = errno;
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  constexpr std::int64_t second_ns = 1'000'000'000;
  const auto now = instant::from_ns(time.tv_sec * second_ns + time.tv_nsec);
  for (const auto& one : all)
    if (const auto* of = one.of.load()) say_events(one, *of, now);
  errno = saved;
  // The handler was for one signal only: a fault meets its instruction again, and dies there, with
  // the stack as it was. What somebody sent does not come again by itself.
  if (info == nullptr || info->si_code <= 0) ::raise(number);
}

struct sigaction handling() {
  struct sigaction action{};
  action.sa_sigaction = &weir_fatal_signal;
  action.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND) | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  return action;
}

void install() {
  for (const int number : fatal) {
    struct sigaction found{};
    ::sigaction(number, nullptr, &found);
    const bool free = (found.sa_flags & SA_SIGINFO) == 0 && found.sa_handler == SIG_DFL;
    const auto mine = handling();
    if (free) ::sigaction(number, &mine, nullptr);
  }
}

void restore() {
  for (const int number : fatal) {
    struct sigaction found{};
    ::sigaction(number, nullptr, &found);
    if ((found.sa_flags & SA_SIGINFO) != 0 && found.sa_sigaction == &weir_fatal_signal)
      ::signal(number, SIG_DFL);
  }
}

}  // namespace

crash_notes::crash_notes(std::span<shard* const> shards) {
  const std::lock_guard locked(changing);
  auto free = all.begin();
  for (auto* one : shards) {
    if (one == nullptr || !one->recorder()) continue;
    while (free != all.end() && free->of.load() != nullptr) ++free;
    if (free == all.end()) break;
    free->shard = one->index();
    free->of = one->recorder().get();
    of_.push_back(one->recorder());
  }
  if (!of_.empty() && users++ == 0) install();
}

crash_notes::~crash_notes() {
  const std::lock_guard locked(changing);
  if (of_.empty()) return;
  for (auto& one : all)
    for (const auto& mine : of_)
      if (one.of.load() == mine.get()) one.of = nullptr;
  if (--users == 0) restore();
}

}  // namespace weir::detail
