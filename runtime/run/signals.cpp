// The handlers, what they can reach, and the thread that the signals are handed to.
#include "runtime/run/signals.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <system_error>
#include <utility>

#include "runtime/process/launch.hpp"

namespace weir::detail {
namespace {

constexpr std::array taken = {SIGINT, SIGTERM, SIGPIPE, SIGQUIT};
constexpr std::size_t most_at_once = 16;  // run()s of one process

// A handler gets a number and nothing else, so what it needs is static. It may run on any thread.
constinit std::array<std::atomic<int>, most_at_once> write_ends = {};  // descriptor + 1; 0: free
constinit std::atomic<int> in_handlers = 0;
constinit std::atomic<int> arrived = 0;    // stop signals since the first run() of those that run
constinit std::atomic<pid_t> process = 0;  // a fork of it has the handlers, and is not meant
[[gnu::tls_model("initial-exec")]] constinit thread_local bool tolerant = false;

constinit std::mutex changing;  // guards the two below, and who installs and restores
constinit unsigned users = 0;
std::array<struct sigaction, taken.size()> before;

void as_without_us(int number) {
  for (std::size_t i = 0; i < taken.size(); ++i)
    if (taken[i] == number) ::sigaction(number, &before[i], nullptr);
  ::raise(number);  // when the handler returns
}

extern "C" void weir_stop_signal(int number) {
  if (::getpid() != process) return as_without_us(number);
  const int saved = errno;
  if (number != SIGQUIT &&
      arrived.fetch_add(1) >= 2) {  // who asks a third time does not want to wait
    ::signal(number, SIG_DFL);
    ::raise(number);
  }
  in_handlers.fetch_add(1);
  const auto byte = static_cast<unsigned char>(number);
  bool anybody = false;
  for (auto& slot : write_ends)
    if (const int end = slot.load(); end > 0) {
      (void)!::write(end - 1, &byte, 1);
      anybody = true;
    }
  in_handlers.fetch_sub(1);
  if (!anybody) as_without_us(number);  // somebody put it back after the last run()
  errno = saved;
}

// The thread that wrote is the one that gets SIGPIPE.
extern "C" void weir_broken_pipe(int) {
  if (!tolerant) as_without_us(SIGPIPE);
}

struct sigaction handling(int number) {
  struct sigaction action{};
  action.sa_handler = number == SIGPIPE ? &weir_broken_pipe : &weir_stop_signal;
  action.sa_flags = SA_RESTART;  // other threads' calls go on
  sigemptyset(&action.sa_mask);
  return action;
}

void install() {
  arrived = 0;
  process = ::getpid();
  for (std::size_t i = 0; i < taken.size(); ++i) {
    struct sigaction found{};
    ::sigaction(taken[i], nullptr, &found);
    // One that somebody put back after an earlier run() is not its own predecessor.
    if (found.sa_handler != handling(taken[i]).sa_handler) before[i] = found;
    if (taken[i] == SIGPIPE && before[i].sa_handler != SIG_DFL) continue;  // nobody dies of it
    const auto mine = handling(taken[i]);
    ::sigaction(taken[i], &mine, nullptr);
  }
}

/// What somebody else installed meanwhile stays.
void restore() {
  for (std::size_t i = 0; i < taken.size(); ++i) {
    struct sigaction now{};
    ::sigaction(taken[i], nullptr, &now);
    if (now.sa_handler == handling(taken[i]).sa_handler) ::sigaction(taken[i], &before[i], nullptr);
  }
}

}  // namespace

std::uint64_t ignored_before_run() {
  std::lock_guard lock(changing);
  std::uint64_t out = 0;
  for (std::size_t i = 0; users != 0 && i < taken.size(); ++i)
    if (before[i].sa_handler == SIG_IGN) out |= std::uint64_t{1} << (taken[i] - 1);
  return out;
}

stop_signals::stop_signals() {
  std::lock_guard lock(changing);
  while (slot_ < most_at_once && write_ends[slot_].load() != 0) ++slot_;
  if (slot_ == most_at_once)
    throw std::system_error(EAGAIN, std::generic_category(), "signals: too many run() at once");
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw std::system_error(errno, std::generic_category(), "signals: pipe");
  read_end_ = ends[0], write_end_ = ends[1];
  ::fcntl(write_end_, F_SETFL, O_NONBLOCK);  // a handler never waits
  write_ends[slot_] = write_end_ + 1;
  if (users++ == 0) install();
}

stop_signals::~stop_signals() {
  std::lock_guard lock(changing);
  const bool last = --users == 0;
  if (last) restore();
  write_ends[slot_] = 0;
  while (in_handlers != 0) std::this_thread::yield();  // one may still hold the descriptor
  put(end);
  int unseen = given_ == 0 ? next() : end;
  while (unseen == SIGQUIT) unseen = next();  // there is nothing left to show
  ::close(read_end_);
  ::close(write_end_);
  if (last && unseen != end) ::kill(::getpid(), unseen);
}

void stop_signals::put(unsigned char number) noexcept {
  while (::write(write_end_, &number, 1) < 0 && errno == EINTR) {
  }
}

int stop_signals::next() noexcept {
  unsigned char number = end;
  // The thread sanitizer of g++ 12 keeps a signal until a read(2) returns, which waits for it here.
  pollfd there{read_end_, POLLIN, 0};
  while (::poll(&there, 1, -1) < 0 && errno == EINTR) {
  }
  while (::read(read_end_, &number, 1) < 0 && errno == EINTR) {
  }
  if (number != end && number != SIGQUIT) ++given_;
  return number;
}

signal_thread::signal_thread(stop_signals& signals, std::function<void(int, int)> on_signal)
    : signals_(signals), on_signal_(std::move(on_signal)), thread_([this] { run(); }) {}

signal_thread::~signal_thread() {
  signals_.put(stop_signals::end);
  thread_.join();
}

void signal_thread::run() {
  pthread_setname_np(pthread_self(), "weir-signals");
  broken_pipes_are_errors tolerated;
  // Nobody else's handlers run here. These are let in even where every other thread blocks
  // them: somebody has to take them.
  sigset_t mask;
  sigfillset(&mask);
  sigdelset(&mask, SIGINT);
  sigdelset(&mask, SIGTERM);
  sigdelset(&mask, SIGQUIT);
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  int count = 0;
  while (const int number = signals_.next())
    if (number == SIGQUIT)
      on_signal_(number, 0);
    else if (++count <= 2)
      on_signal_(number, count);
}

broken_pipes_are_errors::broken_pipes_are_errors() : before_(std::exchange(tolerant, true)) {}
broken_pipes_are_errors::~broken_pipes_are_errors() { tolerant = before_; }

}  // namespace weir::detail
