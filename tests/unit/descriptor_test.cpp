// Descriptors that somebody else opened, on both back ends on kernel sockets: adopted, refused with
// the reason, and still the caller's then.
#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pty.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string>

#include "runtime/transport/kernel/kernel_socket.hpp"
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

const weir::endpoint loopback("127.0.0.1", 0);

unique_fd bound(int type, bool listens, const weir::endpoint& at = loopback) {
  unique_fd fd(::socket(at.address.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0));
  weir::detail::kernel::socket_address address(at);
  REQUIRE(::bind(fd.get(), address.data(), address.size) == 0);
  if (listens) REQUIRE(::listen(fd.get(), 8) == 0);
  return fd;
}

struct two {
  unique_fd first, second;
};
two pipe_ends(int flags = O_CLOEXEC) {
  int ends[2];
  REQUIRE(::pipe2(ends, flags) == 0);
  return {unique_fd(ends[0]), unique_fd(ends[1])};
}
two unix_ends() {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  return {unique_fd(ends[0]), unique_fd(ends[1])};
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

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
bool waits(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

}  // namespace

TEST_CASE("a_listener_that_somebody_else_opened_serves") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto fd = bound(SOCK_STREAM, true);
    const int number = fd.get();
    auto listener = weir::adopt_listener(s, std::move(fd));
    CHECK_FALSE(fd);
    CHECK(listener.native_handle() == number);
    CHECK(listener.local_endpoint().port != 0);
    auto client = co_await weir::connect(listener.local_endpoint());
    auto peer = co_await listener.accept();
    co_await peer->write_all("served");
    peer->close();
    auto text = co_await read_all(client);
    CHECK(text == "served");
    listener.close();
    co_await weir::yield();
  });
}

TEST_CASE("a_listener_that_was_adopted_listens_on_for_whoever_opened_it") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto fd = bound(SOCK_STREAM, true);
    unique_fd kept(::dup(fd.get()));
    const auto at = weir::detail::kernel::local_endpoint_of(kept.get());
    for (int i = 0; i < 2; ++i) {
      unique_fd copy(::dup(kept.get()));
      auto listener = weir::adopt_listener(s, std::move(copy));
      auto none = co_await listener.accept().timeout(1ms).nothrow();  // one is under way
      CHECK(none.error() == std::errc::timed_out);
      weir::scope tasks(s);
      tasks.spawn(
          [](weir::tcp_listener& l) -> task<> { (void)co_await l.accept().nothrow(); }(listener));
      co_await weir::sleep_for(1ms);
      listener.close();
      co_await tasks.join();
    }
    auto client = co_await weir::connect(at);  // waits in the queue, and is not lost
    auto listener = weir::adopt_listener(s, std::move(kept));
    auto peer = co_await listener.accept().timeout(30s);
    CHECK(peer.has_value());
  });
}

TEST_CASE("a_connection_that_somebody_else_made_is_read_and_written") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    unique_fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    weir::detail::kernel::socket_address to(listener.local_endpoint());
    REQUIRE(::connect(fd.get(), to.data(), to.size) == 0);
    const int number = fd.get();
    auto ours = weir::adopt_tcp(s, std::move(fd));
    CHECK(ours.native_handle() == number);
    CHECK(ours.remote_endpoint() == listener.local_endpoint());
    auto peer = co_await listener.accept();
    CHECK(ours.local_endpoint() == peer->remote_endpoint());
    co_await ours.write_all("there");
    ours.shutdown_send();
    auto there = co_await read_all(*peer);
    CHECK(there == "there");
    co_await peer->write_all("back");
    peer->close();
    auto back = co_await read_all(ours);
    CHECK(back == "back");
  });
}

TEST_CASE("udp_sockets_that_somebody_else_opened_go_on_as_they_were") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto server = weir::adopt_udp(s, bound(SOCK_DGRAM, false));
    CHECK_FALSE(server.connected());
    auto raw = bound(SOCK_DGRAM, false);
    weir::detail::kernel::socket_address to(server.local_endpoint());
    REQUIRE(::connect(raw.get(), to.data(), to.size) == 0);
    const int number = raw.get();
    auto client = weir::adopt_udp(s, std::move(raw));
    CHECK(client.native_handle() == number);
    CHECK(client.connected());
    CHECK(client.remote_endpoint() == server.local_endpoint());
    co_await client.send("a datagram");
    std::array<std::byte, 64> buffer;
    auto got = co_await server.receive_from(buffer);
    CHECK(got.n == 10);
    CHECK(got.from == client.local_endpoint());
  });
}

