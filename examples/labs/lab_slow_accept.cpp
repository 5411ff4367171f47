// A server that accepts too slowly, with a small backlog: the accept queue fills, the final ACKs of
// further handshakes are dropped, and those clients believe that they are connected and wait.
#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "labs/lab.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::uint16_t port = 80;
constexpr int clients = 24;
constexpr double client_limit_s = 20;

weir::task<> answer(weir::tcp_stream peer) { co_await peer.write_all("hello"); }

weir::task<> accept_slowly(weir::tcp_listener& listener, weir::scope& sessions) {
  while (auto peer = co_await listener.accept()) {
    sessions.spawn(answer(std::move(*peer)));
    co_await weir::sleep_for(100ms);  // the server's work before it accepts again
  }
}

/// Everybody at once; when each was served.
std::vector<double> all_at_once(const weir::endpoint& to) {
  std::vector<double> served(clients, -1);
  std::vector<std::jthread> threads;
  threads.reserve(served.size());
  for (auto& mine : served)
    threads.emplace_back([&mine, to] {
      const double begin = lab::seconds_now();
      lab::client c;
      if (c.connect(to, client_limit_s) && c.receive(5) == "hello")
        mine = lab::seconds_now() - begin;
    });
  threads.clear();
  std::sort(served.begin(), served.end());
  return served;
}

weir::task<> scene(weir::shard& shard, lab::stage& stage) {
  const auto where = lab::server_address(shard.settings(), port);
  auto listener = shard.listen(where);
  weir::scope sessions(shard), accepting(shard);
  accepting.spawn(accept_slowly(listener, sessions));
  std::vector<double> served;
  co_await stage.watch([&] { served = all_at_once(where); });
  const auto end = stage.look();
  const auto backlog = shard.settings().listen.backlog;
  fmt::print("\n{} clients came at once; the server accepts ten a second.\n", clients);
  fmt::print(
      "served: the first after {:.2f} s, the middle one after {:.2f} s, the last after {:.2f} "
      "s\n\n",
      served.front(), served[clients / 2], served.back());
  stage.claim(served.front() >= 0, "every client was served in the end: none was refused");
  stage.claim(stage.peak().listener.accept_queue <= backlog,
              fmt::format("never more than {} connections waited to be accepted", backlog));
  if (backlog < clients / 2)
    stage.claim(end.listener.accept_overflows.value_or(0) > 0,
                "handshakes were completed again and again, since their ACKs found the queue full");
  stage.conclude(
      "Conclude: overflows that grow mean that accept() is too slow or the backlog too short for a "
      "burst.\n"
      "The clients saw neither an error nor a refusal, only seconds: a dropped ACK is repaired by "
      "a\n"
      "retransmission, after 1 s, 2 s, 4 s.\n"
      "Turn: listen.backlog up to the largest burst (try --listen.backlog 64), or "
      "listen.overflow=reset\n"
      "to make clients go elsewhere at once, or accept faster.");
  accepting.cancel();
  co_await accepting.join();
  co_await sessions.drain(1s);
}

}  // namespace

int main(int argc, char** argv) {
  return lab::run(argc, argv,
                  {"lab_slow_accept",
                   "a server that accepts ten connections a second, and a backlog of 4.",
                   {{"listen.backlog", "4"}}},
                  scene);
}
