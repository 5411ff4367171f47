// The load engine against servers that lie, stall, break and lose, in the simulator: virtual time,
// so that every figure is what it has to be, on any machine.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "bench/load/engine.hpp"
#include "bench/load/judgement.hpp"
#include "bench/load/noise.hpp"
#include "weir/sim.hpp"
#include "weir/weir.hpp"

using namespace weir;
using namespace std::chrono_literals;

namespace {

/// Virtual time; what a test makes of it in its own ways.
class virtual_clocks : public load::clocks {
 public:
  explicit virtual_clocks(shard& here) : shard_(here) {}
  instant now() override { return shard_.now(); }
  instant reference() override {
    const auto at = shard_.now();
    return step_after != duration() && at - instant() > step_after ? at + 80ms : at;
  }
  duration thread_cpu() override { return duration((now() - instant()).count() * busy / 100); }

  int busy = 10;          // percent of a core
  duration step_after{};  // the reference jumps then

 private:
  shard& shard_;
};

load::plan plan_for(const char* url, load::loop mode, double rate = 0) {
  load::plan out;
  out.to = load::parse_target(url);
  out.requests.emplace_back();
  out.mode = mode;
  out.rate = rate;
  out.arrivals = load::arrival::constant;
  out.warmup = 100ms;
  out.window = 5s;
  return out;
}

using session = std::function<task<>(shard&, tcp_stream)>;
using tweak = std::function<void(virtual_clocks&)>;

task<> serve_with(shard& here, const session& each) {
  auto listener = here.listen({"10.0.0.1", 7});
  scope sessions(here);
  for (;;) {
    auto peer = co_await listener.accept().timeout(60s).nothrow();
    if (!peer || !*peer) break;
    sessions.spawn(each(here, std::move(**peer)));
  }
  co_await sessions.drain(duration());
}

struct seen_by_load {
  load::outcome what;
  load::judgement judged;
  load::plan of;
};

seen_by_load load_on(const load::plan& of, const session& each, const tweak& change = {}) {
  seen_by_load out;
  out.of = of;
  load::run_context run(out.of, 1);
  sim::network net({.seed = 3});
  auto& server = net.add_host("10.0.0.1/24");
  auto& client = net.add_host("10.0.0.2/24");
  // A gigabit: without a limit, what takes milliseconds here would be more bytes than a test should
  // move.
  net.link(server, client, {.delay = 100us, .rate = 125'000'000, .queue = 8 << 20});
  net.start(server, [&](shard& here) -> task<> { return serve_with(here, each); });
  net.start(client, [&](shard& here) -> task<> {
    virtual_clocks time(here);
    if (change) change(time);
    co_await load::run_on_shard(run, here, 0, time, out.what);
    server.shard().request_stop();
  });
  net.run();
  out.judged = load::judge(out.of, out.what);
  return out;
}

bool spoiled_by(const seen_by_load& seen, std::string_view code) {
  for (const auto& one : seen.judged.spoiled)
    if (one.code == code) return true;
  return false;
}

bool noted(const seen_by_load& seen, std::string_view code) {
  for (const auto& one : seen.judged.notes)
    if (one.code == code) return true;
  return false;
}

double ms(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }

task<> echo(shard&, tcp_stream peer) {
  std::vector<std::byte> buffer(4096);
  for (;;) {
    auto got = co_await peer.read_some(buffer).nothrow();
    if (!got || got.n == 0) break;
    co_await peer.write_all(std::span(buffer).first(got.n));
  }
}

/// Stands for the first 100 ms of each second.
task<> stalling_echo(shard& here, tcp_stream peer) {
  std::vector<std::byte> buffer(4096);
  for (;;) {
    auto got = co_await peer.read_some(buffer).nothrow();
    if (!got || got.n == 0) break;
    const auto within = (here.now() - instant()) % duration(1s);
    if (within < 100ms) co_await sleep_for(100ms - within);
    co_await peer.write_all(std::span(buffer).first(got.n));
  }
}

}  // namespace

TEST_CASE("a closed loop counts what was answered in its window, with a whole round trip each") {
  auto plan = plan_for("tcp://10.0.0.1:7", load::loop::closed);
  plan.connections = 4;
  const auto seen = load_on(plan, echo);
  CHECK(seen.judged.good());
  CHECK(seen.what.failure == "");
  CHECK(seen.what.seconds == doctest::Approx(5).epsilon(0.001));
  // 200 us a round trip: 5000 a second on each connection.
  CHECK(seen.what.rate() == doctest::Approx(20000).epsilon(0.02));
  CHECK(ms(seen.what.latency.at(0.5)) == doctest::Approx(0.2).epsilon(0.02));
  CHECK(seen.what.lateness.max() == 0);
  CHECK(seen.what.error_count() == 0);
  CHECK(seen.what.sent_bytes >= seen.what.answers * 64);
}

