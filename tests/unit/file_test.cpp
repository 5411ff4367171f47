// Files: on the machine's disk, through the ring and through the pool; and on a simulated one,
// which is slow, full or broken as the test wants it. What is alike on all is in
// conformance/files.cpp.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "runtime/backend/driver.hpp"
#include "runtime/observe/take_snapshot.hpp"
#include "unit/back_ends.hpp"
#include "weir/detail/surroundings.hpp"
#if WEIR_WITH_URING
#include "runtime/driver/uring/uring_driver.hpp"
#endif
#if WEIR_WITH_SIM
#include "weir/sim.hpp"
#endif

using namespace std::chrono_literals;
using weir::file_type;
using weir::shard;
using weir::task;

// Instead of the C library's: calls that carry out a part, and calls that a signal interrupts, as
// on a disk of another machine; and one that is counted.
namespace {
std::size_t uncopied = 0, most_at_once = 0;  // what sendfile(2) sent, and was asked for
std::atomic<std::size_t> most_per_call = SIZE_MAX;
std::atomic<unsigned> calls = 0;
bool interrupted() {
  if (most_per_call == SIZE_MAX || ++calls % 3 != 0) return false;
  errno = EINTR;
  return true;
}
}  // namespace

extern "C" ssize_t pwrite(int fd, const void* from, std::size_t size, off_t at) {
  if (interrupted()) return -1;
  return ::syscall(SYS_pwrite64, fd, from, std::min(size, most_per_call.load()), at);
}
extern "C" ssize_t pwritev2(int fd, const iovec* from, int count, off_t at, int flags) {
  if (interrupted()) return -1;
  if (count != 1) return errno = EINVAL, -1;
  const iovec some{from->iov_base, std::min(from->iov_len, most_per_call.load())};
  return ::syscall(SYS_pwritev2, fd, &some, 1, at, 0, flags);
}
extern "C" ssize_t sendfile(int to, int from, off_t* at, std::size_t size) {
  most_at_once = std::max(most_at_once, size);
  const auto n = ::syscall(SYS_sendfile, to, from, at, size);
  if (n > 0) uncopied += static_cast<std::size_t>(n);
  return n;
}

namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

task<> receive_all(weir::any_stream& from, std::string& into) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto n = co_await from.read_some(buffer);
    if (n == 0) break;
    into += text_of(std::span(buffer).first(n));
  }
}

/// Sends a part of `path` through a stream and compares.
task<> send_a_part(shard& s, std::string path, std::string expected, std::uint64_t offset,
                   std::uint64_t length) {
  auto pair = weir::make_unix_pair(s);
  std::string came;
  weir::scope tasks(s);
  tasks.spawn(receive_all(pair.second, came));
  auto file = co_await weir::open_file(path);
  auto sent = co_await weir::send_file(pair.first, file, offset, length);
  pair.first.shutdown_send();
  co_await tasks.join();
  CHECK(sent == expected.size());
  CHECK(came == expected);
}

struct temporary_directory {
  temporary_directory() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~temporary_directory() { ::rmdir(path.c_str()); }
  std::string path = "/tmp/weir-files-XXXXXX";
};

}  // namespace

TEST_CASE("what_a_file_takes_in_parts_and_after_interruptions_is_all_there") {
  back_ends::on_kernel_back_ends([](shard&) -> task<> {
    temporary_directory here;
    const auto path = here.path + "/parts";
    std::string text;
    for (int i = 0; i < 100; ++i) text += std::to_string(i);
    std::vector<std::byte> came(2 * text.size() + 10);
    auto file = co_await weir::open_file(path, {.write = true, .create = true});
    most_per_call = 7;
    auto n = co_await file.write_at(text, 10);
    CHECK(n == text.size());
    n = co_await file.append(text);
    CHECK(n == text.size());
    most_per_call = SIZE_MAX;
    n = co_await file.read_at(came, 0);
    CHECK(text_of(std::span(came).first(n)) == std::string(10, '\0') + text + text);
    co_await weir::remove_file(path);
  });
  most_per_call = SIZE_MAX;
}

namespace {

std::uint64_t count_of(shard& s, std::string_view name) {
  for (const auto& one : weir::detail::take_snapshot(s, {}).counts)
    if (one.name == name) return one.value;
  return 0;
}

task<> write_one(weir::file& file, unsigned number) {
  const auto text = std::to_string(number % 10);
  auto n = co_await file.write_at(text, number);
  CHECK(n == 1);
}

}  // namespace

