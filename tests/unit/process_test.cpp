// What a child has and has not: descriptors, signals, environment, directory; and that none is left
// behind, whatever becomes of its handle, its task or its shard.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <latch>
#include <string>
#include <vector>

#include "runtime/process/children.hpp"
#include "unit/back_ends.hpp"

using namespace std::chrono_literals;
using back_ends::on_kernel_back_ends;
using weir::command;
using weir::shard;
using weir::stdio;
using weir::task;

namespace {

task<std::string> read_all(weir::any_stream& from) {
  std::string text;
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto n = co_await from.read_some(buffer);
    if (n == 0) break;
    text.append(reinterpret_cast<const char*>(buffer.data()), n);
  }
  co_return text;
}

/// What it writes.
task<std::string> output_of(const command& what) {
  command piped = what;
  piped.output = stdio::pipe();
  auto child = co_await weir::spawn_process(piped);
  auto text = co_await read_all(child.output);
  auto status = co_await child.wait();
  CHECK(status.success());
  co_return text;
}

bool has_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/// The line of /proc/self/status that begins with `name`, as a number.
std::uint64_t signals_in(const std::string& status, const std::string& name) {
  const auto at = status.find(name + ":\t");
  REQUIRE(at != std::string::npos);
  return std::stoull(status.substr(at + name.size() + 2), nullptr, 16);
}
std::uint64_t bit(int number) { return std::uint64_t{1} << (number - 1); }

task<> start_and_forget() {
  const command sleeper{.arguments = {"sleep", "1000"}};
  auto child = co_await weir::spawn_process(sleeper);
  (void)child;
}

task<> hold_a_thread(std::latch& opened) {
  co_await weir::offload([&] { opened.wait(); });
}

task<> start_many(shard& s, int& started) {
  const command nothing{.arguments = {"true"}};
  for (;;) {
    auto child = co_await weir::spawn_process(nothing);
    ++started;
    co_await child.wait();
    if (s.stop_requested()) break;
  }
}

}  // namespace

TEST_CASE("no_descriptor_of_the_server_is_open_in_a_child") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    auto pair = weir::make_unix_pair(s);
    int left_open[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, left_open) == 0);  // not close-on-exec
    const command list{.arguments = {"ls", "/proc/self/fd"}};
    auto listed = co_await output_of(list);
    CHECK(listed == "0\n1\n2\n3\n");  // 3 is the directory that it reads
    ::close(left_open[0]);
    ::close(left_open[1]);
  });
}

TEST_CASE("descriptors_that_are_named_have_numbers_in_order_in_the_child") {
  on_kernel_back_ends([](shard&) -> task<> {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    weir::unique_fd in(ends[0]), out(ends[1]);
    REQUIRE(::write(out.get(), "through four", 12) == 12);
    out.reset();
    const command swapped{.arguments = {"sh", "-c", "cat <&4; test -e /proc/self/fd/5 || echo ."},
                          .descriptors = {in.get(), in.get()}};
    auto text = co_await output_of(swapped);
    CHECK(text == "through four.\n");
    CHECK(::fcntl(in.get(), F_GETFD) == FD_CLOEXEC);  // the caller's is as it was
    command both{.arguments = {"sh", "-c", "echo out; echo errors >&2"}};
    both.errors = stdio::output();
    text = co_await output_of(both);
    CHECK(text == "out\nerrors\n");
    command silent{.arguments = {"sh", "-c", "cat; readlink /proc/self/fd/2"}};
    silent.input = silent.errors = stdio::null();
    text = co_await output_of(silent);
    CHECK(text == "/dev/null\n");
  });
}

TEST_CASE("a_server_that_closed_its_standard_streams_starts_children_too") {
  on_kernel_back_ends([](shard&) -> task<> {
    const int kept = ::dup(STDIN_FILENO);
    ::close(STDIN_FILENO);  // the next descriptor that is opened has this number
    command copy{.arguments = {"sh", "-c", "cat; test -e /proc/self/fd/0 && echo open"}};
    copy.input = copy.output = stdio::pipe();
    auto child = co_await weir::spawn_process(copy);
    co_await child.input.write_all("in and out ");
    child.input.close();
    auto text = co_await read_all(child.output);
    CHECK(text == "in and out open\n");
    co_await child.wait();
    child = {};
    const command closed{.arguments = {"sh", "-c", "test -e /proc/self/fd/0 || echo closed"}};
    ::close(STDIN_FILENO);
    text = co_await output_of(closed);
    CHECK(text == "closed\n");
    ::dup2(kept, STDIN_FILENO);
    ::close(kept);
  });
}

