// See syscall_counter.hpp. One thread owns the tracing, as ptrace demands; it ends when the last
// traced thread has ended.
#include "syscall_counter.hpp"

#include <dirent.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace weir::bench {
namespace {

std::vector<pid_t> threads_of(pid_t pid) {
  std::vector<pid_t> out;
  DIR* tasks = ::opendir(fmt::format("/proc/{}/task", pid).c_str());
  if (tasks == nullptr) return out;
  while (const dirent* entry = ::readdir(tasks))
    if (entry->d_name[0] != '.') out.push_back(std::atoi(entry->d_name));
  ::closedir(tasks);
  return out;
}

long trace_call(__ptrace_request request, pid_t thread, std::uintptr_t address,
                std::uintptr_t data) {
  return ::ptrace(request, thread, reinterpret_cast<void*>(address), reinterpret_cast<void*>(data));
}

const char* name_of(std::size_t number) {
  switch (number) {
    case SYS_read: return "read";
    case SYS_write: return "write";
    case SYS_readv: return "readv";
    case SYS_writev: return "writev";
    case SYS_recvfrom: return "recvfrom";
    case SYS_sendto: return "sendto";
    case SYS_recvmsg: return "recvmsg";
    case SYS_sendmsg: return "sendmsg";
    case SYS_epoll_pwait: return "epoll_pwait";
    case SYS_epoll_pwait2: return "epoll_pwait2";
    case SYS_epoll_ctl: return "epoll_ctl";
    case SYS_io_uring_enter: return "io_uring_enter";
    case SYS_futex: return "futex";
    case SYS_accept4: return "accept4";
    case SYS_ppoll: return "ppoll";
    case SYS_timerfd_settime: return "timerfd_settime";
    case SYS_clock_nanosleep: return "clock_nanosleep";
    case SYS_shutdown: return "shutdown";
    case SYS_close: return "close";
    case SYS_getsockopt: return "getsockopt";
    case SYS_setsockopt: return "setsockopt";
#ifdef SYS_epoll_wait
    case SYS_epoll_wait: return "epoll_wait";
    case SYS_poll: return "poll";
#endif
    default: return nullptr;
  }
}

}  // namespace

syscall_counter::syscall_counter(pid_t pid) {
  tracer_ = std::thread([this, pid] { trace(pid); });
  attached_.wait(0);
  if (attached_.load() < 0) {
    tracer_.join();
    throw std::runtime_error(failure_);
  }
}

syscall_counter::~syscall_counter() {
  if (tracer_.joinable()) tracer_.join();
}

void syscall_counter::trace(pid_t pid) {
  std::size_t seized = 0;
  for (const pid_t thread : threads_of(pid)) {
    const auto options = static_cast<std::uintptr_t>(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE);
    if (trace_call(PTRACE_SEIZE, thread, 0, options) == 0) {
      ++seized;
      trace_call(PTRACE_INTERRUPT, thread, 0, 0);
    } else {
      failure_ = fmt::format("ptrace: {}", std::strerror(errno));
    }
  }
  attached_.store(seized > 0 ? 1 : -1);
  attached_.notify_all();
  while (seized > 0) {
    int status = 0;
    const pid_t thread = ::waitpid(-1, &status, __WALL | __WNOTHREAD);
    if (thread < 0 && errno == EINTR) continue;
    if (thread < 0) return;  // ECHILD: nothing is traced any more
    if (!WIFSTOPPED(status)) continue;
    std::uintptr_t signal = 0;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
      ::__ptrace_syscall_info info{};
      if (trace_call(PTRACE_GET_SYSCALL_INFO, thread, sizeof info,
                     reinterpret_cast<std::uintptr_t>(&info)) > 0 &&
          info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr < numbers)
        counts_[info.entry.nr].fetch_add(1, std::memory_order_relaxed);
    } else if (status >> 16 == 0) {
      signal =
          static_cast<std::uintptr_t>(WSTOPSIG(status));  // a signal for the server: pass it on
    }
    trace_call(PTRACE_SYSCALL, thread, 0, signal);
  }
}

syscall_counter::counts syscall_counter::snapshot() const noexcept {
  counts out{};
  for (std::size_t i = 0; i < numbers; ++i) out[i] = counts_[i].load(std::memory_order_relaxed);
  return out;
}

std::map<std::string, double> per_request(const syscall_counter::counts& before,
                                          const syscall_counter::counts& after,
                                          std::uint64_t requests) {
  std::map<std::string, double> out;
  if (requests == 0) return out;
  for (std::size_t i = 0; i < syscall_counter::numbers; ++i) {
    if (after[i] == before[i]) continue;
    const char* name = name_of(i);
    out[name != nullptr ? std::string(name) : fmt::format("number {}", i)] =
        static_cast<double>(after[i] - before[i]) / static_cast<double>(requests);
  }
  return out;
}

}  // namespace weir::bench
