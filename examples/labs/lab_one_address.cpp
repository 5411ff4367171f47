// A thousand connections from one address: the flow table tells them apart by their ports, and each
// that does nothing owns no buffer.
#include <string>
#include <vector>

#include <fmt/format.h>

#include "labs/lab.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::uint16_t port = 7;
constexpr std::size_t clients = 1000;
constexpr double limit_s = 20;

weir::task<> echo(weir::tcp_stream peer) {
  for (;;) {
    auto chunk = co_await peer.receive();
    if (!chunk) co_return;
    co_await peer.write_all(chunk.bytes());
  }
}

weir::task<> serve(weir::tcp_listener& listener, weir::scope& sessions) {
  while (auto peer = co_await listener.accept()) sessions.spawn(echo(std::move(*peer)));
}

weir::task<> scene(weir::shard& shard, lab::stage& stage) {
  const auto where = lab::server_address(shard.settings(), port);
  auto listener = shard.listen(where);
  weir::scope sessions(shard), accepting(shard);
  accepting.spawn(serve(listener, sessions));
  std::size_t connected = 0, right = 0;
  co_await stage.watch([&] {
    std::vector<lab::client> all;
    for (std::size_t i = 0; i < clients; ++i) {
      auto& c = all.emplace_back();
      if (c.connect(where, limit_s)) ++connected;
    }
    lab::sleep_s(0.5);  // all there, none with anything to say
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto text = fmt::format("client number {:5}", i);
      if (all[i].send(text) && all[i].receive(text.size()) == text) ++right;
    }
  });
  fmt::print("\n{} clients connected from one address, {} got their own words back.\n\n", connected,
             right);
  stage.claim(connected == clients, "every one of them was accepted");
  stage.claim(right == clients, "each got its own bytes, not another's");
  stage.claim(stage.peak().connections == clients, "all of them were there at the same time");
  stage.conclude(
      "Conclude: a connection is two addresses and two ports. One client address has some 28,000 "
      "ports by\n"
      "default (net.ipv4.ip_local_port_range) towards one listener; then its connect() fails, not "
      "our accept().\n"
      "An idle connection keeps its state and no buffer: look at unread and unsent, they are 0.\n"
      "Turn: the server's own bound is its scope's .max (services --max-sessions).");
  accepting.cancel();
  co_await accepting.join();
  sessions.cancel();
  co_await sessions.join();
}

}  // namespace

int main(int argc, char** argv) {
  return lab::run(argc, argv, {"lab_one_address", "a thousand connections from one address.", {}},
                  scene);
}
