// Unix sockets as files, and what only the kernel's can: left-behind names, modes, credentials, and
// descriptors that travel with bytes.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "unit/back_ends.hpp"

using namespace std::chrono_literals;
using back_ends::on_kernel_back_ends;
using weir::shard;
using weir::task;
using weir::unique_fd;
using weir::unix_endpoint;

namespace {

std::string fresh_path() {
  static int count = 0;
  return "/tmp/weir-unit-unix-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
}
bool exists(const std::string& path) {
  struct stat found;
  return ::lstat(path.c_str(), &found) == 0;
}

/// What a server that was killed leaves behind.
void leave_behind(const std::string& path) {
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("names_of_unix_sockets_are_read_and_written") {
  CHECK(unix_endpoint::parse("unix:/run/x.sock")->name() == "/run/x.sock");
  CHECK(unix_endpoint::parse("unix:/run/x.sock")->is_path());
  CHECK(unix_endpoint::parse("unix:@name")->is_abstract());
  CHECK(unix_endpoint::parse("unix:@name")->to_string() == "unix:@name");
  CHECK(unix_endpoint::parse("unix:")->is_unnamed());
  CHECK_FALSE(unix_endpoint::parse("/run/x.sock"));
  CHECK_FALSE(unix_endpoint::parse("unix:@"));
  CHECK(unix_endpoint::parse("unix:" + std::string(107, 'x')));
  CHECK_FALSE(unix_endpoint::parse("unix:" + std::string(108, 'x')));
  CHECK_FALSE(unix_endpoint::parse(std::string_view("unix:a\0b", 8)));
  CHECK_THROWS_AS(unix_endpoint(std::string(200, 'x')), std::invalid_argument);
  CHECK(unix_endpoint("@a") == unix_endpoint("@a"));
  CHECK_FALSE(unix_endpoint("@a") == unix_endpoint("a"));
}

TEST_CASE("a_file_that_a_dead_listener_left_makes_way_and_nothing_else_does") {
  on_kernel_back_ends([](shard& s) -> task<> {
    const auto path = fresh_path();
    leave_behind(path);
    CHECK(exists(path));
    {
      auto listener = s.listen(unix_endpoint(path));
      auto client = co_await weir::connect(unix_endpoint(path));
      CHECK(s.try_listen(unix_endpoint(path)).error() == std::errc::address_in_use);
    }
    CHECK_FALSE(exists(path));
    {
      unique_fd file(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    }
    CHECK(s.try_listen(unix_endpoint(path)).error() == std::errc::address_in_use);
    CHECK(exists(path));
    ::unlink(path.c_str());
    CHECK(s.try_listen(unix_endpoint("/nowhere/x")).error() ==
          std::errc::no_such_file_or_directory);
  });
}

TEST_CASE("a_listener_takes_its_own_file_with_it_and_no_other") {
  on_kernel_back_ends([](shard& s) -> task<> {
    const auto path = fresh_path();
    auto first = s.listen(unix_endpoint(path));
    ::unlink(path.c_str());
    auto second = s.listen(unix_endpoint(path));
    first.close();
    CHECK(exists(path));  // the second one's
    second.keep_path();
    second.close();
    CHECK(exists(path));
    ::unlink(path.c_str());
    co_return;
  });
}

TEST_CASE("the_mode_of_a_path_says_who_may_connect") {
  on_kernel_back_ends([](shard& s) -> task<> {
    const auto path = fresh_path();
    auto listener = s.listen(unix_endpoint(path), {.mode = 0640});
    struct stat file;
    REQUIRE(::lstat(path.c_str(), &file) == 0);
    CHECK((file.st_mode & 0777) == 0640);
    co_return;
  });
}

TEST_CASE("the_peers_credentials_are_told") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto listener = s.listen(unix_endpoint());
    auto client = co_await weir::connect(listener.local_endpoint());
    auto peer = co_await listener.accept();
    CHECK(peer->peer_credentials().pid == ::getpid());
    CHECK(peer->peer_credentials().uid == ::getuid());
    CHECK(client.peer_credentials().gid == ::getgid());
  });
}

TEST_CASE("descriptors_travel_with_bytes_in_order") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto pair = weir::make_unix_pair(s);
    pair.second.expect_descriptors(4);
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    unique_fd in(ends[0]), out(ends[1]);
    const std::array<int, 2> both{in.get(), out.get()};
    co_await pair.first.write_all("before ");
    auto n = co_await pair.first.write_with(bytes_of("with "), both);
    CHECK(n == 5);
    co_await pair.first.write_all("after");
    pair.first.shutdown_send();
    std::string text;
    std::array<std::byte, 64> buffer;
    std::vector<unique_fd> came;
    for (;;) {
      n = co_await pair.second.read_some(buffer);
      if (n == 0) break;
      text.append(reinterpret_cast<char*>(buffer.data()), n);
      if (came.empty()) {
        came = pair.second.take_descriptors();
        if (!came.empty()) CHECK(text == "before with ");
      }
    }
    CHECK(text == "before with after");
    REQUIRE(came.size() == 2);
    in.reset();
    out.reset();
    CHECK((::fcntl(came[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
    REQUIRE(::write(came[1].get(), "through", 7) == 7);
    char piece[7];
    CHECK(::read(came[0].get(), piece, sizeof piece) == 7);
  });
}

TEST_CASE("descriptors_that_nobody_expects_are_closed") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto pair = weir::make_unix_pair(s);
    unique_fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const std::array<int, 3> three{null.get(), null.get(), null.get()};
    const auto before = open_descriptors();
    co_await pair.first.write_with(bytes_of("x"), three);
    std::array<std::byte, 8> buffer;
    co_await pair.second.read_some(buffer);
    CHECK(open_descriptors() == before);
    pair.second.expect_descriptors(2);
    co_await pair.first.write_with(bytes_of("x"), three);
    co_await pair.second.read_some(buffer);
    CHECK(open_descriptors() == before + 2);
    CHECK(pair.second.take_descriptors().size() == 2);
    CHECK(open_descriptors() == before);
  });
}

