// Names from a real server, dnsmasq, in a network of the test's own: the fetch_name example on
// every back end, over UDP and over TCP.
#include <doctest/doctest.h>
#include <unistd.h>

#include <string>

#include "programs/harness.hpp"

using namespace programs;

namespace {

const std::string dnsmasq = "/usr/sbin/dnsmasq";
constexpr const char* port = "5353";

/// The server's place as seen from the back end: this machine's end of the device, or loopback.
std::string server_for(const backend& on) {
  return on.name == "stack" ? "198.18.0.1" : "127.0.0.1";
}

std::vector<std::string> server_command(const std::string& address) {
  std::vector<std::string> out{dnsmasq,
                               "--keep-in-foreground",
                               "--conf-file=/dev/null",
                               "--no-resolv",
                               "--no-hosts",
                               "--user=",
                               "--port",
                               port,
                               "--pid-file=",
                               "--log-facility=-"};
  out.push_back("--host-record=host.test," + address);
  out.push_back("--cname=alias.test,host.test");
  out.push_back("--local=/test/");
  // More than a datagram of 512 bytes holds.
  for (int i = 1; i <= 60; ++i)
    out.push_back("--host-record=many.test,198.18.7." + std::to_string(i));
  return out;
}

}  // namespace

ON_EVERY_BACKEND(names_come_from_a_real_server_and_lead_to_a_connection) {
  if (::access(dnsmasq.c_str(), X_OK) != 0) {
    printf("SKIPPED: dnsmasq is missing (dnsmasq-base)\n");
    return;
  }
  const auto address = server_for(on);
  process server(server_command(address));
  (void)server.wait_error_line("dnsmasq[");
  auto fetch = [&](const std::string& name) {
    return run(
        command_line(WEIR_FETCH_NAME, on,
                     {"--resolve.servers", address + ":" + port, "--host", name, "--port", port}));
  };
  // dnsmasq takes connections as well: the name leads to the server itself.
  for (const auto* name : {"host.test", "alias.test"}) {
    const auto done = fetch(name);
    CHECK_MESSAGE(done.out == "address " + address + "\nconnected " + address + ":" + port + "\n",
                  done.out << done.err);
    CHECK(done.code == 0);
  }
  const auto none = fetch("nobody.test");
  CHECK(none.code == 1);
  CHECK_MESSAGE(
      none.err.find("addresses of nobody.test: there is no such name") != std::string::npos,
      none.err);
  const auto many = fetch("many.test");
  CHECK_MESSAGE(many.out.find("address 198.18.7.60\n") != std::string::npos, many.out << many.err);
}
