// See harness.hpp.
#include "programs/harness.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstddef>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "runtime/transport/kernel/kernel_socket.hpp"
#include "stack/device/private_network.hpp"
#include "weir/runtime.hpp"

namespace programs {
namespace {

using clock = std::chrono::steady_clock;

void skipped(const std::string& why) { std::printf("SKIPPED: %s\n", why.c_str()); }

sockaddr_storage address_of(const std::string& text, std::uint16_t port, socklen_t& length) {
  const weir::detail::kernel::socket_address out(weir::endpoint(text.c_str(), port));
  length = out.size;
  return out.storage;
}

}  // namespace

bool own_network() {
  std::string why;
  if (!weir::stack::enter_private_network(why)) return true;
  skipped(why);
  return false;
}

#if WEIR_WITH_ASIO
const char* const kernel_backend = "asio";
#else
const char* const kernel_backend = "uring";
#endif

bool built_in(const std::string& name) {
  auto names = weir::built_backends();
  const bool here = std::find(names.begin(), names.end(), name) != names.end();
  if (!here) skipped("back end " + name + " was left out of this build");
  return here;
}

bool usable(const std::string& name) {
  auto probed = weir::probe_backend(name, weir::config{});
  if (!probed.usable) skipped("back end " + name + ": " + probed.reason);
  return probed.usable;
}

void run_test_on(const std::string& name, void (*test)(const backend&)) {
  if (own_network() && usable(name)) test(backend_called(name));
}

backend backend_called(const std::string& name) {
  return {name, name == "stack" ? "198.18.0.2" : "127.0.0.1", {"--backend", name}};
}

std::vector<std::string> command_line(const std::string& program, const backend& on,
                                      std::vector<std::string> more) {
  std::vector<std::string> out = {program};
  out.insert(out.end(), on.arguments.begin(), on.arguments.end());
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

std::string services() { return WEIR_SERVICES; }
std::string http_server() { return WEIR_HTTP_SERVER; }
std::string weir_probe() { return WEIR_PROBE; }
std::string echo_program() { return WEIR_ECHO; }
std::string udp_echo_program() { return WEIR_UDP_ECHO; }

void forbid_io_uring(int error) {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{std::size(rules), rules};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    ::_exit(98);
}

process::process(std::vector<std::string> command, const start_options& options) {
  int out[2], err[2];
  REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(err, O_CLOEXEC) == 0);
  std::vector<char*> argv, envp;
  for (auto& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  auto added = options.environment;
  for (char** e = environ; *e != nullptr; ++e) envp.push_back(*e);
  for (auto& e : added) envp.push_back(e.data());
  envp.push_back(nullptr);
  pid_ = ::fork();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    if (options.before_exec) options.before_exec();
    ::execve(argv[0], argv.data(), envp.data());
    std::fprintf(stderr, "%s: %s\n", argv[0], std::strerror(errno));
    ::_exit(127);
  }
  ::close(out[1]);
  ::close(err[1]);
  out_.fd = out[0];
  err_.fd = err[0];
}

process::~process() {
  if (!ended_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  for (auto fd : {out_.fd, err_.fd})
    if (fd >= 0) ::close(fd);
}

/// False when both streams have ended.
bool process::read_more(clock::time_point until) {
  pollfd watched[2] = {{out_.fd, POLLIN, 0}, {err_.fd, POLLIN, 0}};  // poll() skips what is -1
  if (out_.fd < 0 && err_.fd < 0) return false;
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - clock::now()).count();
  auto n = ::poll(watched, 2, static_cast<int>(std::max<long>(left, 0)));
  if (n <= 0) {
    CAPTURE(out_.text);
    CAPTURE(err_.text);
    REQUIRE_MESSAGE((n < 0 && errno == EINTR), "the program said nothing for too long");
    return true;
  }
  for (auto* s : {&out_, &err_}) {
    auto& w = watched[s == &out_ ? 0 : 1];
    if (w.revents == 0) continue;
    char buffer[4096];
    auto got = ::read(s->fd, buffer, sizeof buffer);
    if (got > 0)
      s->text.append(buffer, static_cast<std::size_t>(got));
    else
      ::close(std::exchange(s->fd, -1));
  }
  return true;
}

std::string process::wait_line_of(stream& from, std::string_view beginning) {
  auto until = clock::now() + patience;
  for (;;) {
    for (auto end = from.text.find('\n', from.looked_at); end != std::string::npos;
         end = from.text.find('\n', from.looked_at)) {
      auto line = from.text.substr(from.looked_at, end - from.looked_at);
      from.looked_at = end + 1;
      if (line.starts_with(beginning)) return line;
    }
    bool more = from.fd >= 0 && read_more(until);
    INFO("waiting for: ", std::string(beginning), "\nstdout: ", out_.text, "\nstderr: ", err_.text);
    REQUIRE(more);
  }
}

std::string process::wait_line(std::string_view beginning) { return wait_line_of(out_, beginning); }
std::string process::wait_error_line(std::string_view beginning) {
  return wait_line_of(err_, beginning);
}

void process::signal(int number) { REQUIRE(::kill(pid_, number) == 0); }

int process::wait() {
  auto until = clock::now() + patience;
  while (read_more(until)) {
  }
  int status = 0;
  REQUIRE(::waitpid(pid_, &status, 0) == pid_);
  ended_ = true;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

finished run(std::vector<std::string> command, const start_options& options) {
  process p(std::move(command), options);
  int code = p.wait();
  return {code, p.out(), p.err()};
}

client::client(const std::string& address, std::uint16_t port) {
  socklen_t length = 0;
  auto to = address_of(address, port, length);
  fd_ = ::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(fd_ >= 0);
  timeval limit{patience.count(), 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // The ring with which io_uring was tried out may end just now, which interrupts whatever waits;
  // asked again, a blocking socket goes on connecting.
  int connected;
  do connected = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), length);
  while (connected != 0 && errno == EINTR);
  if (connected != 0 && errno == EISCONN) connected = 0;
  auto why = std::string(std::strerror(errno));
  INFO("connecting to ", address, " ", port, ": ", why);
  REQUIRE(connected == 0);
}

client::client(client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

client::~client() {
  if (fd_ >= 0) ::close(fd_);
}

bool client::try_send(std::string_view bytes) {
  while (!bytes.empty()) {
    auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      REQUIRE_MESSAGE((errno == EPIPE || errno == ECONNRESET), std::string(std::strerror(errno)));
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void client::send(std::string_view bytes) { REQUIRE(try_send(bytes)); }
void client::end_of_stream() { REQUIRE(::shutdown(fd_, SHUT_WR) == 0); }

std::string client::receive(std::size_t size) {
  std::string out(size, '\0');
  std::size_t filled = 0;
  while (filled < size) {
    auto n = ::recv(fd_, out.data() + filled, size - filled, 0);
    if (n < 0 && errno == EINTR) continue;
    auto why = std::string(n < 0 ? std::strerror(errno) : "end of stream");
    INFO("received ", filled, " of ", size, ": ", why);
    REQUIRE(n > 0);
    filled += static_cast<std::size_t>(n);
  }
  return out;
}

std::string client::receive_all() {
  std::string out;
  std::string buffer(65536, '\0');
  for (;;) {
    auto n = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      REQUIRE_MESSAGE((n == 0 || errno == ECONNRESET), std::string(std::strerror(errno)));
      return out;
    }
    out.append(buffer, 0, static_cast<std::size_t>(n));
  }
}

void client::vanish() {
  linger hard{1, 0};
  REQUIRE(::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
  ::close(std::exchange(fd_, -1));
}

place place_of(const std::string& line) {
  auto from = line.find(' ', line.find(' ') + 1) + 1;
  auto where =
      weir::endpoint::parse(std::string_view(line).substr(from, line.find(' ', from) - from));
  INFO(line);
  REQUIRE(where.has_value());
  return {where->address.to_string(), where->port};
}

std::string some_bytes(std::size_t size, std::uint32_t seed) {
  std::string out(size, '\0');
  std::uint32_t x = seed * 2654435761u + 1;
  for (auto& c : out) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    c = static_cast<char>(x);
  }
  return out;
}

}  // namespace programs
