// A handler writes the signal's number into the pipe of each watch that takes it; a watch reads
// its pipe as any stream. What a handler can reach is static, as in signals.cpp.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <thread>

#include "runtime/process/launch.hpp"
#include "weir/descriptor.hpp"
#include "weir/stopping.hpp"

namespace weir {
namespace {

constexpr std::size_t most_watches = 16;
constexpr int most_signals = 65;  // SIGRTMAX and below, by number
constexpr std::array not_for_watches = {SIGINT,  SIGTERM, SIGPIPE, SIGKILL, SIGSTOP,
                                        SIGSEGV, SIGBUS,  SIGFPE,  SIGILL};

struct slot {
  std::atomic<int> end{0};  // descriptor + 1; 0: free
  std::atomic<std::uint64_t> numbers{0};
};
constinit std::array<slot, most_watches> slots = {};
constinit std::atomic<int> in_handlers = 0;
constinit std::atomic<pid_t> process = 0;  // a fork of it has the handlers, and is not meant

constinit std::mutex changing;  // guards what follows, and who installs and restores
constinit std::array<unsigned, most_signals> users = {};
std::array<struct sigaction, most_signals> before;

std::uint64_t bit_of(int number) { return std::uint64_t{1} << (number - 1); }

void as_without_us(int number) {
  ::sigaction(number, &before[static_cast<std::size_t>(number)], nullptr);
  ::raise(number);  // when the handler returns
}

extern "C" void weir_watched_signal(int number) {
  if (::getpid() != process) return as_without_us(number);
  const int saved = errno;
  bool anybody = false;
  in_handlers.fetch_add(1);
  const auto byte = static_cast<unsigned char>(number);
  for (auto& each : slots) {
    const int end = each.end.load();
    if (end <= 0 || (each.numbers.load() & bit_of(number)) == 0) continue;
    (void)!::write(end - 1, &byte, 1);
    anybody = true;
  }
  in_handlers.fetch_sub(1);
  if (!anybody) as_without_us(number);  // somebody put it back after the last watch
  errno = saved;
}

void take(int number) {
  const auto i = static_cast<std::size_t>(number);
  if (users[i]++ != 0) return;
  struct sigaction action{};
  action.sa_handler = &weir_watched_signal;
  action.sa_flags = SA_RESTART;  // other threads' calls go on
  sigemptyset(&action.sa_mask);
  struct sigaction found{};
  ::sigaction(number, &action, &found);
  // One that somebody put back after an earlier watch is not its own predecessor.
  if (found.sa_handler != &weir_watched_signal) before[i] = found;
}

/// What somebody else installed meanwhile stays.
void give_back(int number) {
  const auto i = static_cast<std::size_t>(number);
  if (--users[i] != 0) return;
  struct sigaction now{};
  ::sigaction(number, nullptr, &now);
  if (now.sa_handler == &weir_watched_signal) ::sigaction(number, &before[i], nullptr);
}

[[noreturn]] void refuse(std::errc why) {
  throw io_error(std::make_error_code(why), "signal_watch");
}

}  // namespace

struct signal_watch::taken {
  unique_fd write_end;
  std::size_t at = 0;
  std::uint64_t numbers = 0;
};

signal_watch::signal_watch(shard& here, std::initializer_list<int> numbers)
    : taken_(std::make_unique<taken>()) {
  for (int number : numbers) {
    if (number < 1 || number >= most_signals ||
        std::ranges::find(not_for_watches, number) != not_for_watches.end())
      refuse(std::errc::invalid_argument);
    taken_->numbers |= bit_of(number);
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)  // a handler never waits
    throw io_error({errno, std::generic_category()}, "signal_watch");
  taken_->write_end.reset(ends[1]);
  stream_ = adopt_pipe(here, unique_fd(ends[0]));

  std::lock_guard lock(changing);
  while (taken_->at < most_watches && slots[taken_->at].end.load() != 0) ++taken_->at;
  if (taken_->at == most_watches) refuse(std::errc::resource_unavailable_try_again);
  process = ::getpid();
  slots[taken_->at].numbers = taken_->numbers;
  slots[taken_->at].end = ends[1] + 1;
  for (int number = 1; number < most_signals; ++number)
    if ((taken_->numbers & bit_of(number)) != 0) take(number);
}

signal_watch::~signal_watch() {
  std::lock_guard lock(changing);
  for (int number = 1; number < most_signals; ++number)
    if ((taken_->numbers & bit_of(number)) != 0) give_back(number);
  slots[taken_->at].end = 0;
  while (in_handlers != 0) std::this_thread::yield();  // one may still hold the descriptor
}

namespace detail {

std::uint64_t ignored_before_watches() {
  std::lock_guard lock(changing);
  std::uint64_t out = 0;
  for (int number = 1; number < most_signals; ++number)
    if (const auto i = static_cast<std::size_t>(number);
        users[i] != 0 && before[i].sa_handler == SIG_IGN)
      out |= bit_of(number);
  return out;
}

task<result<int>> next_signal::start(std::string&) const {
  std::array<std::byte, 1> number;
  auto* stream = from;
  auto got = co_await stream->read_some(number).nothrow();
  if (got.ec) co_return result<int>(got.ec);
  co_return result<int>(std::to_integer<int>(number[0]));
}

void next_signal::fail(std::error_code error, const std::string&) const {
  throw io_error(error, "signal_watch");
}

}  // namespace detail
}  // namespace weir
