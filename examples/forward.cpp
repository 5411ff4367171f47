// forward: what connects here is connected to another place, and the two are joined. With
// --backend stack and a Unix socket on the other side it joins weir's own network with the
// kernel's.
#include <chrono>
#include <cstdio>
#include <vector>

#include <weir/weir.hpp>

#include "common/listening.hpp"

namespace {

using namespace std::chrono_literals;

weir::task<weir::any_stream> connect(const examples::offer& to) {
  if (to.on_unix()) {
    auto local = co_await weir::connect(to.local).timeout(10s);
    co_return std::move(local);
  }
  auto remote = co_await weir::connect(to.where).timeout(10s);
  co_return std::move(remote);
}

weir::task<> session(weir::tcp_stream client, const examples::offer& to) {
  auto server = co_await connect(to);  // or the client's connection goes
  co_await weir::relay(std::move(client), std::move(server), {.idle = 1h});
}

weir::task<> serve(weir::shard& shard, examples::offer from, const examples::offer& to,
                   examples::announcement& announce) {
  auto listener = examples::listen_for(shard, from);
  from.where = listener.local_endpoint();
  announce.shard_listens(shard, {from});
  weir::scope sessions(shard, {.max = 10'000});
  while (auto client = co_await listener.accept()) sessions.spawn(session(std::move(*client), to));
  co_await sessions.drain(5s);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<examples::offer> from, to;
  weir::config_parser parser("forward", "Joins what connects here with another place.");
  parser.repeated("--from", "ADDR:PORT", "accept here", [&](std::string_view text) {
    return examples::add_offer(from, "forward", text);
  });
  parser.repeated(
      "--to", "PLACE", "connect there: ADDR:PORT, unix:PATH",
      [&](std::string_view text) { return examples::add_stream_offer(to, "to", text); });
  const auto settings = parser.parse_or_exit(argc, argv);
  if (from.size() != 1 || to.size() != 1) {
    std::fprintf(stderr, "forward: give --from and --to, each once\n\n%s", parser.help().c_str());
    return 2;
  }
  examples::announcement announce("forward");
  return weir::run(settings, [&](weir::shard& shard) {
    return serve(shard, from.front(), to.front(), announce);
  });
}
