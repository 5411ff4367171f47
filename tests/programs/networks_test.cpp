// Two stacks on two devices and the kernel's sockets on one shard, in a network namespace of the
// test's own: every service by every network, on each back end. And forward, which joins them.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "programs/harness.hpp"
#include "runtime/observe/take_snapshot.hpp"
#include "support/networks.hpp"

using namespace programs;
using namespace networks_test;

namespace {

weir::endpoint at(const std::string& text) { return *weir::endpoint::parse(text); }

constexpr std::string_view two_networks = R"(
[network.lan]
address = ["10.7.0.2/24", "fd07::2/64"]
host_address = ["10.7.0.1/24", "fd07::1/64"]
route = ["10.70.0.0/16"]

[network.wan]
device = "tunwan"
address = ["10.8.0.2/24"]
host_address = ["10.8.0.1/24"]
mtu = 1400
offload = false

[network.outside]
backend = "kernel"
)";

/// A file that holds a configuration.
class configuration {
 public:
  explicit configuration(const std::string& text)
      : path_("/tmp/weir-networks-" + std::to_string(::getpid()) + ".toml") {
    std::ofstream(path_) << text;
  }
  ~configuration() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

weir::config parsed(const backend& on, const std::string& text) {
  const configuration file(text);
  auto arguments = on.arguments;
  arguments.insert(arguments.end(), {"--config", file.path()});
  return weir::config_parser("networks", "a test").parse(arguments, {});
}

/// Runs `body` on a shard with these networks, and everything that it left. Throws what it threw.
void run_on(const backend& on, const std::function<weir::task<>(weir::shard&)>& body,
            const std::string& text = std::string(two_networks)) {
  const auto settings = weir::resolve_backend(parsed(on, text));
  auto here = weir::make_shard(0, settings);
  bool ended = false;
  std::exception_ptr failure;
  here->start(body(*here), [&](std::exception_ptr failed) {
    failure = std::move(failed);
    ended = true;
  });
  here->run_until([&] { return ended && here->roots() == 0 && here->closing() == 0; });
  if (failure) std::rethrow_exception(failure);
}

/// Echo on each network, on TCP and UDP, with the same port on both stacks.
void open_all(weir::shard& here, weir::scope& into) {
  const auto offer = [&](const char* where, std::string_view network) {
    into.spawn(serve_echo(here.listen(at(where), {.network = network})));
    into.spawn(serve_echo(here.bind_udp(at(where), {.network = network})));
  };
  offer("10.7.0.2:7", "lan");
  offer("[fd07::2]:7", "lan");
  offer("10.8.0.2:7", "wan");
  offer("10.7.0.1:7", "outside");
  offer("10.8.0.1:7", "kernel");
}

}  // namespace

