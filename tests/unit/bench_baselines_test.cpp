// Every baseline really is an echo server: short and long messages, many connections, every byte
// compared, by the same runner that measures them. What the machine forbids (io_uring, network
// namespaces, TUN) is skipped and says so.
#include <doctest/doctest.h>
#include <fmt/core.h>

#include <string>
#include <system_error>

#include "bench/private_net.hpp"
#include "bench/runner.hpp"

using namespace weir::bench;

namespace {

server_outcome run_briefly(const char* name, unsigned connections, std::size_t size, unsigned depth,
                           bool count_syscalls) {
  run_settings settings;
  settings.servers = {parse_server(name)};
  settings.cells.push_back({.connections = connections, .size = size, .depth = depth});
  settings.rounds = 1;
  settings.duration_ns = 30'000'000;
  settings.warmup_ns = 1'000'000;
  settings.count_syscalls = count_syscalls;
  settings.quiet = true;
  settings.bin_dir = own_directory() + "/..";
  return run_benchmark(settings).cells.at(0).servers.at(0);
}

bool forbidden(const char* name, const std::string& error) {
  if (error.find("io_uring") == std::string::npos &&
      error.find("no baseline called") == std::string::npos &&
      error.find("ExpectedOneOf") == std::string::npos)
    return false;
  fmt::print("SKIPPED: {} cannot run here: {}\n", name, error);
  return true;
}

void echoes_everything(const char* name) {
  struct shape {
    unsigned connections;
    std::size_t size;
    unsigned depth;
  };
  for (const shape& s : {shape{1, 1, 1}, shape{40, 64, 1}, shape{3, 64, 16}, shape{8, 16384, 1},
                         shape{2, 2 << 20, 2}}) {
    CAPTURE(s.size);
    const server_outcome outcome = run_briefly(name, s.connections, s.size, s.depth, false);
    if (forbidden(name, outcome.error)) return;
    CHECK(outcome.error == "");
    CHECK(outcome.rounds.size() == 1);
  }
}

bool in_private_network() {
  try {
    enter_private_network();
    return true;
  } catch (const std::system_error& error) {
    fmt::print("SKIPPED: {}\n", error.what());
    return false;
  }
}

}  // namespace

TEST_CASE("raw_epoll_echoes_every_byte") { echoes_everything("raw-epoll"); }
TEST_CASE("raw_uring_echoes_every_byte") { echoes_everything("raw-uring"); }
TEST_CASE("asio_epoll_echoes_every_byte") { echoes_everything("asio-epoll"); }
TEST_CASE("asio_uring_echoes_every_byte") { echoes_everything("asio-uring"); }
TEST_CASE("libuv_echoes_every_byte") { echoes_everything("libuv"); }

TEST_CASE("raw_uring_recovers_when_its_buffers_run_out") {
  // 8 connections keep 64 requests of 16 KiB in flight in buffers of 64 bytes: far more than the
  // 2048 there are.
  const server_outcome outcome = run_briefly("raw-uring:buffer_bytes=64", 8, 16384, 8, false);
  if (forbidden("raw-uring", outcome.error)) return;
  CHECK(outcome.error == "");
}

TEST_CASE("veth_epoll_echoes_every_byte") {
  if (in_private_network()) echoes_everything("veth-epoll");
}

TEST_CASE("tun_reflector_answers_small_requests") {
  if (!in_private_network()) return;
  const server_outcome outcome = run_briefly("tun-reflector", 40, 64, 1, false);
  if (outcome.error.find("/dev/net/tun") != std::string::npos) {
    fmt::print("SKIPPED: {}\n", outcome.error);
    return;
  }
  CHECK(outcome.error == "");
}

TEST_CASE("system_calls_of_one_epoll_connection_are_counted") {
  const server_outcome outcome = run_briefly("raw-epoll", 1, 64, 1, true);
  CHECK(outcome.error == "");
  if (!outcome.syscalls_note.empty()) {
    fmt::print("SKIPPED: {}\n", outcome.syscalls_note);
    return;
  }
  // One wait, one receive, one send per request; a request may straddle the window's edges.
  REQUIRE(outcome.syscalls.count("sendto") == 1);
  CHECK(outcome.syscalls.at("sendto") == doctest::Approx(1).epsilon(0.2));
  CHECK(outcome.syscalls.at("recvfrom") == doctest::Approx(1).epsilon(0.2));
  CHECK(outcome.syscalls_total() == doctest::Approx(3).epsilon(0.2));
}

TEST_CASE("a_server_that_cannot_start_has_a_row_that_says_why") {
  run_settings settings;
  settings.servers = {parse_server("uring"), parse_server("raw-epoll")};
  settings.cells.push_back({});
  settings.rounds = 1;
  settings.duration_ns = 10'000'000;
  settings.quiet = true;
  settings.count_syscalls = false;
  settings.bin_dir = "/nonexistent";
  const run_outcome run = run_benchmark(settings);
  for (const auto& server : run.cells.at(0).servers) {
    CHECK(server.rounds.empty());
    CHECK(server.error.find("No such file") != std::string::npos);
  }
  CHECK(run.any_error());
}

namespace {

server_outcome run_scenario(const char* name, scenario kind, unsigned connections) {
  run_settings settings;
  settings.servers = {parse_server(name)};
  settings.cells.push_back({.kind = kind, .connections = connections});
  settings.rounds = 1;
  settings.duration_ns = 50'000'000;
  settings.warmup_ns = 1'000'000;
  settings.count_syscalls = false;
  settings.quiet = true;
  settings.bin_dir = own_directory() + "/..";
  return run_benchmark(settings).cells.at(0).servers.at(0);
}

}  // namespace

TEST_CASE("bulk_data_goes_into_discard_out_of_chargen_and_both_ways") {
  for (const auto* server : {"raw-epoll", WEIR_BENCH_TESTED})
    for (const scenario kind : {scenario::bulk_in, scenario::bulk_out, scenario::bulk_both}) {
      CAPTURE(server);
      const server_outcome outcome = run_scenario(server, kind, 2);
      CHECK(outcome.error == "");
      CHECK(outcome.of(metric::megabytes_per_s).median > 0);
      CHECK(outcome.of(metric::cpu_s_per_gigabyte).median > 0);
    }
}

TEST_CASE("short_connections_are_served_to_their_end") {
  if (!in_private_network()) return;
  for (const scenario kind : {scenario::connect, scenario::connect_request}) {
    const server_outcome outcome = run_scenario("raw-epoll", kind, 8);
    CHECK(outcome.error == "");
    CHECK(outcome.rounds.size() == 1);
    CHECK(outcome.latency.count() > 0);
  }
}

TEST_CASE("http_answers_are_read_to_their_end") {
  const server_outcome outcome = run_scenario(WEIR_BENCH_TESTED, scenario::http, 4);
  CHECK(outcome.error == "");
  CHECK(outcome.latency.count() > 0);
}

TEST_CASE("a_server_without_the_service_has_a_row_that_says_so") {
  const server_outcome outcome = run_scenario("libuv", scenario::bulk_in, 1);
  CHECK(outcome.error == "libuv does not serve discard");
  CHECK(run_scenario("raw-epoll", scenario::http, 1).error == "raw-epoll does not serve http");
}
