// Examples of a shard among others, run from outside.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "programs/harness.hpp"

using namespace programs;

ON_EVERY_BACKEND(factors_answers_easy_questions_while_it_thinks_about_hard_ones) {
  process p(command_line(WEIR_FACTORS, on, {"--factors", on.address + ":7010"}));
  const auto where = place_of(p.wait_line("listening factors "));
  client hard(where.address, where.port), easy(where.address, where.port);
  hard.send("100000000000067\n");  // a prime: ten million divisions
  easy.send("1024\n15\n");
  CHECK(easy.receive(4) == "2\n5\n");
  CHECK(hard.receive(16) == "100000000000067\n");
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

ON_EVERY_BACKEND(collect_prints_what_is_said_and_who_said_it) {
  const auto path = "/tmp/weir-collect-" + std::to_string(::getpid());
  process p(command_line(WEIR_COLLECT, on, {"--socket", path}));
  p.wait_line("collecting on unix:" + path);
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, path.c_str(), path.size() + 1);
  for (const std::string text : {"first", "second"}) {
    REQUIRE(::sendto(fd, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&to),
                     sizeof to) == static_cast<ssize_t>(text.size()));
    p.wait_line(std::to_string(::getpid()) + " (user " + std::to_string(::getuid()) + "): " + text);
  }
  ::close(fd);
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
  CHECK(::access(path.c_str(), F_OK) != 0);
}

namespace {

/// How often the process went to sleep so far: each time it had been woken before.
unsigned long times_asleep(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  const std::string_view key = "voluntary_ctxt_switches:";
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key)) return std::stoul(line.substr(key.size()));
  FAIL("no voluntary_ctxt_switches");
  return 0;
}

/// An echo server in a loop that is not weir's: it serves, is left alone when nobody asks, and
/// ends.
void serves_and_sleeps(const std::string& program, const backend& on) {
  process p(command_line(program, on, {"--echo", on.address + ":7021"}));
  const auto where = place_of(p.wait_line("listening echo "));
  std::vector<client> clients;
  for (int i = 0; i < 20; ++i) clients.emplace_back(where.address, where.port);
  const auto much = some_bytes(100'000);
  for (auto& each : clients) {
    each.send("hello");
    CHECK(each.receive(5) == "hello");
  }
  clients.front().send(much);
  const bool same = clients.front().receive(much.size()) == much;
  CHECK(same);
  if (on.name != "stack") {  // (the kernel sends its neighbours' packets to the device)
    ::usleep(300'000);
    const auto before = times_asleep(p.pid());
    ::usleep(1'000'000);
    CHECK(times_asleep(p.pid()) == before);
    clients.back().send("awake");
    CHECK(clients.back().receive(5) == "awake");
  }
  p.signal(SIGTERM);
  for (auto& each : clients) {
    each.end_of_stream();
    CHECK(each.receive_all().empty());
  }
  CHECK(p.wait() == 0);
}

}  // namespace

ON_EVERY_BACKEND(an_epoll_loop_has_weir_among_its_descriptors) {
  if (on.name != "asio") return serves_and_sleeps(WEIR_EPOLL_LOOP, on);
  const auto refused = run(command_line(WEIR_EPOLL_LOOP, on, {}));
  CHECK(refused.code == 2);
  CHECK(refused.err.find("no descriptor that a loop could watch") != std::string::npos);
}

#ifdef WEIR_ASIO_LOOP
ON_EVERY_BACKEND(an_io_context_has_weir_in_it) { serves_and_sleeps(WEIR_ASIO_LOOP, on); }
#endif

namespace {

/// Sends `text` to a Unix socket and reads as much back.
std::string echoed(const std::string& path, const std::string& text) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::send(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  std::string out(text.size(), '\0');
  const auto n = ::recv(fd, out.data(), out.size(), MSG_WAITALL);
  ::close(fd);
  out.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return out;
}

/// The kernel lets go of the sockets of a ring a moment after its process was killed.
void wait_until_nobody_listens(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);  // no listener's queue gets it
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  for (const auto end = std::chrono::steady_clock::now() + patience;
       std::chrono::steady_clock::now() < end;) {
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0);
    if (errno == ECONNREFUSED) break;
    ::usleep(1000);
  }
  ::close(fd);
}

}  // namespace