TEST_CASE("an open loop asks at its rate and every request due in the window is accounted for") {
  auto plan = plan_for("tcp://10.0.0.1:7", load::loop::open, 1000);
  plan.connections = 8;
  const auto seen = load_on(plan, echo);
  CHECK(seen.judged.good());
  CHECK(seen.what.scheduled == doctest::Approx(5000).epsilon(0.001));
  CHECK(seen.what.latency.count() + seen.what.error_count() == seen.what.scheduled);
  CHECK(ms(seen.what.lateness.max()) < 0.01);
}

TEST_CASE("a server that stands 100 ms each second shows in an open loop's percentiles") {
  auto plan = plan_for("tcp://10.0.0.1:7", load::loop::open, 1000);
  plan.connections = 4;
  const auto seen = load_on(plan, stalling_echo);
  CHECK(seen.judged.good());
  CHECK(ms(seen.what.latency.at(0.5)) < 1);
  // A tenth of the requests wait between 0 and 100 ms.
  CHECK(ms(seen.what.latency.at(0.95)) == doctest::Approx(50).epsilon(0.1));
  CHECK(ms(seen.what.latency.at(0.99)) == doctest::Approx(90).epsilon(0.1));
}

TEST_CASE("a server that stands 100 ms each second is told, and corrected for, in a closed loop") {
  const auto seen = load_on(plan_for("tcp://10.0.0.1:7", load::loop::closed), stalling_echo);
  CHECK(noted(seen, "server_stood"));
  const auto shown = load::latencies_of(seen.of, seen.what);
  CHECK(shown.corrected);
  CHECK(ms(seen.what.latency.at(0.99)) < 1);  // what it has seen itself
  CHECK(ms(shown.shown.at(0.95)) == doctest::Approx(50).epsilon(0.15));
  CHECK(ms(shown.shown.at(0.99)) == doctest::Approx(90).epsilon(0.15));
}

TEST_CASE("a rate that the server cannot keep gives no figures") {
  const session slow = [](shard&, tcp_stream peer) -> task<> {
    std::vector<std::byte> buffer(4096);
    for (;;) {
      auto got = co_await peer.read_some(buffer).nothrow();
      if (!got || got.n == 0) break;
      co_await sleep_for(10ms);
      co_await peer.write_all(std::span(buffer).first(got.n));
    }
  };
  auto plan = plan_for("tcp://10.0.0.1:7", load::loop::open, 1000);
  plan.connections = 2;  // 200 a second
  const auto seen = load_on(plan, slow);
  CHECK(spoiled_by(seen, "rate_not_kept"));
  CHECK(seen.what.unfinished > 0);
}

TEST_CASE("a load whose core is full gives no figures") {
  const auto seen = load_on(plan_for("tcp://10.0.0.1:7", load::loop::closed), echo,
                            [](virtual_clocks& time) { time.busy = 97; });
  CHECK(spoiled_by(seen, "load_is_full"));
}

TEST_CASE("a clock that steps gives no figures") {
  const auto seen = load_on(plan_for("tcp://10.0.0.1:7", load::loop::closed), echo,
                            [](virtual_clocks& time) { time.step_after = 2s; });
  CHECK(spoiled_by(seen, "clock_stepped"));
  CHECK(seen.what.machine.largest_step_ns == doctest::Approx(80e6).epsilon(0.01));
}

TEST_CASE("a reset is an error, and the connection is opened anew") {
  const session breaks = [](shard&, tcp_stream peer) -> task<> {
    std::vector<std::byte> buffer(64);
    for (int i = 0; i < 9; ++i) {
      auto got = co_await peer.read_exactly(buffer).nothrow();
      if (!got) break;
      co_await peer.write_all(buffer);
    }
    auto got = co_await peer.read_exactly(buffer).nothrow();
    (void)got;
    peer.abort();
  };
  const auto seen = load_on(plan_for("tcp://10.0.0.1:7", load::loop::closed), breaks);
  CHECK(spoiled_by(seen, "errors"));
  REQUIRE(seen.what.errors.count("Connection reset by peer") == 1);
  const auto resets = seen.what.errors.at("Connection reset by peer");
  CHECK(resets == doctest::Approx(static_cast<double>(seen.what.answers) / 9).epsilon(0.1));
  CHECK(seen.what.connects > resets);
}

TEST_CASE("an answer that is cut short is an error, not an answer") {
  const session cuts = [](shard&, tcp_stream peer) -> task<> {
    std::vector<std::byte> buffer(64);
    auto got = co_await peer.read_exactly(buffer).nothrow();
    if (got) co_await peer.write_all(std::span(buffer).first(40));
  };
  const auto seen = load_on(plan_for("tcp://10.0.0.1:7", load::loop::closed), cuts);
  CHECK(seen.what.answers == 0);
  CHECK(seen.what.errors.count("the answer was cut short") == 1);
  CHECK(spoiled_by(seen, "no_answers"));
}