TEST_CASE("a_ring_writes_and_syncs_itself_and_asks_the_pool_for_what_it_has_no_room_for") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    const bool by_ring = s.driver().name() == "uring";
    temporary_directory here;
    const auto path = here.path + "/many";
    auto file = co_await weir::open_file(path, {.write = true, .create = true});
    const auto before = count_of(s, "offload_done"), opened = count_of(s, "file_calls");
    constexpr unsigned most = 64, writes = 150;  // uring_file_calls::most
    {
      weir::scope all(s);
      for (unsigned i = 0; i < writes; ++i) all.spawn(write_one(file, i));
      co_await all.join();
    }
    auto n = co_await file.append("end");
    CHECK(n == 3);
    co_await file.sync();
    CHECK(count_of(s, "offload_done") - before == (by_ring ? writes - most : writes + 2));
    if (by_ring) {
      CHECK(count_of(s, "file_calls") - opened == most + 2);
      CHECK(count_of(s, "file_calls_refused") == writes - most);
      CHECK(count_of(s, "file_calls_under_way") == 0);
      CHECK(count_of(s, "file_calls_peak") == most);
    }
    std::array<std::byte, writes + 10> bytes;
    n = co_await file.read_at(bytes, 0);
    std::string expected;
    for (unsigned i = 0; i < writes; ++i) expected += std::to_string(i % 10);
    CHECK(text_of(std::span(bytes).first(n)) == expected + "end");
    co_await weir::remove_file(path);
  });
}

namespace {

/// A driver that finds out only when it has begun that it may not wait for the file.
struct timid_driver final : weir::detail::file_caller {
  bool start(weir::detail::offload_operation& op,
             const weir::detail::file_call&) noexcept override {
    ++begun;
    weir::detail::offload_operation::hand_to_pool(op);
    return true;
  }
  void cancel(weir::detail::offload_operation&) noexcept override {}
  counters counts() const noexcept override { return {}; }
  int begun = 0;
};

}  // namespace

TEST_CASE("what_a_driver_may_not_wait_for_is_the_pools") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    temporary_directory here;
    const auto path = here.path + "/timid";
    timid_driver driver;
    auto* const usual = std::exchange(s.around().file_calls, &driver);
    auto file = co_await weir::open_file(path, {.write = true, .create = true});
    const auto before = count_of(s, "offload_done");
    auto n = co_await file.write_at("by a thread", 0);
    CHECK(n == 11);
    co_await file.sync();
    CHECK(driver.begun == 3);
    CHECK(count_of(s, "offload_done") - before == 2);
    s.around().file_calls = usual;
    co_await weir::remove_file(path);
  });
}

TEST_CASE("a_write_that_is_cut_short_goes_on_and_says_what_stops_it") {
  auto* const before = ::signal(SIGXFSZ, SIG_IGN);
  rlimit usual{};
  ::getrlimit(RLIMIT_FSIZE, &usual);
  const rlimit short_one{5000, usual.rlim_max};
  back_ends::on_kernel_back_ends([&](shard&) -> task<> {
    temporary_directory here;
    const auto path = here.path + "/short";
    const std::string text(8000, 'x');
    auto file = co_await weir::open_file(path, {.write = true, .create = true});
    ::setrlimit(RLIMIT_FSIZE, &short_one);
    auto n = co_await file.write_at(text, 0).nothrow();  // 5,000, and then none
    CHECK(n.error() == std::errc::file_too_large);
    auto more = co_await file.append(text).nothrow();
    CHECK(more.error() == std::errc::file_too_large);
    ::setrlimit(RLIMIT_FSIZE, &usual);
    auto about = co_await file.status();
    CHECK(about.size == 5000);
    co_await weir::remove_file(path);
  });
  ::setrlimit(RLIMIT_FSIZE, &usual);
  ::signal(SIGXFSZ, before);
}

