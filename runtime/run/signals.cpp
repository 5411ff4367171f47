// See signals.hpp.
#include "run/signals.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace weir::detail {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

blocked_signals::blocked_signals() {
  auto set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, &before_);
  // A peer that is gone is an error of a write, not the end of the process.
  ::signal(SIGPIPE, SIG_IGN);
}

blocked_signals::~blocked_signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

signal_thread::signal_thread(std::function<void(int, int)> on_signal)
    : on_signal_(std::move(on_signal)) {
  auto set = stop_signals();
  signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  end_ = ::eventfd(0, EFD_CLOEXEC);
  if (signals_ < 0 || end_ < 0) {
    auto error = errno;
    if (signals_ >= 0) ::close(signals_);
    throw std::system_error(error, std::generic_category(), "signalfd");
  }
  thread_ = std::thread([this] { run(); });
}

signal_thread::~signal_thread() {
  std::uint64_t one = 1;
  while (::write(end_, &one, sizeof one) < 0 && errno == EINTR) {
  }
  thread_.join();
  ::close(signals_);
  ::close(end_);
}

void signal_thread::run() {
  pthread_setname_np(pthread_self(), "weir-signals");
  int count = 0;
  pollfd watched[2] = {{signals_, POLLIN, 0}, {end_, POLLIN, 0}};
  for (;;) {
    if (::poll(watched, 2, -1) < 0 && errno != EINTR) return;
    if ((watched[1].revents & POLLIN) != 0) return;
    signalfd_siginfo info{};
    if (::read(signals_, &info, sizeof info) != sizeof info) continue;
    on_signal_(static_cast<int>(info.ssi_signo), ++count);
    if (count < 2) continue;
    auto set = stop_signals();
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);  // who asks a third time does not want to wait
    watched[0].fd = -1;
  }
}

}  // namespace weir::detail
