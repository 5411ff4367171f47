// What run() does with signals, and what nobody but run() sees of it. What happens is decided by
// the order of events, never by time.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <latch>
#include <string>
#include <string_view>
#include <thread>

#include "weir/descriptor.hpp"
#include "weir/reader.hpp"
#include "weir/weir.hpp"

using namespace weir;
using namespace std::chrono_literals;

namespace {

config settings_with(unsigned shards = 1) {
  config settings;
  settings.backend = "asio";
  settings.shards = shards;
  return settings;
}

task<> until_stop(shard& s) {
  auto listener = s.listen({"127.0.0.1", 0});
  auto none = co_await listener.accept();
  CHECK_FALSE(none.has_value());
}

/// Masks and ignored signals that a program gets from the calling thread. No shell in between:
/// some clear the mask.
std::string signals_of_a_child() {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  const char* const command[] = {"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status", nullptr};
  pid_t child = -1;
  REQUIRE(::posix_spawnp(&child, command[0], &actions, nullptr, const_cast<char**>(command),
                         environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string out(200, '\0');
  std::size_t size = 0;
  for (;;) {
    const auto n = ::read(ends[0], out.data() + size, out.size() - size);
    if (n <= 0) break;
    size += static_cast<std::size_t>(n);
  }
  out.resize(size);
  ::close(ends[0]);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  return out;
}

/// Runs it in a process of its own; gives what waitpid() says of its end.
template <class F>
int status_of(F body) {
  const auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

/// One byte into a pipe that nobody reads.
int error_of_a_broken_pipe() {
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  ::close(ends[0]);
  const char byte = 0;
  const int error = ::write(ends[1], &byte, 1) < 0 ? errno : 0;
  ::close(ends[1]);
  return error;
}

}  // namespace

TEST_CASE("the_first_signal_ends_accept_and_lets_sessions_finish") {
  bool session_ended = false;
  auto session = [&](tcp_stream peer) -> task<> {
    std::array<std::byte, 8> buffer;
    auto n = co_await peer.read_exactly(std::span(buffer).first(5));
    co_await peer.write_all(std::span<const std::byte>(buffer).first(n));
    session_ended = true;
  };
  CHECK(run(settings_with(), [&](shard& s) -> task<> {
          auto listener = s.listen({"127.0.0.1", 0});
          auto client = co_await s.connect(listener.local_endpoint());
          scope sessions(s);
          auto peer = co_await listener.accept();
          sessions.spawn(session(std::move(*peer)));
          ::kill(::getpid(), SIGTERM);
          auto none = co_await listener.accept();
          CHECK_FALSE(none.has_value());
          CHECK(s.stop_requested());
          // The session goes on: only now does it get what it waits for.
          co_await client.write_all("hello");
          std::array<std::byte, 5> back;
          co_await client.read_exactly(back);
          auto drained = co_await sessions.drain(1h);
          CHECK(drained.in_time);
        }) == 0);
  CHECK(session_ended);
}

TEST_CASE("the_second_signal_cancels_and_its_number_is_the_exit_code") {
  CHECK(run(settings_with(2), [&](shard& s) -> task<> {
          auto listener = s.listen({"127.0.0.1", 0});
          if (s.index() == 0) ::kill(::getpid(), SIGINT);
          co_await listener.accept();
          if (s.index() == 0) ::kill(::getpid(), SIGTERM);
          co_await sleep_for(1h);
        }) == 128 + SIGTERM);
}

TEST_CASE("a_coroutine_that_never_has_to_wait_hears_the_second_signal") {
  // Each kind of wait that finds what it wants at once: the turn's budget is what lets signals in.
  enum class kind { lock, permit, message };
  for (const auto of : {kind::lock, kind::permit, kind::message}) {
    CHECK(run(settings_with(), [&](shard& s) -> task<> {
            weir::mutex lock;
            weir::semaphore permits(1);
            weir::channel<int> messages(1);
            ::kill(::getpid(), SIGINT);
            co_await until_stop(s);
            ::kill(::getpid(), SIGTERM);
            for (;;) {
              if (of == kind::lock) {
                auto held = co_await lock.lock();
              } else if (of == kind::permit) {
                co_await permits.acquire();
                permits.release();
              } else {
                co_await messages.send(1);
                co_await messages.receive();
              }
            }
          }) == 128 + SIGTERM);
  }
}

TEST_CASE("a_thread_that_was_there_before_run_does_not_make_a_signal_deadly") {
  // It sends the signal itself: where only it lets the signal in, it is there that it arrives,
  // unless somebody else reads it from a signalfd first. Hence the rounds.
  for (int round = 0; round < 20; ++round) {
    std::latch serving(2);
    std::thread helper([&] {
      serving.wait();
      ::kill(::getpid(), SIGTERM);
    });
    CHECK(run(settings_with(2), [&](shard& s) -> task<> {
            serving.count_down();
            co_await until_stop(s);
          }) == 0);
    helper.join();
  }
}

TEST_CASE("signals_that_every_thread_blocks_still_reach_run") {
  sigset_t both, before;
  sigemptyset(&both);
  sigaddset(&both, SIGINT);
  sigaddset(&both, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &both, &before);
  CHECK(run(settings_with(), [](shard& s) -> task<> {
          ::kill(::getpid(), SIGTERM);
          co_await until_stop(s);
        }) == 0);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("the_dump_is_shown_though_every_thread_blocks_its_signal") {
  const int status = status_of([] {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0 || ::dup2(ends[1], STDERR_FILENO) < 0) ::_exit(2);
    sigset_t quit;
    sigemptyset(&quit);
    sigaddset(&quit, SIGQUIT);
    pthread_sigmask(SIG_BLOCK, &quit, nullptr);
    bool shown = false;
    run(settings_with(), [&](shard& s) -> task<> {
      auto said = adopt_pipe(s, unique_fd(ends[0]));
      std::array<std::byte, 4096> storage;
      buffered_reader lines(said, storage);
      ::kill(::getpid(), SIGQUIT);
      while (!shown) {
        const auto line = co_await lines.read_until("\n").timeout(20s).nothrow();
        if (!line) break;
        const std::string_view text(reinterpret_cast<const char*>(line->data()), line->size());
        shown = text.find("SIGQUIT: what the coroutines wait for:") != text.npos;
      }
    });
    ::_exit(shown ? 0 : 1);
  });
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

TEST_CASE("a_program_that_a_shard_starts_gets_the_signals_as_they_were") {
  // A job that a script put into the background has it ignored, which no foreign spawn can keep.
  struct sigaction usual{}, inherited{};
  usual.sa_handler = SIG_DFL;
  ::sigaction(SIGQUIT, &usual, &inherited);
  const auto before = signals_of_a_child();
  CHECK(run(settings_with(2), [&](shard&) -> task<> {
          CHECK(signals_of_a_child() == before);
          co_return;
        }) == 0);
  CHECK(signals_of_a_child() == before);
  ::sigaction(SIGQUIT, &inherited, nullptr);
}

TEST_CASE("masks_and_handlers_are_as_before_when_run_has_ended") {
  struct sigaction own{}, found{};
  own.sa_handler = [](int) {};
  struct sigaction before[3];
  const int numbers[3] = {SIGINT, SIGTERM, SIGPIPE};
  ::sigaction(SIGINT, &own, &before[0]);
  ::sigaction(SIGTERM, nullptr, &before[1]);
  ::sigaction(SIGPIPE, nullptr, &before[2]);
  sigset_t mask_before, mask_after;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask_before);
  CHECK(run(settings_with(2), [](shard&) -> task<> { co_return; }) == 0);
  CHECK(shard_thread(settings_with()).shard().index() == 0);
  pthread_sigmask(SIG_SETMASK, nullptr, &mask_after);
  for (int number = 1; number < NSIG; ++number)
    CHECK(sigismember(&mask_before, number) == sigismember(&mask_after, number));
  for (int i = 0; i < 3; ++i) {
    CAPTURE(numbers[i]);
    ::sigaction(numbers[i], nullptr, &found);
    CHECK((found.sa_handler == (i == 0 ? own.sa_handler : before[i].sa_handler)));
  }
  ::sigaction(SIGINT, &before[0], nullptr);
}

TEST_CASE("a_handler_that_the_program_installs_meanwhile_stays") {
  struct sigaction own{}, found{}, before{};
  own.sa_handler = [](int) {};
  ::sigaction(SIGINT, nullptr, &before);
  CHECK(run(settings_with(), [&](shard&) -> task<> {
          ::sigaction(SIGINT, &own, nullptr);
          co_return;
        }) == 0);
  ::sigaction(SIGINT, nullptr, &found);
  CHECK((found.sa_handler == own.sa_handler));
  ::sigaction(SIGINT, &before, nullptr);
}

TEST_CASE("each_of_two_runs_gets_the_signal") {
  std::atomic<int> accepting = 0;
  auto serve = [&](shard& s) -> task<> {
    if (++accepting == 2) ::kill(::getpid(), SIGTERM);
    co_await until_stop(s);
  };
  int first = -1;
  std::thread other([&] { first = run(settings_with(), serve); });
  CHECK(run(settings_with(), serve) == 0);
  other.join();
  CHECK(first == 0);
}

TEST_CASE("a_third_signal_has_its_default_effect") {
  const int status = status_of([] {
    run(settings_with(), [](shard&) -> task<> {
      for (int i = 0; i < 3; ++i) ::raise(SIGTERM);
      co_return;
    });
  });
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM));
}

#if defined(__SANITIZE_THREAD__)
#define WEIR_HANDLERS_RUN_IN_FORKS 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEIR_HANDLERS_RUN_IN_FORKS 0
#endif
#endif
#ifndef WEIR_HANDLERS_RUN_IN_FORKS
#define WEIR_HANDLERS_RUN_IN_FORKS 1
#endif

#if WEIR_HANDLERS_RUN_IN_FORKS  // not where the thread sanitizer puts them off, in a fork for good
TEST_CASE("a_fork_of_a_server_takes_its_signals_itself") {
  ::signal(SIGTERM, SIG_DFL);  // not the test program's own report of a crash
  bool stopped = true;
  CHECK(run(settings_with(), [&](shard& s) -> task<> {
          const int status = status_of([] { ::raise(SIGTERM); });
          CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM));
          co_await yield();
          stopped = s.stop_requested();
        }) == 0);
  CHECK_FALSE(stopped);
}