ON_EVERY_BACKEND(networks_carry_streams_and_datagrams_by_name) {
  run_on(on, [](weir::shard& here) -> weir::task<> {
    weir::scope servers(here);
    open_all(here, servers);
    // Out of the kernel into the stacks, and out of each stack to the kernel's end of its device.
    for (const auto* to : {"10.7.0.2:7", "[fd07::2]:7", "10.8.0.2:7"})
      for (const auto* via : {"kernel", "outside"}) {
        co_await talk_tcp(at(to), via, 300'000);
        co_await talk_udp(at(to), via);
      }
    co_await talk_tcp(at("10.7.0.1:7"), "lan", 300'000);
    co_await talk_tcp(at("10.8.0.1:7"), "wan", 300'000);
    co_await talk_udp(at("10.7.0.1:7"), "lan");
    co_await talk_udp(at("10.8.0.1:7"), "wan");
    here.request_stop();
    co_await servers.join();
  });
}

ON_EVERY_BACKEND(networks_are_joined_by_a_relay) {
  run_on(on, [](weir::shard& here) -> weir::task<> {
    weir::scope servers(here);
    open_all(here, servers);
    // Accepted on one stack, connected from the other, to a server of the kernel's.
    servers.spawn(
        serve_relay(here.listen(at("10.7.0.2:9"), {.network = "lan"}), at("10.8.0.1:7"), "wan"));
    weir::scope clients(here);
    for (int i = 0; i < 20; ++i) clients.spawn(talk_tcp(at("10.7.0.2:9"), "kernel", 100'000));
    co_await clients.join();
    here.request_stop();
    co_await servers.join();
  });
}

ON_EVERY_BACKEND(networks_are_shown_with_their_sockets) {
  run_on(on, [](weir::shard& here) -> weir::task<> {
    weir::scope servers(here);
    open_all(here, servers);
    co_await talk_tcp(at("10.8.0.2:7"), "kernel", 1000);
    const auto shown = weir::detail::take_snapshot(here, {.connections = 100});
    for (const auto& one : shown.listeners) {
      const auto where = one.local.to_string();
      CAPTURE(where);
      if (where == "10.7.0.2:7" || where == "[fd07::2]:7") CHECK(one.network == "lan");
      if (where == "10.8.0.2:7") CHECK(one.network == "wan");
      if (where == "10.7.0.1:7") CHECK(one.network == (here.backend() == "stack" ? "kernel" : ""));
    }
    std::size_t stacks = 0;
    for (const auto& one : shown.networks) {
      if (one.kind != "stack") continue;
      ++stacks;
      REQUIRE(one.stack);
      CHECK((*one.stack)[weir::stack::counter::passive_opens] == (one.name == "wan" ? 1 : 0));
    }
    CHECK(stacks == 2);
    here.request_stop();
    co_await servers.join();
  });
}

ON_EVERY_BACKEND(an_unknown_network_is_an_error_that_names_the_known_ones) {
  run_on(on, [](weir::shard& here) -> weir::task<> {
    std::string said;
    try {
      auto listener = here.listen(at("10.7.0.2:7"), {.network = "lam"});
    } catch (const weir::io_error& error) {
      said = error.what();
      CHECK(error.code() == std::errc::operation_not_supported);
    }
    CHECK(said.find("there is no network 'lam'; there are ") != std::string::npos);
    CHECK(said.find("lan, outside, wan") != std::string::npos);
    said.clear();
    try {
      auto peer = co_await weir::connect(at("10.7.0.1:7"), {.network = "wam"});
    } catch (const weir::io_error& error) {
      said = error.what();
    }
    CHECK(said.find("there is no network 'wam'") != std::string::npos);
    CHECK_THROWS_AS(here.bind_udp(at("10.7.0.2:7"), {.network = "lam"}), weir::io_error);
  });
}

// --- The programs.

TEST_CASE("backend_names_the_network_that_is_the_default") {
  if (!own_network() || !usable("stack")) return;
  const configuration file("backend = \"wan\"\n" + std::string(two_networks));
  process p({services(), "--config", file.path(), "--echo", "10.8.0.2:7", "--observe.listen",
             "10.7.0.2:80", "--observe.network", "lan"});
  const auto line = p.wait_line("listening echo ");
  CHECK(line.find("10.8.0.2:7 backend=stack") != std::string::npos);
  client c("10.8.0.2", 7);
  c.send("hello");
  CHECK(c.receive(5) == "hello");
  client admin("10.7.0.2", 80);
  admin.send("GET /sockets HTTP/1.1\r\nHost: 10.7.0.2\r\nConnection: close\r\n\r\n");
  const auto shown = admin.receive_all();
  CHECK(shown.find(R"("network":"wan")") != std::string::npos);
  CHECK(shown.find(R"("network":"lan")") != std::string::npos);
  client metrics("10.7.0.2", 80);
  metrics.send("GET /metrics HTTP/1.1\r\nHost: 10.7.0.2\r\nConnection: close\r\n\r\n");
  const auto text = metrics.receive_all();
  CHECK(text.find("weir_network_info{shard=\"0\",network=\"lan\",kind=\"stack\"} 1") !=
        std::string::npos);
  CHECK(text.find("weir_stack_passive_opens_total{shard=\"0\",network=\"lan\"} ") !=
        std::string::npos);
  c.end_of_stream();
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

ON_EVERY_BACKEND(forward_joins_two_networks_of_the_configuration) {
  process behind({services(), "--backend", kernel_backend, "--listen.allow_wildcard", "--echo",
                  "0.0.0.0:7015"});
  (void)behind.wait_line("listening echo ");
  const configuration file{std::string(two_networks)};
  process p(command_line(
      WEIR_FORWARD, on,
      {"--config", file.path(), "--from", "10.7.0.2:80", "--at", "lan", "--to", "10.8.0.1:7015",
       "--via", "wan", "--shards", "2", "--observe.listen", "127.0.0.1:7017"}));
  (void)p.wait_line("listening forward ");
  std::vector<client> clients;
  for (int i = 0; i < 20; ++i) clients.emplace_back("10.7.0.2", std::uint16_t{80});
  for (std::size_t i = 0; i < clients.size(); ++i) clients[i].send(some_bytes(20'000, i + 1));
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const bool same = clients[i].receive(20'000) == some_bytes(20'000, i + 1);
    CHECK(same);
  }
  const auto shown = run({WEIR_SS, "-a", "127.0.0.1:7017"});
  CHECK(shown.out.find("10.7.0.2:80%lan") != std::string::npos);
  CHECK(shown.out.find("%wan") != std::string::npos);
  for (auto& each : clients) each.end_of_stream();
  for (auto& each : clients) CHECK(each.receive_all().empty());
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

TEST_CASE("a_program_that_names_a_network_which_is_not_there_says_which_there_are") {
  if (!own_network() || !usable("stack")) return;
  const configuration file{std::string(two_networks)};
  const auto ended = run({WEIR_FORWARD, "--config", file.path(), "--from", "10.7.0.2:80", "--at",
                          "lam", "--to", "10.8.0.1:7015"});
  CHECK(ended.code == 1);
  CHECK(ended.err.find("there is no network 'lam'; there are ") != std::string::npos);
  const auto admin = run({services(), "--config", file.path(), "--echo", "127.0.0.1:7007",
                          "--observe.listen", "10.7.0.3:80", "--observe.network", "lan"});
  CHECK(admin.code == 2);
  CHECK(admin.err.find("observe.listen = '10.7.0.3:80': cannot listen on network lan") !=
        std::string::npos);
}