TEST_CASE("an_adopted_udp_socket_of_either_family_tells_marks_and_destinations") {
  on_kernel_back_ends([](shard& s) -> task<> {
    for (const weir::endpoint at : {weir::endpoint("127.0.0.1", 0), weir::endpoint("::1", 0)}) {
      CAPTURE(at.to_string());
      auto server = weir::adopt_udp(s, bound(SOCK_DGRAM, false, at));
      CHECK(server.local_endpoint().address == at.address);
      auto client = weir::adopt_udp(s, bound(SOCK_DGRAM, false, at));
      const auto bytes = std::as_bytes(std::span("marked", 6));
      const std::array<weir::outgoing_datagram, 1> out{{{.bytes = bytes,
                                                         .to = server.local_endpoint(),
                                                         .from = {.address = at.address},
                                                         .mark = weir::ecn_mark::capable_0}}};
      const auto sent = co_await client.send_batch(out);
      CHECK(sent == 1);
      std::array<std::byte, 64> buffer;
      std::array<weir::incoming_datagram, 1> in{{{.buffer = buffer}}};
      const auto came = co_await server.receive_batch(in);
      REQUIRE(came == 1);
      CHECK(in[0].n == bytes.size());
      CHECK(in[0].from == client.local_endpoint());
      CHECK(in[0].to.address == at.address);
      CHECK(in[0].mark == weir::ecn_mark::capable_0);
    }
  });
}

TEST_CASE("what_a_descriptor_is_not_is_said_and_it_stays_the_callers") {
  on_kernel_back_ends([](shard& s) -> task<> {
    const auto refused = [&](auto adopt, unique_fd& fd, std::errc why) {
      const int number = fd.get();
      auto got = adopt(s, fd);
      CHECK(got.error() == why);
      CHECK(fd.get() == number);
      if (number >= 0) CHECK(is_open(number));
    };
    unique_fd none;
    auto listens = bound(SOCK_STREAM, true);
    auto idle = bound(SOCK_STREAM, false);
    auto udp = bound(SOCK_DGRAM, false);
    unique_fd unbound(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    auto pipe = pipe_ends();
    auto local = unix_ends();
    unique_fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    refused(weir::try_adopt_listener, none, std::errc::bad_file_descriptor);
    refused(weir::try_adopt_listener, file, std::errc::not_a_socket);
    refused(weir::try_adopt_listener, pipe.first, std::errc::not_a_socket);
    refused(weir::try_adopt_listener, idle, std::errc::invalid_argument);
    refused(weir::try_adopt_listener, udp, std::errc::wrong_protocol_type);
    refused(weir::try_adopt_listener, local.first, std::errc::address_family_not_supported);
    refused(weir::try_adopt_tcp, none, std::errc::bad_file_descriptor);
    refused(weir::try_adopt_tcp, listens, std::errc::invalid_argument);
    refused(weir::try_adopt_tcp, idle, std::errc::not_connected);
    refused(weir::try_adopt_tcp, udp, std::errc::wrong_protocol_type);
    refused(weir::try_adopt_tcp, local.first, std::errc::address_family_not_supported);
    refused(weir::try_adopt_udp, listens, std::errc::wrong_protocol_type);
    refused(weir::try_adopt_udp, unbound, std::errc::invalid_argument);
    refused(weir::try_adopt_unix, listens, std::errc::address_family_not_supported);
    refused(weir::try_adopt_unix, file, std::errc::not_a_socket);
    refused(weir::try_adopt_unix_listener, local.first, std::errc::invalid_argument);
    refused(weir::try_adopt_pipe, none, std::errc::bad_file_descriptor);
    refused(weir::try_adopt_pipe, file, std::errc::invalid_argument);
    refused(weir::try_adopt_pipe, listens, std::errc::invalid_argument);
    CHECK_THROWS_AS((void)weir::adopt_tcp(s, std::move(idle)), weir::io_error);
    CHECK(idle);
    CHECK(waits(idle.get()));
    co_return;
  });
}

TEST_CASE("a_pipe_is_read_and_written_and_its_other_owners_flags_stay") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto ends = pipe_ends();
    unique_fd shared(::dup(ends.first.get()));  // somebody who has the same open file
    auto in = weir::adopt_pipe(s, std::move(ends.first));
    auto out = weir::adopt_pipe(s, std::move(ends.second));
    CHECK(waits(shared.get()));
    shared.reset();
    std::array<std::byte, 8> buffer;
    auto late = co_await in.read_some(buffer).timeout(1ms).nothrow();
    CHECK(late.ec == std::errc::timed_out);
    std::string much(300'000, 'x');
    auto stuck = co_await out.write_all(much).timeout(1ms).nothrow();
    CHECK(stuck.ec == std::errc::timed_out);
    CHECK(stuck.n >= 4096);
    out.shutdown_send();
    auto text = co_await read_all(in);
    CHECK(text == much.substr(0, stuck.n));
    std::error_code error;
    in.shutdown_send(error);
    CHECK(error == std::errc::not_connected);  // there is nothing to shut
  });
}

