// See process.hpp. Process ids are held through a pidfd, so that a signal never reaches a stranger
// that got the same number.
#include "process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "clock.hpp"

namespace weir::bench {
namespace {

constexpr std::size_t complaint_limit = 600;
constexpr std::size_t announcement_limit = 64 * 1024;

[[noreturn]] void become(const std::vector<std::string>& command,
                         const std::vector<std::string>& environment, int cpu, int output,
                         int errors, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  if (cpu >= 0) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(cpu, &cores);
    ::sched_setaffinity(0, sizeof cores, &cores);
  }
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, 0);
  ::dup2(output, 1);
  ::dup2(errors, 2);
  for (const auto& entry : environment) ::putenv(const_cast<char*>(entry.c_str()));
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execv(arguments[0], arguments.data());
  ::dprintf(2, "%s: %s\n", arguments[0], std::strerror(errno));
  ::_exit(127);
}

std::string ending_of(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return fmt::format("exited with status {}", info.si_status);
  return fmt::format("killed by signal {} ({})", info.si_status, ::strsignal(info.si_status));
}

}  // namespace

server_process::server_process(const std::vector<std::string>& command, int cpu, int limit_ms,
                               const start_options& options) {
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0)
    throw std::system_error(errno, std::system_category(), "pipe");
  output_ = pipe_ends[0];
  errors_ = ::memfd_create("server-errors", MFD_CLOEXEC);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) become(command, options.environment, cpu, pipe_ends[1], errors_, parent);
  const int fork_error = errno;
  ::close(pipe_ends[1]);
  if (pid_ < 0) {
    stop();
    throw std::system_error(fork_error, std::system_category(), "fork");
  }
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  try {
    if (pidfd_ < 0) throw std::system_error(errno, std::system_category(), "pidfd_open");
    wait_until_listening(limit_ms, options.services);
  } catch (...) {
    stop();
    throw;
  }
}

server_process::~server_process() { stop(); }

bool server_process::read_announcements(const std::string& said,
                                        const std::vector<std::string>& services) {
  std::vector<endpoint> found;
  for (const auto& service : services) {
    const std::string mark = "listening " + service + " ";
    const auto at = said.find(mark);
    if (at == std::string::npos || said.find('\n', at) == std::string::npos) return false;
    const auto from = at + mark.size();
    const auto address = said.substr(from, said.find_first_of(" \n", from) - from);
    const auto parsed = parse_endpoint(address);
    if (!parsed) throw std::runtime_error("announced an address that cannot be read: " + address);
    found.push_back(*parsed);
  }
  listening_ = std::move(found);
  return true;
}

void server_process::wait_until_listening(int limit_ms, const std::vector<std::string>& services) {
  const std::uint64_t deadline = now_ns() + static_cast<std::uint64_t>(limit_ms) * 1'000'000;
  std::string said;
  for (;;) {
    if (read_announcements(said, services)) return;
    const std::uint64_t now = now_ns();
    if (now >= deadline)
      throw std::runtime_error(fmt::format("not listening after {} ms. {}", limit_ms, complaint()));
    pollfd waits[2] = {{output_, POLLIN, 0}, {pidfd_, POLLIN, 0}};
    ::poll(waits, 2, static_cast<int>((deadline - now) / 1'000'000) + 1);
    if ((waits[0].revents & POLLIN) != 0) {
      char chunk[1024];
      const ssize_t n = ::read(output_, chunk, sizeof chunk);
      if (n > 0) said.append(chunk, static_cast<std::size_t>(n));
      if (said.size() > announcement_limit)
        throw std::runtime_error("printed 64 KiB and no `listening` line");
      continue;
    }
    std::string why;
    if (died(why)) throw std::runtime_error(complaint().empty() ? why : complaint());
  }
}