TEST_CASE("a_handler_of_run_that_is_put_back_after_it_does_as_if_it_were_not_there") {
  const auto leave_one_behind = [] {
    ::signal(SIGTERM, SIG_DFL);
    struct sigaction own{}, found{};
    own.sa_handler = [](int) {};
    run(settings_with(), [&](shard&) -> task<> {
      ::sigaction(SIGTERM, &own, &found);
      co_return;
    });
    ::sigaction(SIGTERM, &found, nullptr);  // as who saves and restores around something does
  };
  const int status = status_of([&] {
    leave_one_behind();
    ::raise(SIGTERM);
  });
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM));
  // Nor is it taken for its own predecessor by the next run().
  const int after_another = status_of([&] {
    leave_one_behind();
    run(settings_with(), [](shard&) -> task<> { co_return; });
    ::raise(SIGTERM);
  });
  CHECK((WIFSIGNALED(after_another) && WTERMSIG(after_another) == SIGTERM));
}
#endif

TEST_CASE("a_broken_pipe_is_an_error_on_shards_and_what_it_was_elsewhere") {
  CHECK(run(settings_with(2), [](shard&) -> task<> {
          CHECK(error_of_a_broken_pipe() == EPIPE);
          co_return;
        }) == 0);
  const int status = status_of([] {
    run(settings_with(), [](shard&) -> task<> {
      std::thread([] { error_of_a_broken_pipe(); }).join();
      co_return;
    });
  });
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE));
}

TEST_CASE("a_run_without_descriptors_for_its_signals_fails_and_leaves_none_open") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int next = ::dup(0);  // the lowest that is free
  REQUIRE(next >= 0);
  ::close(next);
  const rlimit few{static_cast<rlim_t>(next) + 1, before.rlim_max};  // a pipe takes two
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  const int code = run(settings_with(), [](shard&) -> task<> { co_return; });
  const int free = ::dup(0);
  ::close(free);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(code == 2);
  CHECK(free == next);
}