TEST_CASE("a_pipe_that_nobody_reads_is_a_broken_connection") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto ends = pipe_ends(O_CLOEXEC | O_NONBLOCK);
    auto out = weir::adopt_pipe(s, std::move(ends.second));
    ends.first.reset();
    const auto before = ::signal(SIGPIPE, SIG_IGN);
    auto sent = co_await out.write_all("x").nothrow();
    ::signal(SIGPIPE, before);
    CHECK(sent.ec == std::errc::connection_reset);
  });
}

TEST_CASE("a_terminal_is_a_stream_and_a_device_too") {
  on_kernel_back_ends([](shard& s) -> task<> {
    int master = -1, slave = -1;
    REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
    unique_fd user(master), terminal(slave);
    unique_fd shell(::dup(slave));
    auto stream = weir::adopt_pipe(s, std::move(terminal));
    CHECK(waits(shell.get()));
    REQUIRE(::write(user.get(), "typed\n", 6) == 6);
    std::array<std::byte, 64> buffer;
    auto n = co_await stream.read_some(buffer);
    CHECK(std::string(reinterpret_cast<char*>(buffer.data()), n) == "typed\n");
    co_await stream.write_all("shown");
    std::error_code error;
    stream.shutdown_send(error);
    CHECK(error == std::errc::not_connected);
    auto zeros = weir::adopt_pipe(s, unique_fd(::open("/dev/zero", O_RDONLY | O_CLOEXEC)));
    n = co_await zeros.read_exactly(buffer);
    CHECK(n == buffer.size());
  });
}

#if WEIR_WITH_SIM
TEST_CASE("what_has_no_descriptor_says_so") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard& s) -> task<> {
    auto fd = bound(SOCK_STREAM, true);
    CHECK(weir::try_adopt_listener(s, fd).error() == std::errc::operation_not_supported);
    CHECK(weir::try_adopt_tcp(s, fd).error() == std::errc::operation_not_supported);
    CHECK(weir::try_adopt_udp(s, fd).error() == std::errc::operation_not_supported);
    CHECK(weir::try_adopt_pipe(s, fd).error() == std::errc::operation_not_supported);
    CHECK(weir::try_adopt_unix(s, fd).error() == std::errc::operation_not_supported);
    CHECK(fd);
    auto listener = s.listen({"10.0.0.1", 7});
    CHECK_THROWS_AS((void)listener.native_handle(), weir::io_error);
    auto client = co_await weir::connect({"10.0.0.1", 7});
    CHECK_THROWS_AS((void)client.native_handle(), weir::io_error);
    auto socket = s.bind_udp({"10.0.0.1", 7});
    CHECK_THROWS_AS((void)socket.native_handle(), weir::io_error);
    auto pair = weir::make_unix_pair(s);
    CHECK_THROWS_AS((void)pair.first.native_handle(), weir::io_error);
    CHECK_THROWS_AS(pair.first.expect_descriptors(1), weir::io_error);
    int passed = 1;
    auto sent =
        co_await pair.first.write_with(std::as_bytes(std::span("x", 1)), std::span(&passed, 1))
            .nothrow();
    CHECK(sent.ec == std::errc::operation_not_supported);
  });
  net.run();
}
#endif
