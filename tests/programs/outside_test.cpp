// Examples of a shard among others, run from outside.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include <string>
#include <vector>

#include "programs/harness.hpp"

using namespace programs;

ON_EVERY_BACKEND(factors_answers_easy_questions_while_it_thinks_about_hard_ones) {
  process p(command_line(WEIR_FACTORS, on, {"--factors", on.address + ":7010"}));
  const auto where = place_of(p.wait_line("listening factors "));
  client hard(where.address, where.port), easy(where.address, where.port);
  hard.send("100000000000067\n");  // a prime: ten million divisions
  easy.send("1024\n15\n");
  CHECK(easy.receive(4) == "2\n5\n");
  CHECK(hard.receive(16) == "100000000000067\n");
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

namespace {

/// Sends `text` to a Unix socket and reads as much back.
std::string echoed(const std::string& path, const std::string& text) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::send(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  std::string out(text.size(), '\0');
  const auto n = ::recv(fd, out.data(), out.size(), MSG_WAITALL);
  ::close(fd);
  out.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return out;
}

/// The kernel lets go of the sockets of a ring a moment after its process was killed.
void wait_until_nobody_listens(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);  // no listener's queue gets it
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  for (const auto end = std::chrono::steady_clock::now() + patience;
       std::chrono::steady_clock::now() < end;) {
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0);
    if (errno == ECONNREFUSED) break;
    ::usleep(1000);
  }
  ::close(fd);
}

}  // namespace

ON_EVERY_BACKEND(services_serve_unix_sockets_beside_tcp) {
  const std::string path = "/tmp/weir-services-" + std::to_string(::getpid());
  for (const auto* shards : {"1", "2"}) {
    // (A device is made with as many queues as there are shards.)
    if (on.name == "stack" && shards[0] == '1') continue;
    process p(command_line(
        services(), on,
        {"--echo", "unix:" + path, "--echo", on.address + ":7012", "--shards", shards}));
    (void)p.wait_line("listening echo unix:" + path + " backend=");
    for (int i = 0; i < 4; ++i) CHECK(echoed(path, "by path") == "by path");
    client tcp(on.address, 7012);
    tcp.send("by address");
    CHECK(tcp.receive(10) == "by address");
    // Killed: its file stays, and the next one finds it.
    p.signal(shards[0] == '1' ? SIGKILL : SIGTERM);
    (void)p.wait();
    if (shards[0] == '1') wait_until_nobody_listens(path);
    CHECK((::access(path.c_str(), F_OK) == 0) == (shards[0] == '1'));
  }
}

ON_EVERY_BACKEND(forward_joins_its_clients_with_a_unix_socket) {
  const std::string path = "/tmp/weir-forward-" + std::to_string(::getpid());
  const auto kernel = backend_called(kernel_backend);
  process behind(command_line(services(), kernel, {"--echo", "unix:" + path}));
  (void)behind.wait_line("listening echo unix:");
  process p(
      command_line(WEIR_FORWARD, on, {"--from", on.address + ":7013", "--to", "unix:" + path}));
  (void)p.wait_line("listening forward ");
  client one(on.address, 7013), other(on.address, 7013);
  const auto much = some_bytes(200'000);
  one.send("small");
  CHECK(one.receive(5) == "small");
  other.send(much);
  other.end_of_stream();
  const bool same = other.receive_all() == much;  // the echo ends when its client has
  CHECK(same);
  p.signal(SIGTERM);
  one.end_of_stream();
  CHECK(one.receive_all().empty());
  CHECK(p.wait() == 0);
}

/// On the stack: through the device into weir's own network, and out through the kernel's.
ON_EVERY_BACKEND(forward_joins_its_clients_with_the_kernels_network) {
  const auto kernel = backend_called(kernel_backend);
  process behind(command_line(services(), kernel, {"--echo", "127.0.0.1:7015"}));
  (void)behind.wait_line("listening echo ");
  process p(command_line(WEIR_FORWARD, on,
                         {"--from", on.address + ":7016", "--to", "127.0.0.1:7015", "--network",
                          "kernel", "--observe.listen", "127.0.0.1:7017"}));
  (void)p.wait_line("listening forward ");
  std::vector<client> clients;
  for (int i = 0; i < 50; ++i) clients.emplace_back(on.address, std::uint16_t{7016});
  for (std::size_t i = 0; i < clients.size(); ++i) clients[i].send(some_bytes(20'000, i + 1));
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const bool same = clients[i].receive(20'000) == some_bytes(20'000, i + 1);
    CHECK(same);
  }
  // Both ends of each are shown.
  const auto shown = run({WEIR_SS, "127.0.0.1:7017"});
  CHECK(shown.code == 0);
  CHECK(shown.out.find("127.0.0.1:7015") != std::string::npos);
  CHECK(shown.out.find(on.address + ":7016") != std::string::npos);
  for (auto& each : clients) each.end_of_stream();
  for (auto& each : clients) CHECK(each.receive_all().empty());
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

ON_EVERY_BACKEND(forward_lets_a_client_go_whose_other_side_is_not_there) {
  process p(
      command_line(WEIR_FORWARD, on, {"--from", on.address + ":7014", "--to", "unix:/nowhere"}));
  (void)p.wait_line("listening forward ");
  client alone(on.address, 7014);
  CHECK(alone.receive_all().empty());
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}
