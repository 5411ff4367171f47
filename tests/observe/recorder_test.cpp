// /recorder, of shards in a simulated network: what is recorded, when, and as a trace that Perfetto
// reads.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/core/flight_recorder.hpp"
#include "runtime/observe/recorder_json.hpp"
#include "weir/sim.hpp"
#include "weir/weir.hpp"

using namespace std::chrono_literals;
using nlohmann::json;
using weir::shard;
using weir::task;

namespace {

struct two_hosts {
  explicit two_hosts(const weir::config& settings = {})
      : server(net.add_host("10.0.0.1/24", {.settings = settings})) {}
  std::string trace(std::size_t most = 1000) {
    const std::array<shard*, 2> both = {&server.shard(), &client.shard()};
    return weir::detail::to_trace_json(both, {.program = "test", .version = "1", .pid = 7}, most);
  }

  weir::sim::network net{{.seed = 3}};
  weir::sim::host& server;
  weir::sim::host& client = net.add_host("10.0.0.2/24");
  weir::sim::link& link = net.link(server, client, {.delay = 1ms});
};

task<> echo_once(shard& s, weir::endpoint at) {
  auto listener = s.listen(at);
  auto peer = co_await listener.accept();
  std::array<std::byte, 64> buffer;
  auto silent = co_await peer->read_some(buffer).timeout(50ms).nothrow();
  CHECK(silent.ec == std::errc::timed_out);
  auto late = co_await peer->read_some(buffer).nothrow();
  CHECK(late.n == 5);
  auto got = co_await peer->read_some(buffer).nothrow();
  CHECK(got.ec == std::errc::connection_reset);
}

task<> trouble(shard& s, weir::endpoint server, weir::sim::link& link) {
  auto closed = co_await s.connect({server.address, 9}).nothrow();
  CHECK(closed.error() == std::errc::connection_refused);
  auto peer = co_await s.connect(server);
  co_await weir::sleep_for(100ms);
  link.set_down(true);
  co_await peer.write_all("hello");
  co_await weir::sleep_for(1s);
  link.set_down(false);
  co_await weir::sleep_for(3s);
  peer.abort();
  co_await weir::sleep_for(10ms);
}

std::string trace_of_trouble() {
  two_hosts w;
  const weir::endpoint at(w.server.address(), 7);
  w.net.start(w.server, [&](shard& s) { return echo_once(s, at); });
  w.net.start(w.client, [&](shard& s) { return trouble(s, at, w.link); });
  w.net.run();
  return w.trace();
}

/// Events of this thread with this name.
std::vector<json> named(const json& trace, int tid, const std::string& name) {
  std::vector<json> out;
  for (const auto& one : trace["traceEvents"])
    if (one["name"] == name && one["tid"] == tid) out.push_back(one);
  return out;
}

}  // namespace

TEST_CASE("trace_has_the_shape_that_perfetto_reads") {
  const auto trace = json::parse(trace_of_trouble());
  REQUIRE(trace["traceEvents"].is_array());
  std::set<std::string> threads;
  for (const auto& one : trace["traceEvents"]) {
    INFO(one.dump(1));
    CHECK(one["name"].is_string());
    CHECK(one["ts"].is_number());
    CHECK(one["pid"] == 7);
    CHECK(one["tid"].is_number_unsigned());
    CHECK(one["args"].is_object());
    const auto ph = one["ph"].get<std::string>();
    if (ph == "i")
      CHECK(one["s"] == "t");
    else if (ph == "X")
      CHECK(one["dur"].is_number_unsigned());
    else
      CHECK(ph == "M");
    if (one["name"] == "thread_name") threads.insert(one["args"]["name"].get<std::string>());
  }
  CHECK(threads.contains("shard 0"));
  CHECK(trace["otherData"]["program"] == "test");
}

TEST_CASE("what_happened_to_connections_is_recorded_with_its_virtual_time") {
  const auto trace = json::parse(trace_of_trouble());
  constexpr int server = 0, client = 1;
  const auto refused = named(trace, client, "connect failed");
  REQUIRE(refused.size() == 1);
  CHECK(refused[0]["args"]["error"] == "Connection refused");
  CHECK(refused[0]["args"]["peer"] == "10.0.0.1:9");
  CHECK(refused[0]["ts"] == 2000.0);  // a round trip
  CHECK(named(trace, server, "drop_tcp_no_listener").size() == 1);

  const auto accepted = named(trace, server, "accept");
  REQUIRE(accepted.size() == 1);
  CHECK(accepted[0]["args"]["port"] == 7);
  CHECK(accepted[0]["args"]["peer"].get<std::string>().starts_with("10.0.0.2:"));
  CHECK(accepted[0]["ts"] == 5000.0);
  const auto timeouts = named(trace, server, "timeout of an operation");
  REQUIRE(timeouts.size() == 1);
  CHECK(timeouts[0]["ts"] >= 55'000.0);
  CHECK(timeouts[0]["ts"] < 56'000.0);  // of the timer wheel's grain

  const auto again = named(trace, client, "retransmission");
  REQUIRE_FALSE(again.empty());
  CHECK(again[0]["args"]["peer"] == "10.0.0.1:7");
  CHECK(again[0]["args"]["bytes"] == 5);
  const auto broke = named(trace, server, "connection broke");
  REQUIRE(broke.size() == 1);
  CHECK(broke[0]["args"]["error"] == "Connection reset by peer");
  CHECK(broke[0]["args"]["socket"] == accepted[0]["args"]["socket"]);
  CHECK(named(trace, server, "resets_received").size() == 1);
  CHECK(named(trace, client, "abort").size() == 1);
  CHECK(named(trace, server, "close").size() == 1);
}

TEST_CASE("same_seed_gives_the_same_trace") { CHECK(trace_of_trouble() == trace_of_trouble()); }

TEST_CASE("recorder_of_a_shard_is_bounded_by_its_key_and_off_at_0") {
  weir::config settings;
  settings.observe.recorder = 4;
  two_hosts w(settings);
  const weir::endpoint at(w.server.address(), 7);
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto listener = s.listen(at);
    for (int i = 0; i < 20; ++i) {
      auto peer = co_await listener.accept();
      peer->close();
    }
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    for (int i = 0; i < 20; ++i) {
      auto peer = co_await s.connect(at);
      peer.close();
    }
  });
  w.net.run();
  const auto trace = json::parse(w.trace());
  const auto& shards = trace["otherData"]["shards"];
  REQUIRE(shards.size() == 2);
  CHECK(shards[0]["kept"] == 4);
  CHECK(shards[0]["shown"] == 4);
  CHECK(shards[0]["recorded"].get<int>() >= 40);
  CHECK(shards[1]["shown"].get<int>() >= 40);
  const auto less = json::parse(w.trace(3));
  CHECK(less["otherData"]["shards"][0]["shown"] == 3);

  settings.observe.recorder = 0;
  two_hosts off(settings);
  CHECK(off.server.shard().recorder() == nullptr);
  CHECK(json::parse(off.trace())["otherData"]["shards"].size() == 1);
}