TEST_CASE("calls_that_are_given_up_end_and_leave_their_buffers_alone") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    temporary_directory here;
    const auto path = here.path + "/given-up";
    auto file = co_await weir::open_file(path, {.write = true, .create = true});
    const std::string text(100'000, 'y');
    for (int i = 0; i < 20; ++i) {
      weir::scope all(s);
      for (int k = 0; k < 10; ++k)
        all.spawn([](weir::file& to, const std::string& bytes) -> task<> {
          (void)co_await to.write_at(bytes, 0).nothrow();
          (void)co_await to.sync().timeout(0ms).nothrow();
        }(file, text));
      if (i % 2 == 0) co_await weir::yield();
      all.cancel();
      co_await all.join();
    }
    CHECK(count_of(s, "file_calls_under_way") == 0);
    auto n = co_await file.write_at("again", 0);
    CHECK(n == 5);
    co_await weir::remove_file(path);
  });
}

namespace {

/// One of each call that is not on an open file alone.
task<> call_on_paths(std::string below) {
  auto file = co_await weir::open_file(below + "/a", {.write = true, .create = true});
  (void)co_await file.status();
  co_await file.resize(10);
  co_await weir::rename_file(below + "/a", below + "/b");
  (void)co_await weir::status_of(below + "/b");
  co_await weir::remove_file(below + "/b");
  co_await weir::make_directory(below + "/c");
  co_await weir::remove_file(below + "/c");
}
constexpr unsigned calls_on_paths = 8;

/// How many of them the pool was asked for, with that configuration of the ring.
void check_calls_of_the_pool(const weir::config& settings, unsigned of_the_ring_too) {
  back_ends::on_kernel_back_ends(
      [&](shard& s) -> task<> {
        temporary_directory here;
        co_await call_on_paths(here.path);
        const bool by_ring = s.driver().name() == "uring";
        CHECK(count_of(s, "offload_done") == (by_ring ? of_the_ring_too : calls_on_paths));
        if (!by_ring) co_return;
        CHECK(count_of(s, "file_calls") == calls_on_paths - of_the_ring_too);
        CHECK(count_of(s, "file_calls_refused") == of_the_ring_too);
        (void)co_await weir::list_directory(here.path);  // no ring has an operation for this
        CHECK(count_of(s, "offload_done") == of_the_ring_too + 1);
      },
      settings);
}

}  // namespace

TEST_CASE("a_ring_carries_calls_on_paths_out_as_far_as_it_has_operations_for_them") {
  weir::config settings;
  for (const auto* release : {"5.19", "6.1", "6.6"}) {
    CAPTURE(release);
    settings.uring.profile = release;
    check_calls_of_the_pool(settings, 1);  // resize
  }
  settings.uring.hide = {"make_directory"};
  check_calls_of_the_pool(settings, 2);
  settings = {};
#if WEIR_WITH_URING
  settings.backend = "uring";
  if (weir::probe_backend("uring", settings).usable) {
    auto s = weir::make_shard(0, settings);
    const auto& has = static_cast<weir::detail::uring_driver&>(s->driver()).features();
    check_calls_of_the_pool(settings, !has.make_directory + !has.resize_file);
  }
#endif
}

TEST_CASE("a_path_is_refused_for_the_systems_reason") {
  back_ends::on_kernel_back_ends([](shard&) -> task<> {
    temporary_directory here;
    const auto in = [&](std::string_view name) { return here.path + "/" + std::string(name); };
    {
      auto file = co_await weir::open_file(in("file"), {.write = true, .create = true});
    }
    REQUIRE(::symlink("loop", in("loop").c_str()) == 0);
    const std::pair<std::string, std::errc> cases[] = {
        {in("none"), std::errc::no_such_file_or_directory},
        {"", std::errc::no_such_file_or_directory},
        {in("file/x"), std::errc::not_a_directory},
        {in("loop"), std::errc::too_many_symbolic_link_levels},
        {in(std::string(300, 'x')), std::errc::filename_too_long},
    };
    for (const auto& [path, why] : cases) {
      CAPTURE(path);
      const auto opened = co_await weir::open_file(path).nothrow();
      CHECK(opened.error() == why);
      const auto told = co_await weir::status_of(path).nothrow();
      CHECK(told.error() == why);
      if (why == std::errc::too_many_symbolic_link_levels) continue;  // of the link itself
      const auto renamed = co_await weir::rename_file(path, in("y")).nothrow();
      CHECK(renamed.error() == why);
      const auto removed = co_await weir::remove_file(path).nothrow();
      CHECK(removed.error() == why);
      const auto below = path.empty() ? path : path + "/y";
      const auto made = co_await weir::make_directory(below).nothrow();
      CHECK(made.error() == why);
    }
    auto file = co_await weir::open_file(in("file"), {.write = true});
    const auto negative = co_await file.resize(UINT64_MAX).nothrow();
    CHECK(negative.error() == std::errc::invalid_argument);
    co_await weir::remove_file(in("loop"));
    co_await weir::remove_file(in("file"));
  });
}

