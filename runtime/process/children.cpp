// Waiting, reaping, killing; and spawn_process(), which hands a launch to the pool.
#include "runtime/process/children.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/local_transport.hpp"
#include "runtime/core/log.hpp"
#include "runtime/process/launch.hpp"
#include "weir/detail/surroundings.hpp"
#include "weir/offload.hpp"

namespace weir {
namespace detail {

namespace {
std::error_code last_error() { return {errno, std::generic_category()}; }
}  // namespace

// --- One process.

bool child::try_reap() noexcept {
  if (over) return true;
  siginfo_t info{};
  int rc;
  do rc = ::waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &info, WEXITED | WNOHANG);
  while (rc != 0 && errno == EINTR);
  if (rc == 0 && info.si_pid == 0) return false;
  over = true;
  if (rc != 0)
    lost = last_error();
  else if (info.si_code == CLD_EXITED)
    status.code = info.si_status;
  else
    status = {0, info.si_status, info.si_code == CLD_DUMPED};
  return true;
}

void child::readable() {
  if (!try_reap()) return ended_watch->want_readable();
  while (auto* op = waiting.pop_front()) {
    op->status = status;
    op->complete(lost);
  }
  if (given_up) home->ended(*this);
}

/// The group's number is the leader's, and so nobody else's until it has been reaped.
std::error_code child::signal(int number) const noexcept {
  if (over) return std::make_error_code(std::errc::no_such_process);
  const auto rc = group ? ::kill(-pid, number)
                        : ::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
  return rc == 0 ? std::error_code() : last_error();
}

// --- All of a shard's.

result<child*> children::add(pid_t pid, unique_fd pidfd, bool leads_group) {
  auto made = std::make_unique<child>(*this, pid, std::move(pidfd), leads_group);
  auto watched = owner_.driver().watch_descriptor(made->pidfd.get(), *made);
  if (!watched) {
    (void)made->signal(SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return watched.error();
  }
  made->ended_watch = std::move(*watched);
  made->ended_watch->want_readable();
  all_.push_front(*made);
  return made.release();
}

void children::give_up(child& c) noexcept {
  assert(c.waiting.empty() && "a process's handle went while somebody waited for its end");
  if (c.try_reap()) return remove(c);
  c.given_up = true;
  (void)c.signal(SIGKILL);
}

unique_fd children::release(child& c) noexcept {
  assert(c.waiting.empty() && "a process was released while somebody waited for its end");
  unique_fd out;
  c.ended_watch.reset();
  if (!c.over) out = std::move(c.pidfd);
  if (out) ::fcntl(out.get(), F_SETFL, 0);  // where it was watched, waitid(2) would not wait
  remove(c);
  return out;
}

void children::ended(child& c) noexcept {
  all_.remove(c);
  gone_.push_front(c);
  if (!sweep_.armed()) owner_.arm(sweep_, owner_.now());
}

void children::sweep(timer_node& node) noexcept {
  auto& gone = static_cast<sweep_timer&>(node).of->gone_;
  while (auto* c = gone.front()) {
    gone.remove(*c);
    delete c;
  }
}

void children::remove(child& c) noexcept {
  all_.remove(c);
  delete &c;
}

/// What was killed is gone at once, but for what hangs in the kernel or could not be killed.
children::~children() {
  using clock = std::chrono::steady_clock;
  const auto last = clock::now() + patience;
  sweep(sweep_);
  while (auto* c = all_.front()) {
    while (!c->try_reap()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(last - clock::now());
      if (left.count() <= 0) break;
      pollfd ended{c->pidfd.get(), POLLIN, 0};
      ::poll(&ended, 1, static_cast<int>(left.count()));
    }
    if (!c->over)
      log_line("shard " + std::to_string(owner_.index()) + ": process " + std::to_string(c->pid) +
               " does not end and is left behind");
    remove(*c);
  }
}

// --- Operations.

void process_exit_awaiter::begin(process_exit_operation& op) noexcept {
  auto& process = *op.process;
  if (!process.over) return process.waiting.push_back(op);
  op.status = process.status;
  op.complete(process.lost);
}

void process_exit_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<process_exit_awaiter&>(op);
  self.process->waiting.remove(self);
  self.complete(canceled_error());
}

namespace {

/// Our ends of its pipes.
std::error_code adopt_ends(shard& here, launch& starting, child_process& into) {
  const auto adopt = [&](unique_fd& fd, any_stream& stream) -> std::error_code {
    if (!fd) return {};
    auto adopted = try_adopt_pipe(here, fd);
    if (!adopted) return adopted.error();
    stream = std::move(*adopted);
    return {};
  };
  if (auto error = adopt(starting.input, into.input)) return error;
  if (auto error = adopt(starting.output, into.output)) return error;
  return adopt(starting.errors, into.errors);
}

}  // namespace

task<result<child_process>> spawn_call::start(std::string& words) const {
  shard& here = co_await this_shard();
  const command& wanted = *what;
  words = wanted.arguments.empty() ? "spawn" : "spawn " + wanted.arguments[0];
  const auto* locals = here.around().locals.get();
  if (locals == nullptr || !locals->passes_descriptors())
    co_return std::make_error_code(std::errc::operation_not_supported);
  launch starting(wanted);
  child_process made;
  if (auto error = starting.prepare()) co_return error;
  if (auto error = adopt_ends(here, starting, made)) co_return error;
  auto run = [&starting] { starting.run(); };
  const auto refused = co_await offload(run).nothrow();
  if (refused) co_return refused;
  words += starting.failed_at;
  if (starting.failure) co_return starting.failure;
  auto added =
      here.local<children>().add(starting.pid, std::move(starting.pidfd), wanted.own_group);
  if (!added) co_return added.error();
  child_process running(**added);
  running.input = std::move(made.input);
  running.output = std::move(made.output);
  running.errors = std::move(made.errors);
  co_return result<child_process>(std::move(running));
}

void spawn_call::fail(std::error_code error, const std::string& words) const {
  throw io_error(error, words);
}

}  // namespace detail

// --- The handle.

int child_process::id() const { return here().pid; }

bool child_process::kill(int signal) {
  const auto error = here().signal(signal);
  if (error == std::errc::no_such_process) return false;
  if (error) throw io_error(error, "kill");
  return true;
}

unique_fd child_process::release() {
  auto& c = here();
  child_ = nullptr;
  return c.home->release(c);
}

void child_process::end() noexcept {
  if (auto* c = std::exchange(child_, nullptr)) c->home->give_up(*c);
}

std::string exit_status::to_string() const {
  if (signal != 0) {
    const char* name = ::sigabbrev_np(signal);
    return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
  }
  return code == 0 ? "0" : "status " + std::to_string(code);
}

}  // namespace weir
