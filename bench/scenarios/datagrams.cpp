// weir-bench datagrams: see scenarios.hpp. Sender and receiver are two sockets of one shard, so
// that all that a datagram costs is in one thread's time.
#include <fmt/core.h>

#include <time.h>

#include <algorithm>
#include <array>
#include <exception>
#include <future>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "scenarios/scenarios.hpp"
#include "weir/runtime.hpp"
#include "weir/udp.hpp"
#include "weir/weir.hpp"

namespace weir::bench {
namespace {

constexpr std::size_t payload = 1200;  // what QUIC begins with (RFC 9000 14.1)
constexpr std::size_t burst = 48;      // what one piece may carry of it

double cpu_seconds() {
  timespec spent;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

struct path {
  udp_socket from, to;
  std::vector<std::byte> bytes = std::vector<std::byte>(burst * payload);
  std::vector<std::byte> memory = std::vector<std::byte>(burst * udp_socket::max_payload);
};

/// Each sends a burst and receives it.
using way = task<> (*)(path&);

task<> one_by_one(path& p) {
  for (std::size_t i = 0; i < burst; ++i)
    co_await p.from.send(std::span(p.bytes).subspan(i * payload, payload));
  for (std::size_t i = 0; i < burst; ++i) {
    const auto got = co_await p.to.receive_from(p.memory);
    if (got.n != payload) throw std::runtime_error("a datagram came back with another size");
  }
}

task<> receive_bursts(path& p) {
  std::array<incoming_datagram, burst> room;
  for (std::size_t i = 0; i < burst; ++i)
    room[i].buffer =
        std::span(p.memory).subspan(i * udp_socket::max_payload, udp_socket::max_payload);
  for (std::size_t bytes = 0; bytes < burst * payload;) {
    const auto n = co_await p.to.receive_batch(room);
    for (std::size_t i = 0; i < n; ++i) bytes += room[i].n;
  }
}

task<> in_batches(path& p) {
  std::array<outgoing_datagram, burst> batch;
  for (std::size_t i = 0; i < burst; ++i)
    batch[i].bytes = std::span(p.bytes).subspan(i * payload, payload);
  co_await p.from.send_batch(batch);
  co_await receive_bursts(p);
}

task<> in_pieces(path& p) {
  const outgoing_datagram piece{.bytes = p.bytes, .segment = payload};
  co_await p.from.send_batch(std::span(&piece, 1));
  co_await receive_bursts(p);
}

struct way_of {
  std::string_view name;
  way go;
  bool gro;
  std::vector<double> per_second = {};  // of the processor's, one for each round
};

task<> measure(shard& here, way_of& w, double seconds) {
  path p;
  p.to = here.bind_udp({"127.0.0.1", 0}, {.receive_buffer = 1u << 20, .gro = w.gro});
  p.from = here.connect_udp(p.to.local_endpoint());
  co_await w.go(p);  // once before it counts
  std::size_t sent = 0;
  const auto begun = cpu_seconds();
  double spent = 0;
  for (; spent < seconds; spent = cpu_seconds() - begun, sent += burst) co_await w.go(p);
  w.per_second.push_back(static_cast<double>(sent) / spent);
}

task<> measure_all(shard& here, std::span<way_of> ways, const datagrams_settings& settings) {
  for (unsigned round = 0; round < settings.rounds; ++round)
    for (auto& w : ways) co_await measure(here, w, settings.seconds);
}

double median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

}  // namespace

int run_datagrams(const datagrams_settings& settings) {
  std::array<way_of, 3> ways{way_of{"one by one", one_by_one, false},
                             way_of{"batches", in_batches, false},
                             way_of{"GSO and GRO", in_pieces, true}};
  config how;
  how.backend = settings.backend;
  {
    shard_thread thread(resolve_backend(how));
    std::promise<void> ended;
    thread.shard().post([&] {
      thread.shard().start(measure_all(thread.shard(), ways, settings),
                           [&](const std::exception_ptr& failed) {
                             if (failed)
                               ended.set_exception(failed);
                             else
                               ended.set_value();
                           });
    });
    ended.get_future().get();
  }
  fmt::print("{} bytes each, in bursts of {}, over the loopback on {}; {} rounds\n", payload, burst,
             settings.backend, settings.rounds);
  for (const auto& w : ways) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < w.per_second.size(); ++i)
      ratios.push_back(w.per_second[i] / ways[0].per_second[i]);
    const auto [low, high] = std::ranges::minmax(ratios);
    fmt::print(
        "{:<12} {:>9.0f} datagrams per CPU second, {:.2f} times one by one ({:.2f} to {:.2f})\n",
        w.name, median(w.per_second), median(ratios), low, high);
  }
  return 0;
}

}  // namespace weir::bench