ON_EVERY_BACKEND(services_serve_unix_sockets_beside_tcp) {
  const std::string path = "/tmp/weir-services-" + std::to_string(::getpid());
  for (const auto* shards : {"1", "2"}) {
    // (A device is made with as many queues as there are shards.)
    if (on.name == "stack" && shards[0] == '1') continue;
    process p(command_line(
        services(), on,
        {"--echo", "unix:" + path, "--echo", on.address + ":7012", "--shards", shards}));
    (void)p.wait_line("listening echo unix:" + path + " backend=");
    for (int i = 0; i < 4; ++i) CHECK(echoed(path, "by path") == "by path");
    client tcp(on.address, 7012);
    tcp.send("by address");
    CHECK(tcp.receive(10) == "by address");
    tcp.end_of_stream();
    // Killed: its file stays, and the next one finds it.
    p.signal(shards[0] == '1' ? SIGKILL : SIGTERM);
    (void)p.wait();
    if (shards[0] == '1') wait_until_nobody_listens(path);
    CHECK((::access(path.c_str(), F_OK) == 0) == (shards[0] == '1'));
  }
}

ON_EVERY_BACKEND(forward_joins_its_clients_with_a_unix_socket) {
  const std::string path = "/tmp/weir-forward-" + std::to_string(::getpid());
  const auto kernel = backend_called(kernel_backend);
  process behind(command_line(services(), kernel, {"--echo", "unix:" + path}));
  (void)behind.wait_line("listening echo unix:");
  process p(
      command_line(WEIR_FORWARD, on, {"--from", on.address + ":7013", "--to", "unix:" + path}));
  (void)p.wait_line("listening forward ");
  client one(on.address, 7013), other(on.address, 7013);
  const auto much = some_bytes(200'000);
  one.send("small");
  CHECK(one.receive(5) == "small");
  other.send(much);
  other.end_of_stream();
  const bool same = other.receive_all() == much;  // the echo ends when its client has
  CHECK(same);
  p.signal(SIGTERM);
  one.end_of_stream();
  CHECK(one.receive_all().empty());
  CHECK(p.wait() == 0);
}

/// On the stack: through the device into weir's own network, and out through the kernel's.
ON_EVERY_BACKEND(forward_joins_its_clients_with_the_kernels_network) {
  const auto kernel = backend_called(kernel_backend);
  process behind(command_line(services(), kernel, {"--echo", "127.0.0.1:7015"}));
  (void)behind.wait_line("listening echo ");
  process p(command_line(WEIR_FORWARD, on,
                         {"--from", on.address + ":7016", "--to", "127.0.0.1:7015", "--via",
                          "kernel", "--observe.listen", "127.0.0.1:7017"}));
  (void)p.wait_line("listening forward ");
  std::vector<client> clients;
  for (int i = 0; i < 50; ++i) clients.emplace_back(on.address, std::uint16_t{7016});
  for (std::size_t i = 0; i < clients.size(); ++i) clients[i].send(some_bytes(20'000, i + 1));
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const bool same = clients[i].receive(20'000) == some_bytes(20'000, i + 1);
    CHECK(same);
  }
  // Both ends of each are shown.
  const auto shown = run({WEIR_SS, "127.0.0.1:7017"});
  CHECK(shown.code == 0);
  CHECK(shown.out.find("127.0.0.1:7015") != std::string::npos);
  CHECK(shown.out.find(on.address + ":7016") != std::string::npos);
  for (auto& each : clients) each.end_of_stream();
  for (auto& each : clients) CHECK(each.receive_all().empty());
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

ON_EVERY_BACKEND(forward_lets_a_client_go_whose_other_side_is_not_there) {
  process p(
      command_line(WEIR_FORWARD, on, {"--from", on.address + ":7014", "--to", "unix:/nowhere"}));
  (void)p.wait_line("listening forward ");
  client alone(on.address, 7014);
  CHECK(alone.receive_all().empty());
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

namespace {

std::string temporary_file(const std::string& contents) {
  const std::string path = "/tmp/weir-each-" + std::to_string(::getpid());
  std::ofstream(path) << contents;
  return path;
}

/// each, with its standard input from a file, or through a pipe from a shell.
finished each_of(const backend& on, bool from_pipe, const std::string& path,
                 const std::string& options, const std::string& command) {
  std::string line = from_pipe ? "cat " + path + " | " : "";
  line += WEIR_EACH;
  for (const auto& argument : on.arguments) line += " " + argument;
  line += " " + options + " -- " + command;
  if (!from_pipe) line += " < " + path;
  return run({"/bin/sh", "-c", line});
}

}  // namespace

ON_EVERY_BACKEND(each_runs_a_command_for_every_line) {
  const auto path = temporary_file("3\n1\n2");  // the last line has no end
  for (bool from_pipe : {true, false}) {
    auto one_by_one = each_of(on, from_pipe, path, "--jobs 1", "echo got");
    CHECK(one_by_one.code == 0);
    CHECK(one_by_one.out == "got 3\ngot 1\ngot 2\n");
    auto failing = each_of(on, from_pipe, path, "--jobs 2", "test 2 -ne");
    CHECK(failing.code == 1);
    CHECK(failing.err.find("each: 2: status 1\n") != std::string::npos);
    auto missing = each_of(on, from_pipe, path, "", "weir-no-such-program");
    CHECK(missing.code == 1);
    CHECK(missing.err.find("spawn weir-no-such-program: No such file or directory") !=
          std::string::npos);
  }
  ::unlink(path.c_str());
}

ON_EVERY_BACKEND(each_that_is_interrupted_twice_kills_what_it_runs) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  REQUIRE(::write(ends[1], "1000\n", 5) == 5);
  process p(command_line(WEIR_EACH, on, {"--", "sh", "-c", "echo runs >&2; exec sleep $0"}),
            {.before_exec = [&] { ::dup2(ends[0], STDIN_FILENO); }});
  ::close(ends[0]);
  (void)p.wait_error_line("runs");
  p.signal(SIGTERM);
  (void)p.wait_error_line("weir: SIGTERM");
  p.signal(SIGTERM);
  CHECK(p.wait() == 128 + SIGTERM);
  ::close(ends[1]);
}

namespace {

/// A datagram socket with a name of the kernel's choice: where a program says how it is.
class manager {
 public:
  manager() : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un own{};
    own.sun_family = AF_UNIX;
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&own), sizeof own.sun_family) == 0);
    socklen_t size = sizeof own;
    REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size) == 0);
    name_.assign(own.sun_path, size - offsetof(sockaddr_un, sun_path));
    name_[0] = '@';
  }
  ~manager() { ::close(fd_); }
  const std::string& name() const { return name_; }
  /// The next state that is none of the watchdog's; fails the test when none comes.
  std::string next() {
    for (;;) {
      pollfd ready{fd_, POLLIN, 0};
      REQUIRE(::poll(&ready, 1, 30'000) == 1);
      char text[256];
      const auto n = ::recv(fd_, text, sizeof text, 0);
      REQUIRE(n > 0);
      const std::string state(text, static_cast<std::size_t>(n));
      if (state != "WATCHDOG=1") return state;
      ++watchdogs;
    }
  }
  int watchdogs = 0;

 private:
  int fd_;
  std::string name_;
};

/// Sockets that a manager opened, as descriptors 3 and 4 of the program.
struct activation {
  activation() {
    tcp = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(tcp, reinterpret_cast<sockaddr*>(&v4), sizeof v4) == 0);
    REQUIRE(::listen(tcp, 16) == 0);
    socklen_t size = sizeof v4;
    REQUIRE(::getsockname(tcp, reinterpret_cast<sockaddr*>(&v4), &size) == 0);
    port = ntohs(v4.sin_port);
    local = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un named{};
    named.sun_family = AF_UNIX;
    std::memcpy(named.sun_path, path.c_str(), path.size() + 1);
    REQUIRE(::bind(local, reinterpret_cast<sockaddr*>(&named), sizeof named) == 0);
    REQUIRE(::listen(local, 16) == 0);
  }
  ~activation() {
    ::close(tcp);
    ::close(local);
    ::unlink(path.c_str());
  }
  /// In the child.
  void pass_on() const {
    const int a = ::fcntl(tcp, F_DUPFD, 100), b = ::fcntl(local, F_DUPFD, 100);
    ::dup2(a, 3);
    ::dup2(b, 4);
  }
  /// The program, told of them: the shell knows the number of the process that it becomes.
  static std::vector<std::string> command(const std::string& on, const std::string& greeting) {
    return {"/bin/sh",
            "-c",
            "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=tcp:unix; exec \"$@\"",
            "sh",
            WEIR_SERVICE,
            "--backend",
            on,
            "--greeting",
            greeting};
  }
  int tcp, local;
  std::uint16_t port;
  std::string path = "/tmp/weir-service-" + std::to_string(::getpid());
};

