// Listeners that share a port: a listener on each of two shards, in one group. The policy decides
// who gets a connection; each member has an accept queue of its own.
#include <array>
#include <atomic>
#include <string>

#include <fmt/format.h>

#include "labs/lab.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::uint16_t port = 80;
constexpr unsigned most_shards = 16;
constexpr int clients = 400;
constexpr double limit_s = 20;

std::array<std::atomic<int>, most_shards> accepted_by{};
std::atomic<unsigned> listening = 0;
std::atomic<bool> over = false;

weir::task<> answer(weir::tcp_stream peer) {
  const auto text = fmt::format("shard {:2}", peer.owner().index());
  co_await peer.write_all(text);
}

weir::task<> serve(weir::tcp_listener& listener, weir::scope& sessions, unsigned shard) {
  while (auto peer = co_await listener.accept()) {
    ++accepted_by[shard % most_shards];
    sessions.spawn(answer(std::move(*peer)));
  }
}

int run_clients(const weir::endpoint& to) {
  int served = 0;
  for (int i = 0; i < clients; ++i) {
    lab::client c;
    if (c.connect(to, limit_s) && c.receive(8).starts_with("shard")) ++served;
  }
  return served;
}

void report(lab::stage& stage, unsigned shards, int served) {
  fmt::print("\n{} of {} clients were served:", served, clients);
  int least = clients, most = 0;
  for (unsigned i = 0; i < shards; ++i) {
    const int n = accepted_by[i];
    fmt::print("  shard {}: {}", i, n);
    least = std::min(least, n);
    most = std::max(most, n);
  }
  fmt::print("\n\n");
  stage.claim(served == clients, "every client was served");
  stage.claim(least > 0, "every member of the group got connections");
  stage.conclude(
      "Conclude: `sharded` gives each shard a queue of its own, and no lock between them. What a "
      "shard got\n"
      "follows from the policy: hash is even over many clients, round_robin always, least_loaded "
      "avoids a\n"
      "shard that does not accept.\n"
      "Turn: listen.sharing (exclusive, shared, sharded) and listen.policy (try --listen.policy "
      "round_robin).\n"
      "A listener without the group's owner key cannot join: it gets address_in_use.");
}

weir::task<> scene(weir::shard& shard, lab::stage& stage) {
  const auto shards = shard.settings().shard_count();
  const auto where = lab::server_address(shard.settings(), port);
  auto listener = shard.listen(where);
  weir::scope sessions(shard), accepting(shard);
  accepting.spawn(serve(listener, sessions, shard.index()));
  ++listening;
  while (listening < shards) co_await weir::sleep_for(1ms);
  if (shard.index() == 0) {
    int served = 0;
    co_await stage.watch([&] { served = run_clients(where); });
    report(stage, shards, served);
    over = true;
  }
  while (!over) co_await weir::sleep_for(5ms);
  accepting.cancel();
  co_await accepting.join();
  co_await sessions.drain(1s);
}

}  // namespace

int main(int argc, char** argv) {
  return lab::run(argc, argv,
                  {"lab_shared_port",
                   "two shards listen on one port; 400 clients come.",
                   {{"shards", "2"}, {"listen.sharing", "sharded"}}},
                  scene);
}
