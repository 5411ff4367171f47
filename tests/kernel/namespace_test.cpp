// See namespace_test.hpp. The child reports through a pipe: one letter, then a text.
#include "kernel/namespace_test.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <system_error>

#include "stack/device/private_network.hpp"
#include "weir/runtime.hpp"

// There only in builds with the leak checker: a child that leaves through _exit() has to ask for
// it.
extern "C" int __lsan_do_recoverable_leak_check() __attribute__((weak));

namespace kernel_test {
namespace {

// The thread sanitizer runs a thread of its own from the start, before which weir's private network
// must be entered. A thread may leave for a new network namespace alone, and those that it makes
// follow; only root can do that directly.
#if defined(__SANITIZE_THREAD__)
#define WEIR_TEST_THREADS_FROM_THE_START 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEIR_TEST_THREADS_FROM_THE_START 1
#endif
#endif

std::error_code enter_namespace(std::string& why) {
#ifdef WEIR_TEST_THREADS_FROM_THE_START
  if (::unshare(CLONE_NEWNET) == 0) return {};
  why = "unshare(CLONE_NEWNET) under the thread sanitizer, which takes root";
  return {errno, std::generic_category()};
#else
  return weir::stack::enter_private_network(why);
#endif
}

[[noreturn]] void child(int report, const std::function<std::string()>& body) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::string text;
  std::string why;
  if (enter_namespace(why)) {
    text = "S" + why;
  } else if (auto probed = weir::probe_backend("stack", {}); !probed.usable) {
    text = "S" + probed.reason;
  } else {
    try {
      why = body();
    } catch (const std::exception& error) {
      why = std::string("threw: ") + error.what();
    }
    if (why.empty() && __lsan_do_recoverable_leak_check != nullptr &&
        __lsan_do_recoverable_leak_check() != 0)
      why = "memory leaked";
    text = why.empty() ? "P" : "F" + why;
  }
  auto written = ::write(report, text.data(), text.size());
  std::fflush(nullptr);
  ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 3);
}

}  // namespace

verdict in_private_network(const std::function<std::string()>& body) {
  int ends[2];
  if (::pipe(ends) != 0) return {verdict::kind::failed, "pipe"};
  std::fflush(nullptr);
  auto pid = ::fork();
  if (pid < 0) return {verdict::kind::failed, "fork"};
  if (pid == 0) {
    ::close(ends[0]);
    child(ends[1], body);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (;;) {
    auto n = ::read(ends[0], buffer, sizeof buffer);
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (text.empty() || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return {verdict::kind::failed,
            "the child ended without a report, status " + std::to_string(status) + " " + text};
  if (text[0] == 'S') return {verdict::kind::skipped, text.substr(1)};
  if (text[0] == 'F') return {verdict::kind::failed, text.substr(1)};
  return {};
}

}  // namespace kernel_test
