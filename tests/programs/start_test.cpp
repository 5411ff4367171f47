// How a program begins and ends: under the limits of its process, with what it cannot have, and
// what its end leaves behind.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>

#include "programs/harness.hpp"
#include "weir/weir.hpp"

using namespace programs;

namespace {

/// Rings count against the limit on locked memory, root's too: as it is in a container.
void limit_locked_memory(rlim_t kib) {
  const rlimit limit{kib * 1024, kib * 1024};
  ::setrlimit(RLIMIT_MEMLOCK, &limit);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct caps[2] = {};
  ::syscall(SYS_capget, &header, caps);
  for (auto* set : {&caps[0].effective, &caps[0].permitted, &caps[0].inheritable})
    *set &= ~(1u << CAP_IPC_LOCK);
  // Executing a program as root would give the capability back.
  ::prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK);
  ::syscall(SYS_capset, &header, caps);
}

start_options with_locked_memory(rlim_t kib) {
  return {.environment = {}, .before_exec = [kib] { limit_locked_memory(kib); }};
}

/// Not on every kernel; some forbid rings altogether.
bool rings_are_counted() {
  const bool counted =
      run({weir_probe()}, with_locked_memory(16)).out.find("locked memory") != std::string::npos;
  if (!counted) std::printf("SKIPPED: this kernel does not count rings as locked memory\n");
  return counted;
}

std::vector<std::string> echo_on(const std::string& backend, const std::string& shards) {
  return {services(), "--backend", backend, "--shards", shards, "--echo", "127.0.0.1:7007"};
}

void check_that_it_serves(process& server) {
  auto where = place_of(server.wait_line("listening echo"));
  client c(where.address, where.port);
  c.send("hello");
  c.end_of_stream();
  CHECK(c.receive_all() == "hello");
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

}  // namespace

TEST_CASE("auto_serves_whatever_the_limit_on_locked_memory_is") {
  if (!own_network() || !built_in("asio") || !usable("uring") || !rings_are_counted()) return;
  bool on_uring = false;
  for (rlim_t kib = 64; !on_uring && kib < 16 * 1024; kib += 192) {
    CAPTURE(kib);
    process server(echo_on("auto", "2"), with_locked_memory(kib));
    check_that_it_serves(server);
    on_uring = server.out().find("backend=uring") != std::string::npos;
    const auto& said = server.err();
    CAPTURE(said);
    CHECK(said.find("backend auto: ") != std::string::npos);
    if (!on_uring)
      CHECK(said.find(fmt::format("(RLIMIT_MEMLOCK), which all rings of a user share, is {} KiB",
                                  kib)) != std::string::npos);
  }
  CHECK(on_uring);
}

TEST_CASE("a_named_back_end_says_which_limit_it_met") {
  if (!own_network() || !usable("uring") || !rings_are_counted()) return;
  auto refused = run(echo_on("uring", "4"), with_locked_memory(512));
  CAPTURE(refused.err);
  CHECK(refused.code == 2);
  CHECK(refused.err.find("backend = 'uring': ") != std::string::npos);
  CHECK(refused.err.find("RLIMIT_MEMLOCK") != std::string::npos);
}

TEST_CASE("too_few_descriptors_for_all_shards_are_named_before_any_serves") {
  if (!own_network()) return;
  for (auto* name : {"asio", "uring"}) {
    if (!built_in(name) || !usable(name)) continue;
    const start_options few{.environment = {}, .before_exec = [] {
                              const rlimit limit{24, 24};
                              ::setrlimit(RLIMIT_NOFILE, &limit);
                            }};
    auto refused = run(echo_on(name, "16"), few);
    CAPTURE(refused.err);
    CHECK(refused.code == 2);
    CHECK(refused.err.find("RLIMIT_NOFILE) is 24") != std::string::npos);
    CHECK(refused.out.empty());
  }
}

