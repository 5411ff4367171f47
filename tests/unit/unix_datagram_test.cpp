// Unix datagram sockets as files, and what only the kernel's can: left-behind names, modes,
// descriptors that travel, sockets that others opened.
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
#include "weir/unix_datagrams.hpp"

using namespace std::chrono_literals;
using back_ends::on_kernel_back_ends;
using weir::shard;
using weir::task;
using weir::unique_fd;
using weir::unix_endpoint;

namespace {

std::string fresh_path() {
  static int count = 0;
  return "/tmp/weir-unit-dgram-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
}

unique_fd bound_by_hand(const std::string& path) {
  unique_fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

}  // namespace

TEST_CASE("the_file_of_a_dead_datagram_socket_is_replaced_and_goes_with_its_own") {
  on_kernel_back_ends([](shard& s) -> task<> {
    const auto path = fresh_path();
    bound_by_hand(path).reset();
    auto socket = weir::bind_datagrams(s, unix_endpoint(path), {.mode = 0600});
    struct stat found;
    REQUIRE(::lstat(path.c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0600);
    socket.close();
    CHECK(::lstat(path.c_str(), &found) != 0);
    co_return;
  });
}

TEST_CASE("descriptors_travel_with_datagrams_up_to_what_is_expected") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto pair = weir::make_datagram_pair(s);
    unique_fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const std::array<int, 3> three{null.get(), null.get(), null.get()};
    const auto before = open_descriptors();
    std::array<std::byte, 8> buffer;
    co_await pair.first.send(bytes_of("x"), three);
    co_await pair.second.receive(buffer);
    CHECK(open_descriptors() == before);  // nobody expected any
    pair.second.expect_descriptors(2);
    co_await pair.first.send(bytes_of("x"), three);
    co_await pair.second.receive(buffer);
    auto came = pair.second.take_descriptors();
    CHECK(came.size() == 2);
    CHECK(open_descriptors() == before + 2);
    const std::array<int, 1> closed{1000};
    auto bad = co_await pair.first.send(bytes_of("x"), closed).nothrow();
    CHECK(bad.ec == std::errc::bad_file_descriptor);
    const std::vector<int> many(weir::unix_datagram_socket::max_descriptors + 1, null.get());
    bad = co_await pair.first.send(bytes_of("x"), many).nothrow();
    CHECK(bad.ec == std::errc::invalid_argument);
  });
}

TEST_CASE("a_datagram_socket_that_somebody_else_opened_is_adopted") {
  on_kernel_back_ends([](shard& s) -> task<> {
    const auto path = fresh_path();
    auto theirs = bound_by_hand(path);
    auto socket = weir::adopt_datagrams(s, std::move(theirs));
    CHECK(socket.local_endpoint() == unix_endpoint(path));
    CHECK_FALSE(socket.connected());
    auto client = weir::connect_datagrams(s, unix_endpoint(path));
    co_await client.send("hello");
    std::array<std::byte, 16> buffer;
    auto got = co_await socket.receive_from(buffer);
    CHECK(got.n == 5);
    CHECK(got.from.name == client.local_endpoint());
    socket.close();
    CHECK(::unlink(path.c_str()) == 0);  // its path stays
    unique_fd stream(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto wrong = weir::try_adopt_datagrams(s, stream);
    REQUIRE_FALSE(wrong.has_value());
    CHECK(wrong.error() == std::errc::wrong_protocol_type);
    CHECK(stream);
    unique_fd pipe(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    wrong = weir::try_adopt_datagrams(s, pipe);
    REQUIRE_FALSE(wrong.has_value());
    CHECK(wrong.error() == std::errc::not_a_socket);
  });
}

TEST_CASE("who_sent_a_datagram_is_what_the_kernel_says") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto server = weir::bind_datagrams(s, unix_endpoint());
    auto client = weir::connect_datagrams(s, server.local_endpoint());
    std::array<std::byte, 16> buffer;
    for (int i = 0; i < 3; ++i) {
      co_await client.send("who");
      auto got = co_await server.receive_from(buffer);
      CHECK(got.from.credentials.pid == ::getpid());
      CHECK(got.from.credentials.uid == ::getuid());
      CHECK(got.from.credentials.gid == ::getgid());
    }
  });
}