std::string server_process::complaint() const {
  std::string text(complaint_limit, '\0');
  const off_t end = ::lseek(errors_, 0, SEEK_END);
  const off_t from =
      end > static_cast<off_t>(complaint_limit) ? end - static_cast<off_t>(complaint_limit) : 0;
  const ssize_t n = ::pread(errors_, text.data(), text.size(), from);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  for (char& c : text)
    if (c == '\n') c = ' ';
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

bool server_process::died(std::string& why) const {
  siginfo_t info{};
  const int rc = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
  if (rc != 0) {
    why = "ended";  // reaped by the thread that traced it
    return true;
  }
  if (info.si_pid == 0) return false;
  why = ending_of(info);
  return true;
}

void server_process::stop() noexcept {
  if (pid_ > 0 && pidfd_ < 0) {  // it never came under control: no pidfd
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  } else if (pid_ > 0) {
    ::syscall(SYS_pidfd_send_signal, pidfd_, SIGTERM, nullptr, 0);
    pollfd ended{pidfd_, POLLIN, 0};
    if (::poll(&ended, 1, 2000) <= 0) {
      ::syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);
      ::poll(&ended, 1, 5000);
    }
    ::waitpid(pid_, nullptr, WNOHANG | __WALL);
  }
  for (int* fd : {&pidfd_, &output_, &errors_}) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
  pid_ = -1;
}

process_usage server_process::usage() const {
  process_usage out;
  clockid_t clock{};
  if (::clock_getcpuclockid(pid_, &clock) == 0) out.cpu_ns = read_clock_ns(clock);
  const std::string folder = fmt::format("/proc/{}/task", pid_);
  DIR* tasks = ::opendir(folder.c_str());
  if (tasks == nullptr) return out;
  while (const dirent* entry = ::readdir(tasks)) {
    if (entry->d_name[0] == '.') continue;
    // Linux, Documentation/scheduler/sched-stats.rst: time running, time waiting to.
    std::ifstream schedule(folder + "/" + entry->d_name + "/schedstat");
    if (std::uint64_t ran = 0, waited = 0; schedule >> ran >> waited) out.core_wait_ns += waited;
    std::ifstream status(folder + "/" + entry->d_name + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("voluntary_ctxt_switches:"))
        out.voluntary_switches += std::stoull(line.substr(24));
      if (line.starts_with("nonvoluntary_ctxt_switches:"))
        out.involuntary_switches += std::stoull(line.substr(27));
    }
  }
  ::closedir(tasks);
  return out;
}

unsigned server_process::io_workers() const {
  const std::string folder = fmt::format("/proc/{}/task", pid_);
  DIR* tasks = ::opendir(folder.c_str());
  if (tasks == nullptr) return 0;
  unsigned out = 0;
  while (const dirent* entry = ::readdir(tasks)) {
    if (entry->d_name[0] == '.') continue;
    std::ifstream comm(folder + "/" + entry->d_name + "/comm");
    std::string name;
    if (std::getline(comm, name) && name.starts_with("iou-wrk-")) ++out;
  }
  ::closedir(tasks);
  return out;
}

std::vector<int> allowed_cpus() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  std::vector<int> out;
  if (::sched_getaffinity(0, sizeof cores, &cores) != 0) return out;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &cores)) out.push_back(i);
  return out;
}

void pin_this_thread(int cpu) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(cpu, &cores);
  if (::sched_setaffinity(0, sizeof cores, &cores) != 0)
    throw std::system_error(errno, std::system_category(), fmt::format("pinning to core {}", cpu));
}

std::int64_t core_busy_ns(int cpu) {
  std::ifstream stat("/proc/stat");
  const std::string wanted = fmt::format("cpu{} ", cpu);
  for (std::string line; std::getline(stat, line);) {
    if (!line.starts_with(wanted)) continue;
    long long user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0;
    if (std::sscanf(line.c_str() + wanted.size(), "%lld %lld %lld %lld %lld %lld %lld", &user,
                    &nice, &system, &idle, &iowait, &irq, &softirq) != 7)
      return -1;
    return (user + nice + system + irq + softirq) * (1'000'000'000 / ::sysconf(_SC_CLK_TCK));
  }
  return -1;
}

}  // namespace weir::bench
