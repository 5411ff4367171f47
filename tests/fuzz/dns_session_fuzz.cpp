// A resolver's whole conversations with a name server that lies, in datagrams and on streams, in a
// simulated network: whatever it says, each question ends in time, what is believed is within its
// bounds, and of a name that it told the truth about nothing else is ever known.
#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/fuzz_support.hpp"
#include "support/name_server.hpp"
#include "weir/resolve.hpp"
#include "weir/sim.hpp"

namespace {

using namespace std::chrono_literals;
using weir::resolver;
using weir::task;
using weir::fuzz::claim;
using lies = std::vector<std::pair<std::string, bool>>;

const weir::endpoint server_at("10.0.0.1", 53);
constexpr std::size_t most_cached = 4;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The next lie: some bytes, mostly behind the head and the question of an honest answer.
std::string next_lie(weir::fuzz::input& from, const names_test::asked& q, unsigned how) {
  const auto words = text_of(from.take(from.number8()));
  if (how & 1) return words;
  const unsigned flags = 0x8000u | static_cast<unsigned>(from.number16());
  std::string out = q.id + names_test::number16(flags) + names_test::number16(1);
  for (int i = 0; i < 3; ++i) out += names_test::number16(from.number8() % 8);
  return out + q.wire + words;
}

lies lie_in_datagrams(weir::fuzz::input& from, const names_test::asked& q,
                      const std::string& honest) {
  lies out;
  while (!from.empty()) {
    const unsigned how = from.number8();
    out.emplace_back(next_lie(from, q, how), (how & 2) != 0);
    if ((how & 4) == 0) break;
  }
  if (from.empty()) out.emplace_back(honest, false);
  return out;
}

std::string lie_on_a_stream(weir::fuzz::input& from, const names_test::asked& q,
                            const std::string& honest) {
  if (from.empty()) return honest;
  const unsigned how = from.number8();
  const auto words = next_lie(from, q, how);
  if (how & 2) return words;
  return names_test::number16(static_cast<unsigned>(words.size())) + words;
}

task<> look_up(resolver& names, std::string name) {
  auto got = co_await names.addresses(name).nothrow();
  claim(!got || (!got->empty() && got->size() <= 128), "at least one address, and bounded");
}
task<> find_services(resolver& names) {
  auto got = co_await names.services("_x._tcp.lies.test").nothrow();
  claim(!got || (!got->empty() && got->size() <= 64), "at least one service, and bounded");
}
task<> find_names(resolver& names) {
  const auto address = *weir::ip_address::parse("10.0.0.9");
  auto got = co_await names.names(address).nothrow();
  claim(!got || (!got->empty() && got->size() <= 64), "at least one name, and bounded");
}
/// Nobody listens anywhere.
task<> connect(resolver& names) {
  auto got = co_await names.connect("lies.test", 9).timeout(3s).nothrow();
  claim(!got, "no connection without a listener");
}

task<> ask(weir::shard& s, bool& honest_now) {
  weir::resolver_settings how;
  how.servers = {server_at};
  how.cache = most_cached;
  resolver names(s, how);
  const auto begin = s.now();
  co_await weir::when_all(look_up(names, "lies.test"), find_services(names), find_names(names),
                          connect(names));
  co_await look_up(names, "www.lies.test");
  claim(s.now() - begin < 3 * how.timeout, "every question ends in time");
  claim(names.cached() <= most_cached, "no more answers are kept than were allowed");
  honest_now = true;
  auto got = co_await names.addresses("honest.test").nothrow();
  claim(got && got->size() == 1 && got->front() == server_at.address, "the truth is believed");
}

// Not in LLVMFuzzerTestOneInput itself: g++ 12 gives coroutine lambdas in an extern "C" function
// one name.
void play(weir::fuzz::input input) {
  bool honest_now = false;
  names_test::name_server server;
  server.zone["honest.test"] = {names_test::a("10.0.0.1")};
  server.lie = [&](const names_test::asked& q, const std::string& honest) {
    if (!honest_now) return lie_in_datagrams(input, q, honest);
    return lies{{honest, false}};
  };
  server.lie_over_tcp = [&](const names_test::asked& q, const std::string& honest) {
    return honest_now ? honest : lie_on_a_stream(input, q, honest);
  };
  weir::sim::network net({.seed = 1});
  auto& there = net.add_host("10.0.0.1/24");
  auto& here = net.add_host("10.0.0.2/24");
  net.link(there, here, {.delay = 1ms});
  net.start(there, [&](weir::shard& s) { return server.serve(s, server_at); });
  net.start(here, [&](weir::shard& s) -> task<> {
    co_await ask(s, honest_now);
    there.shard().request_stop();
  });
  net.run(1h);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  play({data, size});
  return 0;
}
