// weir-bench's scenarios work, each for a moment: what they print is for people, what they return
// says whether everything was served. None of these tests looks at how fast anything was.
#include <doctest/doctest.h>
#include <fmt/core.h>

#include <system_error>

#include "bench/private_net.hpp"
#include "bench/process.hpp"
#include "bench/scenarios/scenarios.hpp"
#include "bench/servers.hpp"
#include "weir/runtime.hpp"

using namespace weir::bench;

namespace {

/// A scenario that wants a private network with a TUN device; skipped where there is none.
template <class Run>
void in_private_network(Run&& run) {
  try {
    CHECK(run() == 0);
  } catch (const std::exception& error) {
    const std::string why = error.what();
    const bool forbidden = why.find("/dev/net/tun") != std::string::npos ||
                           why.find("namespace") != std::string::npos ||
                           why.find("CAP_NET") != std::string::npos;
    if (!forbidden) throw;
    fmt::print("SKIPPED: {}\n", why);
  }
}

}  // namespace

TEST_CASE("wire_carries_messages_and_short_connections") {
  CHECK(run_wire({.rounds = 1, .seconds = 0.001}) == 0);
}

TEST_CASE("lookup_reaches_every_flow_and_every_listener") {
  CHECK(run_lookup({.rounds = 1, .seconds = 0.001, .flows = 2000, .listeners = 100}) == 0);
}

TEST_CASE("datagrams_arrive_whichever_way_they_are_sent") {
  for (const char* name : {"uring", "asio"}) {
    weir::config settings;
    settings.backend = name;
    if (const auto found = weir::probe_backend(name, settings); !found.usable) {
      fmt::print("SKIPPED: {}: {}\n", name, found.reason);
      continue;
    }
    CHECK(run_datagrams({.backend = name, .rounds = 1, .seconds = 0.001}) == 0);
  }
}

TEST_CASE("idle_connections_are_established_and_still_echo") {
  in_private_network([] {
    idle_settings settings;
    settings.connections = 2000;
    settings.checked = 50;
    settings.bin_dir = own_directory() + "/..";
    settings.quiet = true;
    return run_idle(settings);
  });
}

TEST_CASE("clients_are_served_during_a_flood_that_the_server_can_read") {
  in_private_network([] {
    flood_settings settings;
    settings.seconds = 0.5;
    settings.rate = 2000;
    settings.clients_per_s = 10;
    settings.limit_s = 30;  // this test asks whether, not how soon
    settings.bin_dir = own_directory() + "/..";
    return run_flood(settings);
  });
}

TEST_CASE("gate_and_the_kernel_carry_bulk_data_requests_and_connections") {
  in_private_network([] {
    gate_settings settings;
    settings.rounds = 1;
    settings.warmup_s = 0.01;
    settings.duration_s = 0.1;
    settings.only = {"weir-gate", "kernel"};
    settings.bin_dir = own_directory() + "/..";
    settings.quiet = true;
    return run_gate(settings);
  });
}

TEST_CASE("what_being_watched_costs_is_measured_and_scrapes_are_answered") {
  watched_settings settings;
  settings.rounds = 1;
  settings.connections = 4;
  settings.duration_s = settings.scrape_s = 0.1;
  settings.rate = 500;
  settings.scrapes_per_s = 50;
  settings.bin_dir = own_directory() + "/..";
  settings.without_probes = settings.bin_dir;  // of another build, as far as it knows
  settings.quiet = true;
  CHECK(run_watched(settings) == 0);
}