TEST_CASE("paths_begin_where_the_program_is_and_what_is_made_heeds_its_umask") {
  back_ends::on_kernel_back_ends([](shard&) -> task<> {
    temporary_directory here;
    const weir::unique_fd before(::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(::chdir(here.path.c_str()) == 0);
    const auto usual = ::umask(027);
    auto file =
        co_await weir::open_file("file", {.write = true, .create = true, .mode = 0666}).nothrow();
    const auto made = co_await weir::make_directory("folder").nothrow();
    ::umask(usual);
    const auto of_file = co_await weir::status_of("file").nothrow();
    const auto of_folder = co_await weir::status_of("folder").nothrow();
    (void)co_await weir::rename_file("file", "folder/file").nothrow();
    const auto removed = co_await weir::remove_file("folder/file").nothrow();
    (void)co_await weir::remove_file("folder").nothrow();
    REQUIRE(::fchdir(before.get()) == 0);
    REQUIRE(file);
    CHECK((::fcntl(file->native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(file->native_handle(), F_GETFL) & O_NONBLOCK) == 0);
    CHECK(made);
    CHECK(removed);
    REQUIRE(of_file);
    CHECK(of_file->mode == 0640);
    REQUIRE(of_folder);
    CHECK(of_folder->mode == 0750);
  });
}

TEST_CASE("an_open_that_would_wait_for_somebodys_lease_says_so") {
  auto* const usual = ::signal(SIGIO, SIG_IGN);  // the holder is told
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    temporary_directory here;
    const auto path = here.path + "/leased";
    {
      const weir::unique_fd holder(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      REQUIRE(::fcntl(holder.get(), F_SETLEASE, F_WRLCK) == 0);
      const auto pools = count_of(s, "offload_done");
      const auto got = co_await weir::open_file(path).nothrow();
      CHECK(got.error() == std::errc::resource_unavailable_try_again);
      CHECK(count_of(s, "offload_done") == pools + 1);  // who has the last word
    }
    co_await weir::remove_file(path);
  });
  ::signal(SIGIO, usual);
}

namespace {

std::size_t open_descriptors() {
  std::size_t n = 0;
  for (int fd = 0; fd < 1000; ++fd) n += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return n;
}

}  // namespace

TEST_CASE("calls_on_paths_that_are_given_up_end_and_leave_nothing_open") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    temporary_directory here;
    const auto path = here.path + "/given-up";
    const auto before = open_descriptors();
    for (int i = 0; i < 20; ++i) {
      weir::scope all(s);
      for (int k = 0; k < 10; ++k)
        all.spawn([](std::string of) -> task<> {
          (void)co_await weir::open_file(of, {.write = true, .create = true}).nothrow();
          (void)co_await weir::status_of(of).timeout(0ms).nothrow();
          (void)co_await weir::open_file(of).timeout(0ms).nothrow();
        }(path));
      if (i % 2 == 0) co_await weir::yield();
      all.cancel();
      co_await all.join();
    }
    CHECK(count_of(s, "file_calls_under_way") == 0);
    CHECK(open_descriptors() == before);
    auto file = co_await weir::open_file(path, {.write = true, .create = true});
    co_await weir::remove_file(path);
  });
}

TEST_CASE("what_is_no_file_is_not_opened_as_one") {
  back_ends::on_kernel_back_ends([](shard&) -> task<> {
    temporary_directory here;
    const auto fifo = here.path + "/fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    const auto before = open_descriptors();
    auto got = co_await weir::open_file(fifo).nothrow();  // and nobody waits for its writer
    CHECK(got.error() == std::errc::invalid_seek);
    got = co_await weir::open_file(fifo, {.write = true}).nothrow();
    CHECK(got.error() == std::errc::invalid_seek);
    got = co_await weir::open_file(fifo, {.read = false, .write = true}).nothrow();
    CHECK(got.error() == std::errc::no_such_device_or_address);  // nor for its reader
    CHECK(open_descriptors() == before);
    ::unlink(fifo.c_str());
    auto file = co_await weir::open_file("/proc/self/exe");
    CHECK(file.native_handle() >= 0);
    auto device = co_await weir::open_file("/dev/null", {.write = true});
    auto n = co_await device.append("gone");
    CHECK(n == 4);
    auto about = co_await device.status();
    CHECK(about.type == file_type::other);
  });
}

