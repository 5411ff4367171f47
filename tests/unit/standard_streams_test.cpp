// This program's own standard streams, whatever they are: read and written, and the open files that
// they share with others left as they were.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <latch>
#include <string>
#include <vector>

#include "unit/back_ends.hpp"
#if WEIR_WITH_SIM
#include "weir/sim.hpp"
#endif

using namespace std::chrono_literals;
using back_ends::on_kernel_back_ends;
using weir::shard;
using weir::task;
using weir::unique_fd;

namespace {

/// Has `fd` in its place for as long as it lives.
class standing_in {
 public:
  standing_in(int number, int fd) : number_(number), kept_(::fcntl(number, F_DUPFD_CLOEXEC, 10)) {
    if (fd >= 0)
      ::dup2(fd, number);
    else
      ::close(number);
  }
  ~standing_in() {
    if (kept_)
      ::dup2(kept_.get(), number_);
    else
      ::close(number_);
  }

 private:
  int number_;
  unique_fd kept_;
};

bool waits(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

unique_fd temporary_file(std::string_view contents) {
  char name[] = "/tmp/weir-standard-XXXXXX";
  unique_fd fd(::mkostemp(name, O_CLOEXEC));
  ::unlink(name);
  REQUIRE(::write(fd.get(), contents.data(), contents.size()) ==
          static_cast<ssize_t>(contents.size()));
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

std::string contents_of(int fd) {
  std::string text(4096, 'x');
  const auto n = ::pread(fd, text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return text;
}

task<std::string> read_all(weir::any_stream& from) {
  std::string text;
  std::array<std::byte, 64> buffer;
  for (;;) {
    auto n = co_await from.read_some(buffer);
    if (n == 0) break;
    text.append(reinterpret_cast<const char*>(buffer.data()), n);
  }
  co_return text;
}

task<std::string> read_line(weir::any_stream& from) {
  std::array<std::byte, 5> line;
  auto got = co_await from.read_exactly(line).timeout(30s);
  co_return std::string(reinterpret_cast<const char*>(line.data()), got);
}

struct two {
  unique_fd first, second;
};
two socket_pair() {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  return {unique_fd(ends[0]), unique_fd(ends[1])};
}
two terminal() {
  int master = -1, slave = -1;
  REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
  termios raw;
  ::tcgetattr(slave, &raw);
  ::cfmakeraw(&raw);
  ::tcsetattr(slave, TCSANOW, &raw);
  return {unique_fd(master), unique_fd(slave)};
}

/// Files of this program grow to so many bytes, and the call that would go beyond fails.
class short_files {
 public:
  explicit short_files(rlim_t bytes) : on_excess_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{bytes, before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &now) == 0);
  }
  ~short_files() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, on_excess_);
  }

 private:
  sighandler_t on_excess_;
  rlimit before_{};
};

task<> hold_a_thread(std::latch& opened) {
  co_await weir::offload([&] { opened.wait(); });
}

task<> write_much(weir::any_stream& to, const std::string& text) { co_await to.write_all(text); }

}  // namespace

TEST_CASE("standard_streams_that_are_pipes_keep_their_flags") {
  on_kernel_back_ends([](shard& s) -> task<> {
    int in[2], out[2];
    REQUIRE(::pipe2(in, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
    unique_fd in_read(in[0]), in_write(in[1]), out_read(out[0]), out_write(out[1]);
    standing_in input(STDIN_FILENO, in_read.get()), errors(STDERR_FILENO, out_write.get());
    auto reader = weir::standard_input(s);
    auto writer = weir::standard_error(s);
    std::array<std::byte, 5> line;
    auto late = co_await reader.read_exactly(line).timeout(1ms).nothrow();
    CHECK(late.ec == std::errc::timed_out);
    CHECK(waits(in_read.get()));
    CHECK(waits(out_write.get()));
    REQUIRE(::write(in_write.get(), "asked", 5) == 5);
    auto asked = co_await read_line(reader);
    CHECK(asked == "asked");
    co_await writer.write_all("said");
    char said[4];
    CHECK(::read(out_read.get(), said, sizeof said) == 4);
    // Ours may go: the program's own are open still.
    reader.close();
    writer.close();
    CHECK(::fcntl(STDIN_FILENO, F_GETFD) == 0);
  });
}

TEST_CASE("a_standard_input_that_is_a_socket_waits_for_others_and_not_for_us") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto ends = socket_pair();
    standing_in input(STDIN_FILENO, ends.first.get());
    auto reader = weir::standard_input(s);
    std::array<std::byte, 5> line;
    auto late = co_await reader.read_exactly(line).timeout(1ms).nothrow();
    CHECK(late.ec == std::errc::timed_out);
    const std::string much(500'000, 'x');
    auto stuck = co_await reader.write_all(much).timeout(1ms).nothrow();  // both ways, as it is
    CHECK(stuck.ec == std::errc::timed_out);
    CHECK(waits(ends.first.get()));
    REQUIRE(::write(ends.second.get(), "asked", 5) == 5);
    auto asked = co_await read_line(reader);
    CHECK(asked == "asked");
    ::shutdown(ends.second.get(), SHUT_WR);
    auto rest = co_await read_all(reader);
    CHECK(rest.empty());
  });
}