TEST_CASE("the_stack_serves_where_no_ring_fits_into_locked_memory") {
  if (!own_network() || !built_in("asio") || !usable("stack") || !rings_are_counted()) return;
  process server({services(), "--backend", "stack", "--shards", "2", "--echo", "198.18.0.2:7"},
                 with_locked_memory(320));
  check_that_it_serves(server);
  CHECK(server.err().find("RLIMIT_MEMLOCK") != std::string::npos);
}

// --- Configuration.

namespace {

struct file_of_this_test {
  std::string path;
  explicit file_of_this_test(const std::string& text) {
    char name[] = "/tmp/weir-start-XXXXXX";
    const int fd = ::mkstemp(name);
    REQUIRE(fd >= 0);
    REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    ::close(fd);
    path = name;
  }
  ~file_of_this_test() { ::unlink(path.c_str()); }
};

}  // namespace

TEST_CASE("a_file_says_where_to_listen") {
  if (!own_network()) return;
  const std::string backend = std::string("backend = \"") + kernel_backend + "\"\n";
  file_of_this_test file(backend +
                         "echo = [\"127.0.0.1:7007\", \"127.0.0.1:7008\"]\n"
                         "max-sessions = 1\n");
  process server({services(), "--config", file.path});
  server.wait_line("listening echo 127.0.0.1:7008");
  CHECK(server.out().find("listening echo 127.0.0.1:7007") != std::string::npos);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
  file_of_this_test pages(backend + "[http]\nlisten = [\"127.0.0.1:8080\"]\n");
  process web({http_server(), "--config", pages.path});
  web.wait_line("listening http 127.0.0.1:8080");
  web.signal(SIGTERM);
  CHECK(web.wait() == 0);
}

TEST_CASE("the_printed_configuration_holds_the_programs_own_options_and_reads_back") {
  auto printed = run({services(), "--print-config", "--echo", "127.0.0.1:7", "--drain", "0.5"},
                     {.environment = {"WEIR_DISCARD=127.0.0.1:9,[::1]:9"}});
  CHECK(printed.code == 0);
  CHECK(printed.out.find("\necho = [\"127.0.0.1:7\"]\n") != std::string::npos);
  CHECK(printed.out.find("\ndiscard = [\"127.0.0.1:9\", \"[::1]:9\"]\n") != std::string::npos);
  CHECK(printed.out.find("\nmax-sessions = 100000\n") != std::string::npos);
  CHECK(printed.out.find("\ndrain = \"0.5\"\n") != std::string::npos);
  for (auto& [program, text] :
       {std::pair(services(), printed.out),
        std::pair(http_server(), run({http_server(), "--print-config"}).out),
        std::pair(weir_probe(), run({weir_probe(), "--print-config"}).out)}) {
    CAPTURE(text);
    CHECK_FALSE(text.empty());
    file_of_this_test file(text);
    auto again = run({program, "--print-config", "--config", file.path});
    CHECK(again.err.empty());
    CHECK(again.out == text);
  }
}

TEST_CASE("an_unknown_variable_is_a_warning_and_the_server_serves") {
  if (!own_network()) return;
  process server(
      command_line(services(), backend_called(kernel_backend), {"--echo", "127.0.0.1:7"}),
      {.environment = {"WEIR_PORT=tcp://10.96.0.7:80", "WEIR_SHARD=2", "WEIR_A\nb=1"}});
  check_that_it_serves(server);
  CHECK(server.err().find("weir: environment variable WEIR_PORT: no such key, ignored\n") !=
        std::string::npos);
  CHECK(server.err().find("weir: environment variable WEIR_SHARD: no such key, ignored; did you "
                          "mean 'WEIR_SHARDS'?\n") != std::string::npos);
  CHECK(server.err().find("variable WEIR_A\\x0ab: ") != std::string::npos);
}