TEST_CASE("a_file_is_sent_to_a_stream") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    temporary_directory here;
    const auto path = here.path + "/large";
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += std::to_string(i);
    {
      auto file = co_await weir::open_file(path, {.write = true, .create = true});
      co_await file.write_at(text, 0);
    }
    co_await send_a_part(s, path, text, 0, UINT64_MAX);
    co_await send_a_part(s, path, text.substr(1000, 200'000), 1000, 200'000);
    co_await send_a_part(s, path, "", text.size(), 10);
    co_await weir::remove_file(path);
  });
}

namespace {

/// SIGPIPE, for as long as it lives.
struct sigpipe {
  explicit sigpipe(sighandler_t now) : before(::signal(SIGPIPE, now)) {}
  ~sigpipe() { ::signal(SIGPIPE, before); }
  sighandler_t before;
};

struct tcp_pair {
  weir::tcp_stream client, server;
};
task<> connect_pair(shard& s, tcp_pair& into) {
  auto listener = s.listen({"127.0.0.1", 0});
  into.client = co_await weir::connect(listener.local_endpoint());
  auto peer = co_await listener.accept();
  REQUIRE(peer.has_value());
  into.server = std::move(*peer);
}

/// Sends a file of `size` bytes and gives how many of them were not copied. What is read comes
/// back.
task<std::size_t> send_to(shard& s, weir::any_stream& to, weir::any_stream& from,
                          std::size_t size) {
  temporary_directory here;
  const auto path = here.path + "/f";
  const std::string text(size, 'f');
  auto file = co_await weir::open_file(path, {.write = true, .create = true});
  co_await file.write_at(text, 0);
  co_await weir::remove_file(path);
  uncopied = most_at_once = 0;
  std::string came;
  weir::scope reading(s);
  reading.spawn(receive_all(from, came));
  const auto sent = co_await weir::send_file(to, file, 0, size);
  to.close();
  co_await reading.join();
  CHECK(sent == size);
  CHECK(came == text);
  co_return uncopied;
}

constexpr std::size_t mebibyte = 1024 * 1024;

}  // namespace

TEST_CASE("a_file_in_memory_goes_to_the_kernels_sockets_without_a_copy") {
  const sigpipe harmless(SIG_IGN);
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    tcp_pair tcp;
    co_await connect_pair(s, tcp);
    const auto before = count_of(s, "bytes_sent");
    auto n = co_await send_to(s, tcp.client, tcp.server, 8 * mebibyte);
    CHECK(n >= 64 * 1024);  // the first of it: there was room
    CHECK(most_at_once == mebibyte / 4);
    CHECK(count_of(s, "file_bytes_sent") == n);
    CHECK(count_of(s, "bytes_sent") - before == 8 * mebibyte);
    auto [a, b] = weir::make_unix_pair(s);
    n = co_await send_to(s, a, b, 8 * mebibyte);
    CHECK(n >= 64 * 1024);
  });
}

TEST_CASE(
    "a_file_is_copied_where_it_is_small_where_there_is_no_socket_and_where_sigpipe_is_deadly") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    const sigpipe harmless(SIG_IGN);
    tcp_pair tcp;
    co_await connect_pair(s, tcp);
    auto n = co_await send_to(s, tcp.client, tcp.server, 64 * 1024);
    CHECK(n == 0);
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    auto from = weir::adopt_pipe(s, weir::unique_fd(ends[0]));
    auto to = weir::adopt_pipe(s, weir::unique_fd(ends[1]));
    n = co_await send_to(s, to, from, mebibyte);
    CHECK(n == 0);
    const sigpipe deadly(SIG_DFL);
    co_await connect_pair(s, tcp);
    n = co_await send_to(s, tcp.client, tcp.server, mebibyte);
    CHECK(n == 0);
  });
}

