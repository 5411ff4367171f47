// forward: what connects here is connected to another place, and the two are joined. With
// --backend stack --via kernel it joins weir's own network with the machine's: a gateway. With
// networks of its own in the configuration it joins any two of them:
//
//   [network.lan]                              [network.wan]
//   address = ["10.7.0.2/24"]                  address = ["10.8.0.2/24"]
//   host_address = ["10.7.0.1/24"]             host_address = ["10.8.0.1/24"]
//
//   forward --config two.toml --from 10.7.0.2:80 --at lan --to 10.8.0.1:8080 --via wan
#include <chrono>
#include <cstdio>
#include <vector>

#include <weir/weir.hpp>

#include "common/listening.hpp"

namespace {

using namespace std::chrono_literals;

struct program {
  std::vector<examples::offer> from, to;
  std::string at, via;  // networks of `from` and `to`
};

weir::task<weir::any_stream> connect(const program& wanted) {
  const auto& to = wanted.to.front();
  if (to.on_unix()) {
    auto local = co_await weir::connect(to.local).timeout(10s);
    co_return std::move(local);
  }
  auto remote = co_await weir::connect(to.where, {.network = wanted.via}).timeout(10s);
  co_return std::move(remote);
}

weir::task<> session(weir::tcp_stream client, const program& wanted) {
  auto server = co_await connect(wanted);  // or the client's connection goes
  co_await weir::relay(std::move(client), std::move(server), {.idle = 1h});
}

weir::task<> serve(weir::shard& shard, const program& wanted, examples::announcement& announce) {
  auto from = wanted.from.front();
  auto listener = examples::listen_for(shard, from, wanted.at);
  from.where = listener.local_endpoint();
  announce.shard_listens(shard, {from});
  weir::scope sessions(shard, {.max = 10'000});
  while (auto client = co_await listener.accept())
    sessions.spawn(session(std::move(*client), wanted));
  co_await sessions.drain(5s);
}

}  // namespace

int main(int argc, char** argv) {
  program wanted;
  weir::config_parser parser("forward", "Joins what connects here with another place.");
  parser.repeated("--from", "ADDR:PORT", "accept here", [&](std::string_view text) {
    return examples::add_offer(wanted.from, "forward", text);
  });
  parser.repeated(
      "--to", "PLACE", "connect there: ADDR:PORT, unix:PATH",
      [&](std::string_view text) { return examples::add_stream_offer(wanted.to, "to", text); });
  parser.value("--at", "NAME", "accept on this network: kernel, or a [network.NAME]", wanted.at);
  parser.value("--via", "NAME", "connect from this network", wanted.via);
  const auto settings = parser.parse_or_exit(argc, argv);
  if (wanted.from.size() != 1 || wanted.to.size() != 1) {
    std::fprintf(stderr, "forward: give --from and --to, each once\n\n%s", parser.help().c_str());
    return 2;
  }
  examples::announcement announce("forward");
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, wanted, announce); });
}
