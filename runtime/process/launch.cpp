// Between vfork(2) and execve(2) nothing is called but system calls: the child runs in the parent's
// memory, whose locks other threads may hold.
#include "runtime/process/launch.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

namespace weir::detail {
namespace {

constexpr int last_signal = 64;
constexpr int closed_here = -1;                    // a standard stream that this program has not
constexpr unsigned close_range_cloexec = 1u << 2;  // Linux 5.11

std::error_code last_error() { return {errno, std::generic_category()}; }

bool has_zero_byte(const std::string& text) { return text.find('\0') != std::string::npos; }

std::string_view name_in(std::string_view entry) { return entry.substr(0, entry.find('=')); }

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

std::error_code launch::check() const {
  const auto invalid = std::make_error_code(std::errc::invalid_argument);
  if (what_.arguments.empty() || what_.arguments[0].empty()) return invalid;
  for (const auto& each : what_.arguments)
    if (has_zero_byte(each)) return invalid;
  for (const auto& each : what_.environment)
    if (has_zero_byte(each) || name_in(each).empty() || name_in(each) == each) return invalid;
  if (has_zero_byte(what_.directory)) return invalid;
  if (what_.input.what() == stdio::kind::output || what_.output.what() == stdio::kind::output)
    return invalid;
  return {};
}

std::error_code launch::prepare() {
  if (auto error = check()) return error;
  if (auto error = open_descriptors()) return error;
  find_program();
  join_environment();
  argv_ = pointers_to(what_.arguments);
  envp_ = pointers_to(environment_);
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask_);
  ignored_ = ignored_before_run() | ignored_before_watches();
  return {};
}

std::error_code launch::open_descriptors() {
  // Before anything is opened, which might get their numbers.
  for (int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    sources_.push_back(::fcntl(number, F_GETFD) >= 0 ? number : closed_here);
  if (auto error = add_stream(STDIN_FILENO, what_.input, input)) return error;
  if (auto error = add_stream(STDOUT_FILENO, what_.output, output)) return error;
  if (auto error = add_stream(STDERR_FILENO, what_.errors, errors)) return error;
  for (int fd : what_.descriptors) {
    if (fd < 0) return std::make_error_code(std::errc::bad_file_descriptor);
    sources_.push_back(fd);
  }
  moved_.resize(sources_.size());
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return last_error();
  report_in_.reset(ends[0]), report_out_.reset(ends[1]);
  return {};
}

std::error_code launch::add_stream(int number, stdio what, unique_fd& ours) {
  auto& source = sources_[static_cast<std::size_t>(number)];
  const bool child_reads = number == STDIN_FILENO;
  switch (what.what()) {
    case stdio::kind::inherited: break;
    case stdio::kind::descriptor:
      if (what.fd() < 0) return std::make_error_code(std::errc::bad_file_descriptor);
      source = what.fd();
      break;
    case stdio::kind::output: source = sources_[STDOUT_FILENO]; break;
    case stdio::kind::null:
      opened_.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!opened_.back()) return last_error();
      source = opened_.back().get();
      break;
    case stdio::kind::pipe:
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) return last_error();
      opened_.emplace_back(ends[child_reads ? 0 : 1]);
      ours.reset(ends[child_reads ? 1 : 0]);
      // (The two ends are two open files: the child's blocks, as programs expect.)
      if (::fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) return last_error();
      source = opened_.back().get();
      break;
  }
  return {};
}

void launch::find_program() {
  const auto& name = what_.arguments[0];
  if (name.find('/') != std::string::npos) {
    programs_ = {name};
    return;
  }
  const char* path = ::getenv("PATH");
  std::string_view left = path != nullptr ? path : "/bin:/usr/bin";
  for (bool more = true; more;) {
    const auto end = left.find(':');
    const auto folder = left.substr(0, end);
    programs_.push_back(std::string(folder.empty() ? "." : folder) + "/" + name);
    more = end != std::string_view::npos;
    if (more) left.remove_prefix(end + 1);
  }
}