TEST_CASE("a_capture_that_cannot_be_made_is_an_error_at_once") {
  if (!own_network()) return;
  file_of_this_test file("");
  for (auto* name : {"asio", "uring"}) {
    if (!built_in(name) || !usable(name)) continue;
    auto refused = run(command_line(services(), backend_called(name),
                                    {"--echo", "127.0.0.1:7", "--observe.pcap", file.path}));
    CHECK(refused.code == 2);
    CHECK(refused.err.find("observe.pcap") != std::string::npos);
    CHECK(refused.err.find("tcpdump") != std::string::npos);
  }
  if (!usable("stack")) return;
  const auto fifo = file.path + ".fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  auto refused = run(command_line(services(), backend_called("stack"),
                                  {"--echo", "198.18.0.2:7", "--observe.pcap", fifo}));
  ::unlink(fifo.c_str());
  CHECK(refused.code == 2);
  CHECK(refused.err.find("observe.pcap: " + fifo) != std::string::npos);
}

TEST_CASE("a_short_run_that_is_observed_says_nothing_of_its_end") {
  if (!own_network()) return;
  for (int i = 0; i < 10; ++i) {
    weir::config settings;
    settings.backend = kernel_backend;
    settings.observe.listen = "127.0.0.1:0";
    char file[] = "/tmp/weir-start-XXXXXX";
    const int said = ::mkstemp(file), before = ::dup(2);
    REQUIRE(said >= 0);
    ::dup2(said, 2);
    const int code = weir::run(settings, [](weir::shard&) -> weir::task<> { co_return; });
    ::dup2(before, 2);
    std::string text(4096, '\0');
    text.resize(
        static_cast<std::size_t>(std::max<ssize_t>(0, ::pread(said, text.data(), 4096, 0))));
    ::close(said), ::close(before), ::unlink(file);
    CHECK(code == 0);
    CAPTURE(text);
    CHECK(text.find("ended") == std::string::npos);
  }
}

// --- The end.

namespace {

/// Reads all that is left; gives the error at the end of it, 0 for a clean one.
int read_on(int fd) {
  std::string buffer(65536, '\0');
  for (;;) {
    const auto n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n <= 0) return n < 0 ? errno : 0;
  }
}

/// A client that takes a first byte and then no more.
client slow_reader(const place& where) {
  client out(where.address, where.port);
  out.receive(1);
  return out;
}

/// One connection to a kernel socket of this test, on any port; not read from.
class kernel_peer {
 public:
  explicit kernel_peer(const char* address) : listening_(::socket(AF_INET, SOCK_STREAM, 0)) {
    at_.sin_family = AF_INET;
    ::inet_pton(AF_INET, address, &at_.sin_addr);
    socklen_t size = sizeof at_;
    REQUIRE(::bind(listening_, reinterpret_cast<sockaddr*>(&at_), size) == 0);
    REQUIRE(::listen(listening_, 1) == 0);
    REQUIRE(::getsockname(listening_, reinterpret_cast<sockaddr*>(&at_), &size) == 0);
  }
  ~kernel_peer() { ::close(listening_), ::close(accepted_); }
  std::uint16_t port() const { return ntohs(at_.sin_port); }
  int accept() { return accepted_ = ::accept(listening_, nullptr, nullptr); }

 private:
  sockaddr_in at_{};
  int listening_, accepted_ = -1;
};

std::vector<std::string> chargen_on_the_stack(const std::string& linger_ms,
                                              std::vector<std::string> more) {
  more.insert(more.end(),
              {"--chargen", "198.18.0.2:19", "--drain", "0.01", "--stop.linger_ms", linger_ms});
  return command_line(services(), backend_called("stack"), std::move(more));
}

const std::vector<std::vector<std::string>> ways_to_run_the_stack = {
    {}, {"--shards", "2"}, {"--stack.placement", "dedicated"}};

}  // namespace

TEST_CASE("what_could_not_be_delivered_in_time_is_reset_before_the_device_goes") {
  if (!own_network() || !usable("stack")) return;
  for (auto& way : ways_to_run_the_stack) {
    CAPTURE(way.empty() ? std::string("inline") : way[0]);
    process server(chargen_on_the_stack("10", way));
    auto reader = slow_reader(place_of(server.wait_line("listening chargen")));
    server.signal(SIGTERM);
    CHECK(server.wait() == 0);
    CHECK(read_on(reader.fd()) == ECONNRESET);
  }
}