TEST_CASE("what_cannot_be_opened_again_is_polled") {
  on_kernel_back_ends([](shard& s) -> task<> {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    unique_fd in(ends[0]), out(ends[1]);
    unique_fd others_in(::dup(ends[0])), others_out(::dup(ends[1]));
    ::fchmod(ends[0], 0);
    ::setfsuid(65534);  // of this thread: not even root opens it again
    auto reader = weir::adopt_pipe(s, std::move(in));
    auto writer = weir::adopt_pipe(s, std::move(out));
    ::setfsuid(::geteuid());
    CHECK(reader.native_handle() == ends[0]);
    CHECK(writer.native_handle() == ends[1]);
    std::array<std::byte, 5> line;
    auto late = co_await reader.read_exactly(line).timeout(1ms).nothrow();
    CHECK(late.ec == std::errc::timed_out);
    co_await writer.write_all("asked");
    auto asked = co_await read_line(reader);
    CHECK(asked == "asked");
    // More than it takes: the shard is not held up.
    const std::string much(300'000, 'x');
    auto stuck = co_await writer.write_all(much).timeout(1ms).nothrow();
    CHECK(stuck.ec == std::errc::timed_out);
    weir::scope tasks(s);
    tasks.spawn(write_much(writer, much));
    std::vector<std::byte> came(stuck.n + much.size());
    co_await reader.read_exactly(came);
    co_await tasks.join();
    CHECK(waits(others_in.get()));
    CHECK(waits(others_out.get()));
    others_out.reset();
    writer.shutdown_send();
    auto rest = co_await read_all(reader);
    CHECK(rest.empty());
  });
}

TEST_CASE("a_terminals_other_end_stays_that_of_the_same_terminal") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto pty = terminal();
    auto user = weir::adopt_pipe(s, std::move(pty.first));  // opened again it is another terminal
    std::array<std::byte, 5> line;
    auto late = co_await user.read_exactly(line).timeout(1ms).nothrow();
    CHECK(late.ec == std::errc::timed_out);
    REQUIRE(::write(pty.second.get(), "shown", 5) == 5);
    auto shown = co_await read_line(user);
    CHECK(shown == "shown");
    co_await user.write_all("typed");
    char typed[5];
    CHECK(::read(pty.second.get(), typed, sizeof typed) == 5);
  });
}

TEST_CASE("standard_streams_that_are_files_are_read_and_written_where_they_stand") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto in = temporary_file("first\nsecond\n");
    auto out = temporary_file("before ");
    ::lseek(in.get(), 6, SEEK_SET);
    ::lseek(out.get(), 0, SEEK_END);
    standing_in input(STDIN_FILENO, in.get()), errors(STDERR_FILENO, out.get());
    auto reader = weir::standard_input(s);
    auto writer = weir::standard_error(s);
    std::array<std::byte, 3> part;
    co_await reader.read_exactly(part);
    CHECK(::lseek(in.get(), 0, SEEK_CUR) == 9);  // no further than it was asked for
    {
      auto lent = co_await reader.receive();
      CHECK(lent.size() == 4);
      reader.close();  // what was lent stays
      CHECK(static_cast<char>(lent.bytes()[0]) == 'o');
    }
    weir::scope tasks(s);
    const std::string a(3000, 'a'), b(3000, 'b');
    tasks.spawn(write_much(writer, a));
    tasks.spawn(write_much(writer, b));
    co_await tasks.join();
    writer.shutdown_send();
    auto late = co_await writer.write_all("x").nothrow();
    CHECK(late.ec == std::errc::broken_pipe);
    CHECK(contents_of(out.get()) == ("before " + a + b).substr(0, 4096));
    auto empty = weir::standard_input(s);
    auto rest = co_await read_all(empty);
    CHECK(rest.empty());
  });
}