TEST_CASE("an echo of other bytes is an error") {
  const session lies = [](shard&, tcp_stream peer) -> task<> {
    std::vector<std::byte> buffer(64);
    for (;;) {
      auto got = co_await peer.read_exactly(buffer).nothrow();
      if (!got) break;
      buffer[63] ^= std::byte(1);
      co_await peer.write_all(buffer);
    }
  };
  const auto seen = load_on(plan_for("tcp://10.0.0.1:7", load::loop::closed), lies);
  CHECK(seen.what.answers == 0);
  CHECK(seen.what.errors.count("the echo has other bytes than were sent") == 1);
}

TEST_CASE("a server that falls silent costs its time limit and is named") {
  const session silent = [](shard&, tcp_stream peer) -> task<> {
    std::vector<std::byte> buffer(64);
    for (;;) {
      auto got = co_await peer.read_some(buffer).nothrow();
      if (!got || got.n == 0) break;
    }
  };
  auto plan = plan_for("tcp://10.0.0.1:7", load::loop::closed);
  plan.timeout = 1s;
  const auto seen = load_on(plan, silent);
  CHECK(seen.what.answers == 0);
  CHECK(seen.what.errors.at("timed out") >= 3);
}

TEST_CASE("an HTTP answer that only the connection's end ends: a reset within it is no success") {
  const session until_close = [](shard&, tcp_stream peer) -> task<> {
    std::vector<std::byte> buffer(4096);
    auto got = co_await peer.read_some(buffer).nothrow();
    if (!got) co_return;
    co_await peer.write_all("HTTP/1.1 200 OK\r\n\r\nhalf of what");
    co_await sleep_for(1ms);
    peer.abort();
  };
  const auto seen = load_on(plan_for("http://10.0.0.1:7/", load::loop::closed), until_close);
  CHECK(seen.what.answers == 0);
  CHECK(seen.what.errors.count("Connection reset by peer") == 1);
}

TEST_CASE("HTTP statuses from 400 on are errors of requests that were answered") {
  const session refuses = [](shard&, tcp_stream peer) -> task<> {
    std::vector<std::byte> buffer(4096);
    for (;;) {
      auto got = co_await peer.read_some(buffer).nothrow();
      if (!got || got.n == 0) break;
      co_await peer.write_all("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno");
    }
  };
  const auto seen = load_on(plan_for("http://10.0.0.1:7/", load::loop::closed), refuses);
  CHECK(seen.what.answers == 0);
  CHECK(seen.what.errors.at("status 503") > 100);
  CHECK(seen.what.connects == 1);
}

TEST_CASE("one request on each connection: its latency includes the connecting") {
  auto plan = plan_for("tcp://10.0.0.1:7", load::loop::closed);
  plan.requests_per_connection = 1;
  const auto seen = load_on(plan, echo);
  CHECK(seen.judged.good());
  CHECK(seen.what.connects >= seen.what.answers);
  CHECK(ms(seen.what.latency.at(0.5)) >= 0.4);
}

TEST_CASE("discard counts what was written, chargen what came") {
  const session takes = [](shard&, tcp_stream peer) -> task<> {
    std::vector<std::byte> buffer(65536);
    for (;;) {
      auto got = co_await peer.read_some(buffer).nothrow();
      if (!got || got.n == 0) break;
    }
  };
  auto plan = plan_for("tcp://10.0.0.1:7/discard", load::loop::closed);
  plan.size = 8192;
  plan.warmup = 10ms;
  plan.window = 50ms;
  const auto in = load_on(plan, takes);
  CHECK(in.what.answers > 100);
  CHECK(in.what.error_count() == 0);
  const session gives = [](shard&, tcp_stream peer) -> task<> {
    const std::string line(1000, 'x');
    for (;;) {
      auto gone = co_await peer.write_all(line).nothrow();
      if (!gone) break;
    }
  };
  plan.to = load::parse_target("tcp://10.0.0.1:7/chargen");
  plan.size = 1000;
  const auto out = load_on(plan, gives);
  CHECK(out.what.answers > 100);
  // The first one may have begun before the window did.
  CHECK(out.what.received_bytes > (out.what.answers - 1) * 1000);
}

TEST_CASE("a large echo in a closed loop does not wait for itself") {
  auto plan = plan_for("tcp://10.0.0.1:7", load::loop::closed);
  plan.size = 1 << 20;
  plan.depth = 2;
  plan.warmup = duration();
  plan.window = 50ms;
  plan.timeout = 20s;
  const auto seen = load_on(plan, echo);
  CHECK(seen.what.answers >= 3);
  CHECK(seen.what.error_count() == 0);
}

