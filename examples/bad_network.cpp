// The test of a server on a bad network, in virtual time: 1% of the packets are lost, and the
// seconds that it takes pass at once. The same seed gives the same run.
#include <array>
#include <iostream>
#include <string>
#include <weir/sim.hpp>
#include <weir/weir.hpp>
using namespace std::chrono_literals;

weir::task<> session(weir::tcp_stream peer) {  // what is tested: that of echo.cpp
  std::array<std::byte, 4096> buffer;
  while (auto n = co_await peer.read_some(buffer).timeout(30s))
    co_await peer.write_all(std::span(buffer).first(n));
}
weir::task<> serve(weir::shard& shard) {
  auto listener = shard.listen({"10.0.0.1", 7});
  weir::scope sessions(shard, {.max = 10'000});
  while (auto peer = co_await listener.accept()) sessions.spawn(session(std::move(*peer)));
  co_await sessions.drain(5s);
}
weir::task<> exercise(weir::shard& shard, std::string& came_back) {
  auto peer = co_await shard.connect({"10.0.0.1", 7});
  std::array<std::byte, 1000> buffer;
  for (int i = 0; i < 100; ++i) {
    co_await peer.write_all(std::string(buffer.size(), static_cast<char>('a' + i % 26)));
    co_await peer.read_exactly(buffer).timeout(10s);
    came_back += weir::as_text(buffer);
  }
}

int main() {
  weir::sim::network net({.seed = 7});
  auto& came_back = net.keep(std::string());  // what tasks refer to lives as long as they do
  auto& server = net.add_host("10.0.0.1/24");
  auto& client = net.add_host("10.0.0.2/24");
  auto& link = net.link(server, client, {.delay = 10ms, .loss = 0.01});
  net.serve(server, serve);  // what run() takes; asked to stop when the others have ended
  net.start(client, [&](weir::shard& shard) { return exercise(shard, came_back); });
  net.run();
  std::cout << came_back.size() << " bytes came back; "
            << link.counters(0).lost + link.counters(1).lost << " packets were lost; "
            << net.now().ns() / 1'000'000 << " ms of virtual time\n";
  return came_back.size() == 100'000 ? 0 : 1;
}
