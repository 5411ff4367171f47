// A whole connection to the HTTP server in a simulated network: whatever a client sends, in
// whatever pieces, on HTTP or on a WebSocket, the connection ends in time and the next client is
// served.
#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "fuzz/fuzz_support.hpp"
#include "weir/http.hpp"
#include "weir/sim.hpp"
#include "weir/weir.hpp"

namespace {

using namespace std::chrono_literals;
using namespace weir::http;
using weir::task;
using weir::fuzz::claim;

constexpr std::string_view upgrade =
    "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

task<response> echo(request& asked) {
  auto body = co_await asked.body().read_all({.max = 1000});
  co_return text(std::move(body));
}

task<response> stream(request&) {
  response out;
  out.body([](body_writer& to) -> task<> {
    for (int i = 0; i < 10; ++i) co_await to.write("some of it ");
  });
  co_return out;
}

[[maybe_unused]] task<> talk(websocket& peer) {
  for (;;) {
    auto said = co_await peer.receive();
    if (!said) break;
    claim(said->data.size() <= 1000, "a message is bounded");
    co_await peer.send(said->data);
  }
}

task<> serve(weir::shard& s, server_counters& counts) {
  router site;
  site.post("/", echo).get("/{name...}", stream);
#if WEIR_FUZZ_WEBSOCKET
  site.get("/ws", [](request& asked) -> task<response> {
    websocket_settings how;
    how.max_message = 1000;
    co_return websocket_upgrade(asked, talk, how);
  });
#endif
  server_settings how;
  how.max_head = 512;
  how.max_body = 2000;
  how.drain = 1s;
  server by(s, site, how);
  by.on_failure([](const std::exception_ptr&, const request&) {});
  auto listener = s.listen({"10.0.0.1", 80});
  co_await by.run(listener);
  counts = by.counters();
}

/// Sends the bytes in pieces, and reads what comes until the server has ended it.
task<> attack(weir::shard& s, std::span<const std::byte> bytes, std::size_t piece) {
  auto peer = co_await s.connect({"10.0.0.1", 80});
  while (!bytes.empty()) {
    const auto next = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(next.size());
    auto sent = co_await peer.write_all(next).nothrow();
    if (sent.ec) break;
    co_await weir::sleep_for(1ms);
  }
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto got = co_await peer.read_some(buffer).timeout(10min).nothrow();
    claim(got.ec != std::errc::timed_out, "a connection ends in time");
    if (got.ec || got.n == 0) break;
  }
}

task<> ask(weir::shard& s) {
  client web(s);
  auto got = co_await web.get("http://10.0.0.1/");
  claim(got.status() == 200, "the next client is served");
  auto body = co_await got.body().read_all();
  claim(body.size() == 110, "and whole");
}

// Not in LLVMFuzzerTestOneInput itself: g++ 12 gives coroutine lambdas in an extern "C" function
// one name.
void play(std::string_view all, std::size_t piece) {
  server_counters counts;
  weir::sim::network net({.seed = 1});
  auto& there = net.add_host("10.0.0.1/24");
  auto& here = net.add_host("10.0.0.2/24");
  net.link(there, here, {.delay = 1ms});
  net.start(there, [&](weir::shard& s) { return serve(s, counts); });
  net.start(here, [&](weir::shard& s) -> task<> {
    co_await attack(s, std::as_bytes(std::span(all)), piece);
    co_await ask(s);
    there.shard().request_stop();
  });
  net.run();
  claim(counts.connections == 2, "every connection was counted");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::fuzz::input input(data, size);
  const auto first = input.number8();
  const auto rest = input.all();
  std::string all(first % 2 == 0 ? std::string_view() : upgrade);
  all.append(reinterpret_cast<const char*>(rest.data()), rest.size());
  play(all, first / 2 + 1u);
  return 0;
}