TEST_CASE("environment_and_directory_are_the_childs") {
  on_kernel_back_ends([](shard&) -> task<> {
    ::setenv("WEIR_KEPT", "kept", 1);
    ::setenv("WEIR_REPLACED", "old", 1);
    const command own{.arguments = {"sh", "-c", "echo $WEIR_KEPT $WEIR_REPLACED; pwd"},
                      .environment = {"WEIR_REPLACED=new"},
                      .directory = "/usr"};
    auto text = co_await output_of(own);
    CHECK(text == "kept new\n/usr\n");
    const command clean{
        .arguments = {"env"}, .environment = {"ONLY=this"}, .clean_environment = true};
    text = co_await output_of(clean);
    CHECK(text == "ONLY=this\n");
    const command relative{.arguments = {"./env"},
                           .environment = {"ONLY=this"},
                           .clean_environment = true,
                           .directory = "/usr/bin"};
    text = co_await output_of(relative);
    CHECK(text == "ONLY=this\n");
  });
}

TEST_CASE("a_child_has_the_signals_as_they_were_before_run") {
  const auto interrupts = ::signal(SIGINT, SIG_IGN), hangups = ::signal(SIGHUP, SIG_IGN);
  const auto own = ::signal(SIGUSR1, [](int) {});
  // A job that a script put into the background has it ignored.
  const auto quits = ::signal(SIGQUIT, SIG_DFL);
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  weir::config settings;
  settings.backend = "asio";
  std::string status;
  const auto code = weir::run(settings, [&](shard& s) -> task<> {
    weir::signal_watch watched(s, {SIGHUP, SIGALRM});
    const command show{.arguments = {"cat", "/proc/self/status"}};
    status = co_await output_of(show);
  });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGINT, interrupts);
  ::signal(SIGHUP, hangups);
  ::signal(SIGUSR1, own);
  ::signal(SIGQUIT, quits);
  REQUIRE(code == 0);
  const auto ignored = signals_in(status, "SigIgn");
  CHECK((ignored & bit(SIGINT)) != 0);
  CHECK((ignored & bit(SIGHUP)) != 0);
  CHECK((ignored & (bit(SIGTERM) | bit(SIGPIPE) | bit(SIGQUIT) | bit(SIGALRM) | bit(SIGUSR1))) ==
        0);
  CHECK(signals_in(status, "SigBlk") == bit(SIGUSR2));
  CHECK(signals_in(status, "SigCgt") == 0);
}

TEST_CASE("a_handle_that_goes_kills_and_no_zombie_is_left") {
  on_kernel_back_ends([](shard& s) -> task<> {
    co_await start_and_forget();
    while (has_children()) co_await weir::sleep_for(1ms);
    weir::scope tasks(s);
    for (int i = 0; i < 20; ++i) tasks.spawn(start_and_forget());
    co_await weir::yield();
    tasks.cancel();  // in the middle of starting them
    co_await tasks.join();
    while (has_children()) co_await weir::sleep_for(1ms);
    // An end is noticed where nobody waits for it.
    const command nothing{.arguments = {"true"}};
    auto child = co_await weir::spawn_process(nothing);
    while (has_children()) co_await weir::sleep_for(1ms);
    auto status = co_await child.wait();
    CHECK(status.success());
  });
}

TEST_CASE("a_shard_ends_when_its_killed_children_have") {
  for (std::string name : {"uring", "asio"}) {
    weir::config settings;
    settings.backend = name;
    if (!weir::probe_backend(name, settings).usable) continue;
    auto s = weir::make_shard(0, settings);
    back_ends::run_on(*s, [](shard&) { return start_and_forget(); });
    s.reset();
    CHECK_FALSE(has_children());
  }
}

