// services --udp-echo and the udp_echo example, from outside.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "programs/harness.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"

using namespace programs;

namespace {

/// A connected UDP socket of the kernel's. Every failure fails the test.
class udp_client {
 public:
  udp_client(const place& where, const weir::endpoint& from = {}) {
    weir::endpoint to(where.address.c_str(), where.port);
    weir::detail::kernel::socket_address address(to);
    fd_.reset(::socket(address.data()->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    REQUIRE(fd_);
    if (from != weir::endpoint()) {
      weir::detail::kernel::socket_address own(from);
      REQUIRE(::bind(fd_.get(), own.data(), own.size) == 0);
    }
    REQUIRE(::connect(fd_.get(), address.data(), address.size) == 0);
  }
  bool try_send(const std::string& bytes) {
    return ::send(fd_.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size());
  }
  void send(const std::string& bytes) { REQUIRE(try_send(bytes)); }
  /// One datagram; fails the test when none comes.
  std::string receive() {
    auto got = receive_within(patience);
    REQUIRE(got != "nothing came");
    return got;
  }
  std::string receive_within(std::chrono::milliseconds time) {
    pollfd ready{fd_.get(), POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(time.count())) != 1) return "nothing came";
    std::string out(65536, '\0');
    auto n = ::recv(fd_.get(), out.data(), out.size(), 0);
    if (n < 0) return "error " + std::to_string(errno);
    out.resize(static_cast<std::size_t>(n));
    return out;
  }

 private:
  weir::detail::kernel::unique_fd fd_;
};

}  // namespace

ON_EVERY_BACKEND(services_send_each_datagram_back) {
  process p(
      command_line(services(), on, {"--udp-echo", on.address + ":7", "--echo", on.address + ":7"}));
  p.wait_line("listening echo ");
  auto where = place_of(p.wait_line("listening udp-echo "));
  CHECK(where.port == 7);
  udp_client c(where);
  for (std::size_t size : {1u, 0u, 100u, 1472u, 1473u, 9000u, 65507u}) {
    auto bytes = some_bytes(size);
    c.send(bytes);
    CHECK(c.receive() == bytes);
  }
  // TCP beside it, on the same port.
  client stream(where.address, 7);
  stream.send("both");
  CHECK(stream.receive(4) == "both");
  stream.end_of_stream();
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

ON_EVERY_BACKEND(udp_echo_does_not_answer_another_service) {
  process p(command_line(services(), on, {"--udp-echo", on.address + ":7"}));
  auto where = place_of(p.wait_line("listening udp-echo "));
  udp_client service(where, {weir::ip_address(), 19});
  udp_client c(where);
  service.send("chargen says");
  c.send("and I?");
  CHECK(c.receive() == "and I?");  // so the first was looked at before
  CHECK(service.receive_within(std::chrono::milliseconds(0)) == "nothing came");
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

TEST_CASE("services_say_why_a_udp_port_cannot_be_had") {
  if (!own_network()) return;
  for (const char* name : {"asio", "uring"}) {
    if (!usable(name)) continue;
    auto wildcard = run({services(), "--backend", name, "--udp-echo", "0.0.0.0:7"});
    CHECK(wildcard.code == 1);
    CHECK(wildcard.err.find("--listen.allow_wildcard") != std::string::npos);
    auto foreign = run({services(), "--backend", name, "--udp-echo", "192.0.2.1:7"});
    CHECK(foreign.code == 1);
    CHECK(foreign.err.find("no interface") != std::string::npos);
  }
}

ON_EVERY_BACKEND(services_share_a_udp_port_among_shards) {
  process p(command_line(services(), on, {"--shards", "2", "--udp-echo", on.address + ":7"}));
  auto where = place_of(p.wait_line("listening udp-echo "));
  for (int i = 0; i < 20; ++i) {  // by their ports they fall to one shard or the other
    udp_client c(where);
    c.send("who?");
    CHECK(c.receive() == "who?");
  }
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

namespace {

/// The program says nothing; a datagram is refused until it is there.
void wait_for_echo(const place& where) {
  for (auto until = std::chrono::steady_clock::now() + patience;
       std::chrono::steady_clock::now() < until;) {
    udp_client c(where);
    if (!c.try_send("there?")) continue;
    auto answer = c.receive_within(std::chrono::milliseconds(100));
    if (answer == "there?") break;
  }
}

}  // namespace

TEST_CASE("the_udp_any_example_answers_from_the_address_that_was_asked") {
  if (!own_network()) return;
  // Without being told which, the kernel would answer fd00::1 from fd00::1, and the connected
  // client would not hear it.
  for (const char* address : {"fd00::1/128", "fd00::2/128"})
    REQUIRE(run({"/usr/bin/env", "ip", "addr", "add", address, "dev", "lo", "nodad"}).code == 0);
  for (const char* name : {"asio", "uring"}) {
    if (!usable(name)) continue;
    CAPTURE(name);
    process p({WEIR_UDP_ANY, "--backend", name});
    wait_for_echo({"::1", 7});
    for (const char* own : {"fd00::1", "::1"})
      for (const char* asked : {"fd00::2", "fd00::1", "::1"}) {
        udp_client c({asked, 7}, {own, 0});
        for (int i = 0; i < 40; ++i) c.send(some_bytes(100));
        for (int i = 0; i < 40; ++i) CHECK(c.receive() == some_bytes(100));
      }
    p.signal(SIGTERM);
    CHECK(p.wait() == 0);
  }
}

TEST_CASE("the_udp_echo_example_serves") {
  if (!own_network()) return;
  process p({udp_echo_program(), "--backend", kernel_backend});
  wait_for_echo({"127.0.0.1", 7});
  udp_client c({"127.0.0.1", 7});
  auto bytes = some_bytes(65507);
  c.send(bytes);
  CHECK(c.receive() == bytes);
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}