void a_managed_life(const std::string& on) {
  if (!own_network() || !usable(on)) return;
  const std::string greeting = "/tmp/weir-greeting-" + std::to_string(::getpid());
  std::ofstream(greeting) << "good morning\n";
  manager there;
  activation sockets;
  process p(activation::command(on, greeting),
            {.environment = {"NOTIFY_SOCKET=" + there.name(), "WATCHDOG_USEC=100000"},
             .before_exec = [&] { sockets.pass_on(); }});
  CHECK(there.next() == "READY=1");
  client tcp("127.0.0.1", sockets.port);
  tcp.send("you\n");
  CHECK(tcp.receive(17) == "good morning you\n");
  CHECK(echoed(sockets.path, "0123456789\n") == "good mornin");

  std::ofstream(greeting) << "good evening\n";
  p.signal(SIGHUP);
  CHECK(there.next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  CHECK(there.next() == "READY=1");
  CHECK(p.wait_line("greeting ") == "greeting good evening");
  tcp.send("you\n");
  CHECK(tcp.receive(17) == "good evening you\n");

  tcp.end_of_stream();
  p.signal(SIGTERM);
  CHECK(there.next() == "STOPPING=1");
  CHECK(there.watchdogs > 0);
  CHECK(p.wait() == 0);
  CHECK(::access(sockets.path.c_str(), F_OK) == 0);  // the manager's
  // Its sockets listen still: who comes now waits for the next start.
  client waiting("127.0.0.1", sockets.port);
  waiting.send("patience\n");
  process next(activation::command(on, greeting), {.before_exec = [&] { sockets.pass_on(); }});
  CHECK(waiting.receive(22) == "good evening patience\n");
  waiting.end_of_stream();
  next.signal(SIGTERM);
  CHECK(next.wait() == 0);
  ::unlink(greeting.c_str());
}

}  // namespace