TEST_CASE("the warm-up ends when the rate stands still") {
  const session warms = [](shard& here, tcp_stream peer) -> task<> {
    std::vector<std::byte> buffer(4096);
    for (;;) {
      auto got = co_await peer.read_some(buffer).nothrow();
      if (!got || got.n == 0) break;
      // 10 ms each at first, 1 ms less every fifth of a second.
      const auto fifths = (here.now() - instant()) / duration(200ms);
      if (fifths < 10) co_await sleep_for(std::chrono::milliseconds(10 - fifths));
      co_await peer.write_all(std::span(buffer).first(got.n));
    }
  };
  auto plan = plan_for("tcp://10.0.0.1:7", load::loop::closed);
  plan.warmup.reset();
  plan.window = 1s;
  const auto seen = load_on(plan, warms);
  CHECK(seen.what.steady);
  CHECK(seen.what.warmup_s > 2);
  CHECK(seen.what.warmup_s < 5);
  CHECK(ms(seen.what.latency.at(0.99)) < 0.5);
}

TEST_CASE("nobody listens: nothing is measured, and why") {
  auto plan = plan_for("tcp://10.0.0.1:8", load::loop::closed);
  const auto seen = load_on(plan, echo);
  CHECK(spoiled_by(seen, "not_measured"));
  CHECK(seen.what.failure.find("refused") != std::string::npos);
}

TEST_CASE("bursts come at once, at the rate that was asked for") {
  auto plan = plan_for("tcp://10.0.0.1:7", load::loop::open, 1000);
  plan.arrivals = load::arrival::bursts;
  plan.burst = 50;
  plan.connections = 10;
  const auto seen = load_on(plan, echo);
  CHECK(seen.what.scheduled == doctest::Approx(5000).epsilon(0.02));
  // The last of a burst wait for four round trips of others.
  CHECK(ms(seen.what.latency.at(0.99)) >= 0.9);
}

TEST_CASE("recorded arrivals are asked when they were, once") {
  auto plan = plan_for("tcp://10.0.0.1:7", load::loop::open);
  plan.arrivals = load::arrival::recorded;
  for (std::uint64_t i = 0; i < 100; ++i) plan.instants.push_back(200'000'000 + i * 10'000'000);
  const auto seen = load_on(plan, echo);
  CHECK(seen.what.scheduled == 100);
  CHECK(seen.what.latency.count() == 100);
}

TEST_CASE("a datagram that is lost is an error after its time limit, not a latency") {
  load::outcome what;
  auto plan = plan_for("udp://10.0.0.1:7", load::loop::open, 500);
  plan.depth = 1000;
  plan.timeout = 200ms;
  load::run_context run(plan, 1);
  sim::network net({.seed = 5});
  auto& server = net.add_host("10.0.0.1/24");
  auto& client = net.add_host("10.0.0.2/24");
  net.link(server, client, {.delay = 100us, .loss = 0.05});
  net.start(server, [&](shard& here) -> task<> {
    auto socket = here.bind_udp({"10.0.0.1", 7});
    std::vector<std::byte> buffer(udp_socket::max_payload);
    for (;;) {
      auto got = co_await socket.receive_from(buffer);
      if (!got) break;
      auto sent = co_await socket.send_to(std::span(buffer).first(got.n), got.from).nothrow();
      (void)sent;
    }
  });
  net.start(client, [&](shard& here) -> task<> {
    virtual_clocks time(here);
    co_await load::run_on_shard(run, here, 0, time, what);
    server.shard().request_stop();
  });
  net.run();
  CHECK(what.latency.count() + what.error_count() == what.scheduled);
  const double lost = static_cast<double>(what.error_count()) / static_cast<double>(what.scheduled);
  CHECK(lost == doctest::Approx(0.0975).epsilon(0.3));
  CHECK(ms(what.latency.max()) < 1);
}

TEST_CASE("against a stub that takes a constant time the load adds no more than timers' ticks") {
  load::outcome what;
  load::noise_settings how;
  how.window = 100ms;
  sim::network net({.seed = 5});
  auto& client = net.add_host("10.0.0.2/24");
  net.start(client, [&](shard& here) -> task<> {
    virtual_clocks time(here);
    co_await load::run_against_stub(here, time, how, what);
  });
  net.run();
  CHECK(what.failure == "");
  CHECK(what.latency.count() == doctest::Approx(10'000).epsilon(0.05));
  CHECK(what.error_count() == 0);
  const auto added = load::added_by_load(what, how.takes);
  CHECK(added.at(0.99) <= 2 * 1024 + 32);  // its own tick and the stub's
}