TEST_CASE("a_full_pool_starts_no_process") {
  weir::config settings;
  settings.offload.threads = settings.offload.queue = 1;
  on_kernel_back_ends(
      [](shard& s) -> task<> {
        std::latch opened(1);
        weir::scope tasks(s);
        tasks.spawn(hold_a_thread(opened));
        while (weir::offload_counts(s).running == 0) co_await weir::yield();
        tasks.spawn(hold_a_thread(opened));
        co_await weir::yield();
        const command nothing{.arguments = {"true"}};
        auto refused = co_await weir::spawn_process(nothing).nothrow();
        CHECK(refused.error() == std::errc::resource_unavailable_try_again);
        opened.count_down();
        co_await tasks.join();
        CHECK_FALSE(has_children());
      },
      settings);
}

TEST_CASE("a_process_that_does_not_end_is_left_behind_and_said") {
  weir::config settings;
  settings.backend = "asio";
  auto s = weir::make_shard(0, settings);
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (;;) ::pause();
  }
  auto& kept = s->local<weir::detail::children>();
  kept.patience = 1ms;
  weir::unique_fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  REQUIRE(kept.add(pid, std::move(pidfd), false).has_value());
  s.reset();  // nobody has killed it
  CHECK(::kill(pid, SIGKILL) == 0);
  CHECK(::waitpid(pid, nullptr, 0) == pid);
}

TEST_CASE("a_group_is_killed_with_its_leader") {
  on_kernel_back_ends([](shard&) -> task<> {
    // Its pipe ends when the last of them has gone.
    command leader{.arguments = {"sh", "-c", "sleep 1000 & sleep 1000 & echo started; wait"},
                   .own_group = true};
    leader.output = stdio::pipe();
    auto child = co_await weir::spawn_process(leader);
    std::array<std::byte, 8> line;
    co_await child.output.read_exactly(line);
    CHECK(child.kill(SIGKILL));
    auto n = co_await child.output.read_some(line).timeout(30s);
    CHECK(n == 0);
    auto status = co_await child.wait();
    CHECK(status.signal == SIGKILL);
  });
}

TEST_CASE("a_child_that_is_released_goes_on_and_is_the_callers") {
  on_kernel_back_ends([](shard&) -> task<> {
    command copy{.arguments = {"cat"}};
    copy.input = stdio::pipe();
    copy.output = stdio::null();
    auto child = co_await weir::spawn_process(copy);
    auto input = std::move(child.input);
    auto pidfd = child.release();
    CHECK_FALSE(child);
    REQUIRE(pidfd);
    pollfd running{pidfd.get(), POLLIN, 0};
    CHECK(::poll(&running, 1, 0) == 0);
    input.close();
    siginfo_t info{};
    CHECK(::waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &info, WEXITED) == 0);
    CHECK(info.si_status == 0);
  });
}

TEST_CASE("an_end_that_somebody_else_took_is_said") {
  on_kernel_back_ends([](shard&) -> task<> {
    command copy{.arguments = {"cat"}};
    copy.input = stdio::pipe();
    auto child = co_await weir::spawn_process(copy);
    const auto before = ::signal(SIGCHLD, SIG_IGN);
    child.input.close();
    auto status = co_await child.wait().nothrow();
    ::signal(SIGCHLD, before);
    CHECK(status.error() == std::errc::no_child_process);
  });
}

TEST_CASE("children_come_and_go_by_the_hundred_beside_each_other") {
  on_kernel_back_ends([](shard& s) -> task<> {
    const auto open_now = [] {
      int n = 0;
      for (int fd = 0; fd < 1024; ++fd) n += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
      return n;
    };
    co_await start_and_forget();  // the pool's threads are made
    while (has_children()) co_await weir::sleep_for(1ms);
    co_await weir::yield();
    const int before = open_now();
    int started = 0;
    weir::scope tasks(s);
    for (int i = 0; i < 4; ++i) tasks.spawn(start_many(s, started));
    while (started < 200) co_await weir::sleep_for(1ms);
    s.request_stop();
    co_await tasks.join();
    CHECK_FALSE(has_children());
    co_await weir::sleep_for(1ms);
    CHECK(open_now() == before);
  });
}