TEST_CASE("a_service_is_activated_reloaded_and_started_again_by_its_manager.uring") {
  a_managed_life("uring");
}
TEST_CASE("a_service_is_activated_reloaded_and_started_again_by_its_manager.asio") {
  a_managed_life("asio");
}

namespace {

/// Asks again and again, so often on each connection, until it is told to end.
struct load {
  load(std::string address, std::uint16_t to, int requests_each)
      : at(std::move(address)), port(to), each(requests_each), thread([this] { run(); }) {}
  ~load() {
    if (thread.joinable()) end();
  }
  void end() {
    ends = true;
    thread.join();
  }
  void run() {
    while (!ends) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      ::inet_pton(AF_INET, at.c_str(), &to.sin_addr);
      if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) note_failure();
      for (int i = 0; i < each && ask(fd); ++i) {
      }
      ::close(fd);
    }
  }
  bool ask(int fd) {
    char answer[8] = {};
    errno = 0;
    const bool good = ::send(fd, "x\n", 2, MSG_NOSIGNAL) == 2 &&
                      ::recv(fd, answer, sizeof answer, MSG_WAITALL) == sizeof answer &&
                      std::string_view(answer, sizeof answer) == "hello x\n";
    if (good)
      ++answered;
    else
      note_failure();
    return good;
  }
  void note_failure() {
    ++failed;
    if (errno == ECONNRESET || errno == EPIPE) ++resets;
  }

  std::string at;
  std::uint16_t port;
  int each;
  std::atomic<bool> ends{false};
  std::atomic<std::uint64_t> answered{0}, failed{0}, resets{0};
  std::thread thread;
};