TEST_CASE("what_was_written_has_the_linger_time_to_be_delivered") {
  if (!own_network() || !usable("stack")) return;
  for (auto& way : ways_to_run_the_stack) {
    CAPTURE(way.empty() ? std::string("inline") : way[0]);
    process server(chargen_on_the_stack("3600000", way));
    auto reader = slow_reader(place_of(server.wait_line("listening chargen")));
    server.signal(SIGTERM);
    server.wait_error_line("services: 1 sessions were cut off");
    CHECK(read_on(reader.fd()) == 0);
    CHECK(server.wait() == 0);
  }
}

TEST_CASE("a_peer_that_has_got_everything_is_not_reset") {
  if (!own_network() || !usable("stack")) return;
  process server(command_line(services(), backend_called("stack"),
                              {"--echo", "198.18.0.2:7", "--drain", "0.01"}));
  auto where = place_of(server.wait_line("listening echo"));
  client c(where.address, where.port);
  c.send("x");
  c.receive(1);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
  CHECK(read_on(c.fd()) == 0);
}

TEST_CASE("what_a_late_task_closes_has_the_linger_time_too") {
  if (!own_network() || !usable("stack")) return;
  weir::config settings;
  settings.backend = "stack";
  settings.shards = 2;
  settings.stop.linger_ms = 3'600'000;
  constexpr std::size_t size = 8 << 20;  // more than the peer's kernel takes unread
  std::atomic<weir::shard*> other = nullptr;
  std::binary_semaphore may_read(0);
  int end = -1;
  std::thread reader;
  auto send_and_close = [](weir::endpoint to, std::vector<std::byte> bytes) -> weir::task<> {
    auto stream = co_await weir::connect(to);
    (void)co_await stream.write_all(std::span<const std::byte>(bytes))
        .timeout(std::chrono::milliseconds(100))
        .nothrow();
  };
  auto late = [&]() -> weir::task<> {
    while (other == nullptr) co_await weir::yield();
    // By now, most likely, the other shard has nothing left to do.
    co_await weir::sleep_for(std::chrono::milliseconds(50));
    auto peer = std::make_shared<kernel_peer>("198.18.0.1");
    reader = std::thread([&, peer] {
      const int from = peer->accept();
      may_read.acquire();
      end = read_on(from);
    });
    auto work = send_and_close({"198.18.0.1", peer->port()}, std::vector<std::byte>(size));
    co_await weir::submit_to(*other, std::move(work));
    may_read.release();
  };
  auto serve = [&](weir::shard& s) -> weir::task<> {
    if (s.index() == 0) s.start(late(), [](const std::exception_ptr&) {});
    if (s.index() == 1) other = &s;
    co_return;
  };
  CHECK(weir::run(settings, serve) == 0);
  reader.join();
  CHECK(end == 0);
}

TEST_CASE("a_device_that_is_deleted_ends_the_program_with_a_failure") {
  if (!own_network() || !usable("stack")) return;
  for (auto& way : ways_to_run_the_stack) {
    for (const rlim_t kib : {rlim_t{64 * 1024}, rlim_t{16}}) {  // packets through io_uring, Asio
      CAPTURE(way.empty() ? std::string("inline") : way[0]);
      CAPTURE(kib);
      std::vector<std::string> more = {"--echo", "198.18.0.2:7"};
      more.insert(more.end(), way.begin(), way.end());
      process server(command_line(services(), backend_called("stack"), more),
                     with_locked_memory(kib));
      server.wait_line("listening echo");
      auto deleted = run({"/bin/sh", "-c", "PATH=$PATH:/sbin:/usr/sbin ip link delete weir0"});
      REQUIRE(deleted.code == 0);
      CHECK(server.wait() == 1);
      CHECK(server.err().find("its sockets are gone") != std::string::npos);
    }
  }
}