TEST_CASE("what_a_file_took_is_counted_in_however_many_parts_it_comes") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto out = temporary_file("");
    standing_in errors(STDERR_FILENO, out.get());
    auto writer = weir::standard_error(s);
    auto one = co_await writer.write_all("one,").nothrow();
    CHECK_FALSE(one.ec);
    CHECK(one.n == 4);
    auto some = co_await writer.write_some(std::as_bytes(std::span("some,", 5)));
    CHECK(some == 5);
    std::string text;  // in more parts than one call to the kernel takes, empty ones between them
    for (char c = ' '; text.size() < 500; c = c == '~' ? ' ' : static_cast<char>(c + 1)) text += c;
    std::vector<std::span<const std::byte>> parts;
    for (std::size_t at = 0; at < text.size(); at += 2) {
      parts.push_back(std::as_bytes(std::span(text).subspan(at, 2)));
      parts.emplace_back();
    }
    auto many = co_await writer.write_all(parts).nothrow();
    CHECK_FALSE(many.ec);
    CHECK(many.n == text.size());
    auto nothing = co_await writer.write_all("").nothrow();
    CHECK_FALSE(nothing.ec);
    CHECK(nothing.n == 0);
    CHECK(contents_of(out.get()) == "one,some," + text);
  });
}

TEST_CASE("a_file_that_may_not_grow_says_how_much_it_took_and_takes_no_more") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto out = temporary_file("");
    standing_in errors(STDERR_FILENO, out.get());
    auto writer = weir::standard_error(s);
    const std::string much(8000, 'x');
    weir::transfer cut, next;
    {
      short_files limited(3000);
      cut = co_await writer.write_all(much).nothrow();
      next = co_await writer.write_all("x").nothrow();
    }
    CHECK(cut.ec == std::errc::file_too_large);
    CHECK(cut.n == 3000);
    CHECK(next.ec == std::errc::file_too_large);
    CHECK(next.n == 0);
    CHECK(contents_of(out.get()) == much.substr(0, 3000));
  });
}

TEST_CASE("a_files_end_is_no_interruption") {
  weir::config settings;
  settings.offload.threads = 1;
  on_kernel_back_ends(
      [](shard& s) -> task<> {
        auto in = temporary_file("");
        standing_in input(STDIN_FILENO, in.get());
        auto reader = weir::standard_input(s);
        // Of an earlier call on the thread that reads.
        co_await weir::offload([] { errno = EINTR; });
        std::array<std::byte, 1> byte;
        auto end = co_await reader.read_some(byte).timeout(30s).nothrow();
        CHECK_FALSE(end.ec);
        CHECK(end.n == 0);
      },
      settings);
}

TEST_CASE("a_file_says_its_errors_and_a_full_pool_is_no_end_of_it") {
  weir::config settings;
  settings.offload.threads = settings.offload.queue = 1;
  on_kernel_back_ends(
      [](shard& s) -> task<> {
        auto in = temporary_file("first");
        unique_fd read_only(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
        standing_in input(STDIN_FILENO, in.get()), errors(STDERR_FILENO, read_only.get());
        auto reader = weir::standard_input(s);
        auto writer = weir::standard_error(s);
        auto refused = co_await writer.write_all("x").nothrow();
        CHECK(refused.ec == std::errc::bad_file_descriptor);
        std::latch opened(1);
        weir::scope tasks(s);
        tasks.spawn(hold_a_thread(opened));
        while (weir::offload_counts(s).running == 0) co_await weir::yield();
        tasks.spawn(hold_a_thread(opened));
        co_await weir::yield();
        std::array<std::byte, 5> line;
        refused = co_await reader.read_exactly(line).nothrow();
        CHECK(refused.ec == std::errc::resource_unavailable_try_again);
        opened.count_down();
        co_await tasks.join();
        auto first = co_await read_line(reader);
        CHECK(first == "first");
      },
      settings);
}

TEST_CASE("a_standard_stream_that_is_closed_says_so") {
  on_kernel_back_ends([](shard& s) -> task<> {
    standing_in input(STDIN_FILENO, -1);
    CHECK(weir::try_standard_input(s).error() == std::errc::bad_file_descriptor);
    CHECK_THROWS_AS((void)weir::standard_input(s), weir::io_error);
    co_return;
  });
}

#if WEIR_WITH_SIM
TEST_CASE("a_simulated_host_has_no_standard_streams") {
  weir::sim::network net;
  net.start(net.add_host("10.0.0.1/24"), [](shard& s) -> task<> {
    CHECK(weir::try_standard_input(s).error() == std::errc::operation_not_supported);
    CHECK(weir::try_standard_output(s).error() == std::errc::operation_not_supported);
    co_return;
  });
  net.run();
}
#endif