TEST_CASE("a_file_overtakes_no_write_that_waits") {
  const sigpipe harmless(SIG_IGN);
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    temporary_directory here;
    const auto path = here.path + "/f";
    auto file = co_await weir::open_file(path, {.write = true, .create = true});
    co_await file.resize(mebibyte);
    co_await weir::remove_file(path);
    tcp_pair tcp;
    co_await connect_pair(s, tcp);
    const std::string before(32 * mebibyte, 'b');  // more than sockets hold
    weir::scope writing(s);
    uncopied = most_at_once = 0;
    writing.spawn([](weir::any_stream& to, const std::string& text) -> task<> {
      co_await to.write_all(text);
    }(tcp.client, before));
    bool ended = false;
    writing.spawn([](weir::any_stream& to, weir::file& of, bool& over) -> task<> {
      co_await weir::send_file(to, of, 0, mebibyte);
      to.shutdown_send();
      over = true;
    }(tcp.client, file, ended));
    co_await weir::yield();
    CHECK_FALSE(ended);
    CHECK(most_at_once == 0);  // it was not even tried
    std::string came;
    co_await receive_all(tcp.server, came);
    co_await writing.join();
    CHECK(came == before + std::string(mebibyte, '\0'));
  });
}

TEST_CASE("a_file_that_is_cut_while_it_is_sent_is_sent_as_far_as_it_goes") {
  const sigpipe harmless(SIG_IGN);
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    temporary_directory here;
    const auto path = here.path + "/f";
    auto file = co_await weir::open_file(path, {.write = true, .create = true});
    constexpr std::uint64_t size = 64 * mebibyte;  // more than sockets hold
    co_await file.resize(size);
    co_await weir::remove_file(path);
    tcp_pair tcp;
    co_await connect_pair(s, tcp);
    std::uint64_t counted = 0, sent = size;
    weir::scope sending(s);
    sending.spawn([](weir::any_stream& to, weir::file& of, std::uint64_t& count,
                     std::uint64_t& all) -> task<> {
      all = co_await weir::send_file(to, of, 0, size, {.sent = &count});
      to.shutdown_send();
    }(tcp.client, file, counted, sent));
    while (counted == 0) co_await weir::sleep_for(1ms);
    co_await file.resize(1);
    std::string came;
    co_await receive_all(tcp.server, came);
    co_await sending.join();
    CHECK(sent < size);
    CHECK(sent == counted);
    CHECK(came.size() == sent);
  });
}

TEST_CASE("a_file_that_is_taken_at_once_leaves_others_their_turn") {
  const sigpipe harmless(SIG_IGN);
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    tcp_pair tcp;
    co_await connect_pair(s, tcp);
    std::size_t largest_step = 0;
    bool over = false;
    uncopied = 0;
    weir::scope watching(s);
    watching.spawn([](std::size_t& largest, const bool& end) -> task<> {
      while (!end) {
        const auto before = uncopied;
        co_await weir::yield();
        if (uncopied > before) largest = std::max(largest, uncopied - before);
      }
    }(largest_step, over));
    (void)co_await send_to(s, tcp.client, tcp.server, 16 * mebibyte);
    over = true;
    co_await watching.join();
    CHECK(largest_step > 0);
    CHECK(largest_step <= mebibyte / 2);
  });
}

#if WEIR_WITH_SIM
TEST_CASE("files_on_a_simulated_disk") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  host.disk().put("/data/x", "");
  net.start(host, [](shard& s) -> task<> {
    co_await weir::remove_file("/data/x");
    auto file = co_await weir::open_file("/data/y", {.write = true, .create = true});
    co_await file.append("through a stream");
    co_await send_a_part(s, "/data/y", "a stream", 8, 100);
    CHECK_THROWS_AS((void)file.native_handle(), weir::io_error);
  });
  net.run();
  CHECK(*host.disk().contents("data/y") == "through a stream");
  CHECK(host.disk().contents("/data/x") == nullptr);
  CHECK(host.disk().contents("/data") == nullptr);  // a directory
}

TEST_CASE("a_simulated_disk_is_slow_and_the_shard_is_not") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24", {.offload_time = 20ms});
  host.disk().put("f", "contents");
  net.start(host, [](shard& s) -> task<> {
    auto file = co_await weir::open_file("f");
    weir::scope tasks(s);
    int ticks = 0;
    tasks.spawn([&ticks]() -> task<> {
      for (;;) {
        co_await weir::sleep_for(1ms);
        ++ticks;
      }
    });
    std::array<std::byte, 8> buffer;
    const auto before = s.now();
    co_await file.read_at(buffer, 0);
    CHECK(s.now() - before >= 20ms);
    CHECK(s.now() - before < 21ms);
    CHECK(ticks >= 19);  // others went on meanwhile
    tasks.cancel();
    co_await tasks.join();
  });
  net.run();
}