/// With WEIR_FULL=1 in the environment as much as is promised, which takes a minute.
struct amount {
  int replacements = 10;
  std::uint64_t requests = 1'000;
};
amount wanted() {
  const char* full = std::getenv("WEIR_FULL");
  return full != nullptr && std::string_view(full) == "1" ? amount{100, 100'000} : amount();
}

/// A service that can be replaced, and how each one of its line is started.
struct replaceable_service {
  replaceable_service(const std::string& backend, const std::vector<std::string>& more,
                      start_options started)
      : how(std::move(started)), address(backend_called(backend).address) {
    std::ofstream(greeting) << "hello\n";
    command = command_line(WEIR_SERVICE, backend_called(backend),
                           {"--tcp-listen", address + ":7013", "--unix-listen", path, "--handover",
                            "@weir-handover-" + id, "--greeting", greeting});
    command.insert(command.end(), more.begin(), more.end());
  }
  ~replaceable_service() {
    ::unlink(path.c_str());
    ::unlink(greeting.c_str());
  }
  std::unique_ptr<process> start(const std::vector<std::string>& more = {}) const {
    auto with = command;
    with.insert(with.end(), more.begin(), more.end());
    return std::make_unique<process>(with, how);
  }

  start_options how;
  std::string id = std::to_string(::getpid());
  std::string address;
  std::string path = "/tmp/weir-successors-" + id;
  std::string greeting = "/tmp/weir-hello-" + id;
  std::vector<std::string> command;
};

/// The TCP segments that say no, that this network namespace has sent or received so far.
unsigned long resets_of_kernel() {
  std::ifstream counts("/proc/net/snmp");
  std::string names, values;
  for (std::string line; std::getline(counts, line);)
    if (line.starts_with("Tcp:")) std::swap(names, values), values = line;
  std::istringstream name(names), value(values);
  unsigned long resets = 0;
  for (std::string n, v; name >> n && value >> v;)
    if (n == "EstabResets" || n == "OutRsts") resets += std::stoul(v);
  return resets;
}

void a_line_of_successors(const std::string& on, const std::vector<std::string>& more = {},
                          start_options how = {}) {
  if (!own_network() || !usable(on)) return;
  const replaceable_service service(on, more, std::move(how));
  auto current = service.start();
  (void)current->wait_line("can be replaced");
  load clients(service.address, 7013, 1), talkers(service.address, 7013, 20);
  const auto answered = [&] { return clients.answered + talkers.answered; };
  const auto failed = [&] { return clients.failed + talkers.failed; };
  const auto goal = wanted();
  for (int i = 1; i <= goal.replacements; ++i) {
    current->signal(SIGHUP);  // it reads its file again meanwhile
    CHECK(current->wait_line("greeting ") == "greeting hello");
    CHECK(echoed(service.path, "by path\n") == "hello by");
    auto next = service.start();
    (void)next->wait_line("can be replaced");
    CHECK(current->wait() == 0);  // it drained, and ended by itself
    current = std::move(next);
    const auto by_now = goal.requests * static_cast<std::uint64_t>(i) /
                        static_cast<std::uint64_t>(goal.replacements);
    while (answered() < by_now && failed() == 0) ::usleep(1000);
  }
  clients.end();
  talkers.end();
  std::printf("%s: %d replacements, %llu requests, %llu failed, %llu resets\n", on.c_str(),
              goal.replacements, static_cast<unsigned long long>(answered()),
              static_cast<unsigned long long>(failed()),
              static_cast<unsigned long long>(clients.resets + talkers.resets));
  CHECK(failed() == 0);
  CHECK(answered() >= goal.requests);
  if (on == "stack") CHECK(resets_of_kernel() == 0);  // of which its clients need not have heard
  current->signal(SIGTERM);
  CHECK(current->wait() == 0);
}

#if WEIR_WITH_STACK
const std::vector<std::string> handed_over = {"--stack.handover",
                                              "unix:@weir-device-" + std::to_string(::getpid())};

std::vector<std::string> handed_over_and(const std::vector<std::string>& more) {
  auto out = handed_over;
  out.insert(out.end(), more.begin(), more.end());
  return out;
}
#endif

}  // namespace

TEST_CASE("a_service_is_replaced_under_load_and_no_request_fails.uring") {
  a_line_of_successors("uring");
}
TEST_CASE("a_service_is_replaced_under_load_and_no_request_fails.asio") {
  a_line_of_successors("asio");
}
#if WEIR_WITH_STACK
TEST_CASE("a_service_is_replaced_under_load_and_no_request_fails.stack") {
  a_line_of_successors("stack", handed_over);
}
TEST_CASE("a_service_is_replaced_under_load_and_no_request_fails.stack_on_asio") {
  a_line_of_successors("stack", handed_over, {.before_exec = [] { forbid_io_uring(EPERM); }});
}
TEST_CASE("a_service_is_replaced_under_load_and_no_request_fails.stack_of_three_shards") {
  a_line_of_successors("stack", handed_over_and({"--shards", "3", "--stack.queues", "2"}));
}
TEST_CASE("a_service_is_replaced_under_load_and_no_request_fails.stack_dedicated") {
  a_line_of_successors("stack", handed_over_and({"--stack.placement", "dedicated"}));
}