TEST_CASE("what_cannot_be_passed_fails_its_own_write_alone") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto pair = weir::make_unix_pair(s);
    const int closed = 1000;
    auto bad = co_await pair.first.write_with(bytes_of("x"), std::span(&closed, 1)).nothrow();
    CHECK(bad.ec == std::errc::bad_file_descriptor);
    CHECK(bad.n == 0);
    auto none = co_await pair.first.write_with(bytes_of("x"), {}).nothrow();
    CHECK(none.ec == std::errc::invalid_argument);
    const int in = 0;
    none = co_await pair.first.write_with({}, std::span(&in, 1)).nothrow();
    CHECK(none.ec == std::errc::invalid_argument);
    std::vector<int> many(254, 0);
    none = co_await pair.first.write_with(bytes_of("x"), many).nothrow();
    CHECK(none.ec == std::errc::invalid_argument);
    co_await pair.first.write_all("the stream lives on");
    std::array<std::byte, 19> buffer;
    co_await pair.second.read_exactly(buffer);
  });
}

namespace {

task<int> accept_one(shard& there, const unix_endpoint& at, weir::event* listens, shard* home) {
  auto listener = there.listen(at, {.sharing = weir::sharing::shared});
  home->post([listens] { listens->set(); });
  auto peer = co_await listener.accept().timeout(30s);
  co_return peer ? 1 : 0;
}

task<int> accept_over_there(shard& there, const unix_endpoint& at, weir::event* listens,
                            shard* home) {
  auto got = co_await weir::submit_to(there, accept_one(there, at, listens, home));
  co_return got;
}

task<int> connect_twice(const unix_endpoint& at, weir::event* first, weir::event* second) {
  co_await first->wait();
  co_await second->wait();
  auto one = co_await weir::connect(at);
  auto two = co_await weir::connect(at);
  std::array<std::byte, 1> end;
  (void)co_await one.read_some(end).nothrow();
  (void)co_await two.read_some(end).nothrow();
  co_return 2;
}

}  // namespace

TEST_CASE("shards_of_a_program_share_one_path") {
  on_kernel_back_ends([](shard& s) -> task<> {
    const auto path = fresh_path();
    const unix_endpoint at(path);
    auto family = std::make_shared<weir::shard_family>();
    weir::shard_thread first(s.settings(), 0, family);
    weir::shard_thread second(s.settings(), 1, family);
    weir::event one, two;
    auto accepted = co_await weir::when_all(accept_over_there(first.shard(), at, &one, &s),
                                            accept_over_there(second.shard(), at, &two, &s),
                                            connect_twice(at, &one, &two));
    CHECK(std::get<0>(accepted) + std::get<1>(accepted) == 2);
    CHECK_FALSE(exists(path));  // it went with the last
  });
}

TEST_CASE("a_unix_socket_that_somebody_else_made_is_adopted") {
  on_kernel_back_ends([](shard& s) -> task<> {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    unique_fd first(ends[0]), second(ends[1]);
    const int number = first.get();
    auto ours = weir::adopt_unix(s, std::move(first));
    CHECK(ours.native_handle() == number);
    REQUIRE(::send(second.get(), "hello", 5, 0) == 5);
    std::array<std::byte, 5> buffer;
    co_await ours.read_exactly(buffer);

    const auto path = fresh_path();
    unique_fd raw(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    REQUIRE(::bind(raw.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(raw.get(), 8) == 0);
    auto listener = weir::adopt_unix_listener(s, std::move(raw));
    CHECK(listener.local_endpoint() == unix_endpoint(path));
    auto client = co_await weir::connect(unix_endpoint(path));
    auto peer = co_await listener.accept();
    CHECK(peer.has_value());
    listener.close();
    CHECK(exists(path));  // its maker's
    ::unlink(path.c_str());
  });
}

TEST_CASE("lent_buffers_of_unix_streams_are_bounded_and_readers_wait_in_order") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto pair = weir::make_unix_pair(s);
    std::vector<weir::lent_buffer> held;
    for (int i = 0; i < 64; ++i) {
      co_await pair.first.write_all("x");
      held.push_back(co_await pair.second.receive());
    }
    co_await pair.first.write_all("y");
    auto none = co_await pair.second.receive().timeout(1ms).nothrow();
    CHECK(none.error() == std::errc::timed_out);
    held.pop_back();
    auto next = co_await pair.second.receive();
    CHECK(next.size() == 1);
    std::array<std::byte, 1> direct;
    co_await pair.first.write_all("z");
    auto n = co_await pair.second.read_some(direct);  // needs no buffer
    CHECK(n == 1);
  });
}
