// Link-local addresses in their zones, on interfaces that the test makes for itself: one of them
// has the address, and the other has not.
#include <doctest/doctest.h>

#include <net/if.h>
#include <signal.h>

#include <string>

#include "programs/harness.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"

using namespace programs;

namespace {

void ip(std::vector<std::string> words) {
  words.insert(words.begin(), {"/usr/bin/env", "ip"});
  const auto done = run(words);
  REQUIRE_MESSAGE(done.code == 0, done.err);
}

}  // namespace

TEST_CASE("a_server_in_a_zone_is_there_and_reached_through_it") {
  if (!own_network()) return;
  ip({"link", "add", "left", "type", "veth", "peer", "name", "right"});
  for (const char* name : {"left", "right"}) ip({"link", "set", name, "up"});
  ip({"addr", "add", "fe80::7/64", "dev", "left", "nodad"});
  const auto left = ::if_nametoindex("left"), right = ::if_nametoindex("right");
  for (const char* name : {"asio", "uring"}) {
    if (!usable(name)) continue;
    CAPTURE(name);
    process p({services(), "--backend", name, "--echo", "[fe80::7%left]:7", "--udp-echo",
               "[fe80::7%left]:7"});
    const auto said = p.wait_line("listening echo ");
    CHECK(said.find("[fe80::7%" + std::to_string(left) + "]:7") != std::string::npos);
    p.wait_line("listening udp-echo ");
    const auto address = "fe80::7%" + std::to_string(left);
    client c(address, 7);
    c.send("hello");
    CHECK(c.receive(5) == "hello");
    c.end_of_stream();
    weir::detail::kernel::socket_address there(weir::endpoint(address.c_str(), 7));
    weir::unique_fd fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(fd.get(), there.data(), there.size) == 0);
    CHECK(::send(fd.get(), "who?", 4, 0) == 4);
    char back[8];
    CHECK(::recv(fd.get(), back, sizeof back, 0) == 4);
    p.signal(SIGTERM);
    CHECK(p.wait() == 0);
    // In the other zone the address is nobody's.
    const auto other = run({services(), "--backend", name, "--echo", "[fe80::7%right]:7"});
    CHECK(other.code == 1);
    CHECK(other.err.find("fe80::7%" + std::to_string(right)) != std::string::npos);
  }
}