TEST_CASE("a_program_whose_successor_dies_reads_its_device_again") {
  if (!own_network() || !usable("stack")) return;
  const replaceable_service service("stack", handed_over, {});
  auto first = service.start();
  (void)first->wait_line("can be replaced");
  client talker(service.address, 7013);
  for (int i = 0; i < 3; ++i) {
    // Of the service's own handing over it knows nothing, so it only takes the device.
    auto next = service.start({"--handover", "@weir-nobody-" + service.id, "--tcp-listen",
                               service.address + ":7014", "--unix-listen", "@weir-other"});
    (void)next->wait_line("can be replaced");
    talker.send("by link\n");
    CHECK(talker.receive(14) == "hello by link\n");
    client other(service.address, 7014), same(service.address, 7013);
    for (auto* each : {&other, &same}) {
      each->send("x\n");
      CHECK(each->receive(8) == "hello x\n");
    }
    next->signal(SIGKILL);
    CHECK(next->wait() == 1000 + SIGKILL);
    (void)first->wait_error_line("weir: stack.handover: the program that took the device over");
    talker.send("by device\n");
    CHECK(talker.receive(16) == "hello by device\n");
    same.send("again\n");
    CHECK(same.receive(12) == "hello again\n");
    (void)other.try_send("gone\n");
    CHECK(other.receive_all().empty());
  }
  first->signal(SIGTERM);
  talker.end_of_stream();
  CHECK(first->wait() == 0);
}

TEST_CASE("a_program_whose_predecessor_dies_answers_for_it") {
  if (!own_network() || !usable("stack")) return;
  const replaceable_service service("stack", handed_over, {});
  auto first = service.start();
  (void)first->wait_line("can be replaced");
  client of_first(service.address, 7013);
  of_first.send("x\n");
  CHECK(of_first.receive(8) == "hello x\n");
  auto next = service.start();
  (void)next->wait_line("can be replaced");
  of_first.send("y\n");
  CHECK(of_first.receive(8) == "hello y\n");
  first->signal(SIGKILL);
  CHECK(first->wait() == 1000 + SIGKILL);
  of_first.try_send("z\n");
  CHECK(of_first.receive_all().empty());  // a reset
  CHECK(resets_of_kernel() == 1);
  client of_next(service.address, 7013);
  of_next.send("x\n");
  CHECK(of_next.receive(8) == "hello x\n");
  of_next.end_of_stream();
  next->signal(SIGTERM);
  CHECK(next->wait() == 0);
}

TEST_CASE("a_device_is_handed_over_as_it_is_or_not_at_all") {
  if (!own_network() || !usable("stack")) return;
  const replaceable_service service("stack", handed_over, {});
  auto first = service.start();
  (void)first->wait_line("can be replaced");
  const std::pair<std::vector<std::string>, std::string> refused[] = {
      {{"--stack.mtu", "1400"}, "stack.mtu = 1500, and this one 1400"},
      {{"--stack.address", "198.18.0.3/24"}, "stack.address = 198.18.0.2/24, and this one"},
      {{"--stack.offload=false"}, "stack.offload = true, and this one false"},
      {{"--shards", "2"}, "the device has 1 queues there"},
      {{"--stack.device", "weir1"}, "stack.device = weir0, and this one weir1"},
      {{"--stack.private_net"}, "a network of its own"}};
  for (const auto& [keys, why] : refused) {
    auto command = service.command;
    command.insert(command.end(), keys.begin(), keys.end());
    const auto f = run(command);
    CAPTURE(f.err);
    CHECK(f.code == 2);
    CHECK(f.err.find(why) != std::string::npos);
  }
  client still(service.address, 7013);
  still.send("x\n");
  CHECK(still.receive(8) == "hello x\n");
  still.end_of_stream();
  first->signal(SIGTERM);
  CHECK(first->wait() == 0);
}
#endif