void launch::join_environment() {
  environment_ = what_.environment;
  if (what_.clean_environment) return;
  const auto replaced = [&](std::string_view name) {
    return std::ranges::any_of(what_.environment,
                               [&](const auto& each) { return name_in(each) == name; });
  };
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry)
    if (!replaced(name_in(*entry))) environment_.emplace_back(*entry);
}

void launch::run() noexcept {
  // No handler of the program's may run in the child, which has its memory.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pid = fork_into();
  if (pid < 0) failure = last_error();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  report_out_.reset();
  opened_.clear();
  if (pid < 0) return;
  report heard{};
  ssize_t n;
  do n = ::read(report_in_.get(), &heard, sizeof heard);
  while (n < 0 && errno == EINTR);
  if (n == 0) return heard_nothing();
  failure.assign(n == sizeof heard ? heard.error : EIO, std::generic_category());
  if (heard.at == step::descriptors) failed_at = " (its descriptors)";
  if (heard.at == step::directory) failed_at = " (its working directory)";
  ::waitpid(pid, nullptr, 0);
}

/// The program runs.
void launch::heard_nothing() noexcept {
  // Nobody reaps it but us, so the number is still its own.
  pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (pidfd) return;
  failure = last_error();
  if (failure == std::errc::no_such_process)  // it has ended, and SIGCHLD is ignored
    failure = std::make_error_code(std::errc::no_child_process);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

/// Alone in its function: the child goes on upon the same stack.
[[gnu::noinline]] pid_t launch::fork_into() noexcept {
  const pid_t forked = ::vfork();
  if (forked == 0) become();
  return forked;
}

// --- In the child.

void launch::become() noexcept {
  if (what_.own_group) ::setpgid(0, 0);
  if (!place_descriptors()) give_up(errno, step::descriptors);
  if (!what_.directory.empty() && ::chdir(what_.directory.c_str()) != 0)
    give_up(errno, step::directory);
  restore_signals();
  give_up(exec(), step::program);
}

bool launch::place_descriptors() noexcept {
  const int count = static_cast<int>(sources_.size());
  report_to_ = ::fcntl(report_out_.get(), F_DUPFD_CLOEXEC, count);
  if (report_to_ < 0) report_to_ = report_out_.get();
  // First out of the way of each other.
  for (int i = 0; i < count; ++i) {
    auto& moved = moved_[static_cast<std::size_t>(i)];
    const int source = sources_[static_cast<std::size_t>(i)];
    moved = source == closed_here ? closed_here : ::fcntl(source, F_DUPFD_CLOEXEC, count);
    if (moved < 0 && source != closed_here) return false;
  }
  for (int i = 0; i < count; ++i) {
    const int moved = moved_[static_cast<std::size_t>(i)];
    if (moved == closed_here)
      ::close(i);
    else if (::dup2(moved, i) < 0)
      return false;
  }
  // Where the kernel does not know this: weir's own are close-on-exec anyway.
  ::syscall(SYS_close_range, static_cast<unsigned>(count), ~0u, close_range_cloexec);
  return true;
}

/// execve(2) resets handlers, but not before the mask lets signals in.
void launch::restore_signals() const noexcept {
  for (int number = 1; number <= last_signal; ++number) {
    struct sigaction now{};
    if (::sigaction(number, nullptr, &now) != 0) continue;
    if (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN) continue;
    now = {};
    now.sa_handler = (ignored_ >> (number - 1) & 1) != 0 ? SIG_IGN : SIG_DFL;
    ::sigaction(number, &now, nullptr);
  }
  ::sigprocmask(SIG_SETMASK, &mask_, nullptr);
}

/// As execvp(3) goes through PATH.
int launch::exec() const noexcept {
  int error = ENOENT;
  for (const auto& program : programs_) {
    ::execve(program.c_str(), argv_.data(), envp_.data());
    if (errno == EACCES)
      error = EACCES;  // unless a later one is right
    else if (errno != ENOENT && errno != ENOTDIR)
      return errno;
  }
  return error;
}

void launch::give_up(int error, step at) const noexcept {
  const report said{error, at};
  (void)!::write(report_to_, &said, sizeof said);
  ::_exit(127);
}

}  // namespace weir::detail