namespace {

/// The 99th percentile of an echo's round trip on a shard that also serves files from a disk which
/// takes 20 ms for each piece, to `readers` of them at once.
weir::duration echo_p99_beside_files(int readers) {
  weir::sim::network net({.seed = 15});
  auto& host = net.add_host("10.0.0.1/24", {.offload_time = 20ms});
  auto& client = net.add_host("10.0.0.2/24");
  net.link(host, client, {.delay = 1ms});
  host.disk().put("f", std::string(1u << 20, 'f'));
  auto& trips = net.keep(std::vector<weir::duration>());
  auto& served = net.keep(std::size_t(0));
  net.serve(host, [](shard& s) -> task<> {
    auto echoes = s.listen({"10.0.0.1", 7});
    auto files = s.listen({"10.0.0.1", 80});
    auto file = co_await weir::open_file("f");
    weir::scope sessions(s);
    sessions.spawn([&files, &file, &sessions]() -> task<> {
      while (auto peer = co_await files.accept())
        sessions.spawn([](weir::tcp_stream to, weir::file& from) -> task<> {
          std::array<std::byte, 16384> piece;
          for (std::uint64_t at = 0;; at += piece.size()) {
            const auto n = co_await from.read_at(piece, at % (1u << 20));
            auto sent = co_await to.write_all(std::span(piece).first(n)).nothrow();
            if (sent.ec) co_return;
          }
        }(std::move(*peer), file));
    });
    while (auto peer = co_await echoes.accept())
      sessions.spawn([](weir::tcp_stream of) -> task<> {
        std::array<std::byte, 64> buffer;
        for (;;) {
          auto got = co_await of.read_some(buffer).nothrow();
          if (got.n == 0) co_return;
          co_await of.write_all(std::span(buffer).first(got.n));
        }
      }(std::move(*peer)));
    co_await sessions.drain(5s);
  });
  net.start(client, [&, readers](shard& s) -> task<> {
    weir::scope tasks(s);
    for (int i = 0; i < readers; ++i)
      tasks.spawn([](shard& on, std::size_t& count) -> task<> {
        auto from = co_await on.connect({"10.0.0.1", 80});
        std::array<std::byte, 16384> buffer;
        for (;;) {
          auto got = co_await from.read_some(buffer).nothrow();
          if (got.ec) co_return;
          count += got.n;
        }
      }(s, served));
    auto to = co_await s.connect({"10.0.0.1", 7});
    std::array<std::byte, 64> bytes{};
    for (int i = 0; i < 500; ++i) {
      const auto before = s.now();
      co_await to.write_all(bytes);
      co_await to.read_exactly(bytes);
      trips.push_back(s.now() - before);
      co_await weir::sleep_for(1ms);
    }
    tasks.cancel();
    co_await tasks.join();
  });
  net.run();
  CHECK((served > 0) == (readers > 0));
  REQUIRE(trips.size() == 500);
  std::sort(trips.begin(), trips.end());
  return trips[trips.size() * 99 / 100];
}

}  // namespace

TEST_CASE("an_echo_is_as_quick_beside_a_file_server_whose_disk_is_slow") {
  const auto alone = echo_p99_beside_files(0);
  CHECK(alone >= 2ms);
  CHECK(echo_p99_beside_files(16) <= alone * 2);
}

TEST_CASE("a_simulated_disk_is_full_and_broken_when_the_test_wants_it") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  auto disk = host.disk();
  disk.put("f", "12345");
  disk.set_capacity(8);
  net.start(host, [&](shard&) -> task<> {
    auto file = co_await weir::open_file("f", {.write = true});
    const auto full = co_await file.append("6789").nothrow();
    CHECK(full.error() == std::errc::no_space_on_device);
    auto n = co_await file.append("678");
    CHECK(n == 3);
    disk.fail_next(std::make_error_code(std::errc::io_error), 2);
    std::array<std::byte, 8> buffer;
    auto broken = co_await file.read_at(buffer, 0).nothrow();
    CHECK(broken.error() == std::errc::io_error);
    const auto synced = co_await file.sync().nothrow();
    CHECK(synced.error() == std::errc::io_error);
    n = co_await file.read_at(buffer, 0);
    CHECK(n == 8);
  });
  net.run();
}
#endif
