// A server that listens and never accepts: lazy_server --lazy ADDR:PORT. Its accept queue fills
// and stays full, for tests that look at it.
#include <vector>

#include <fmt/format.h>
#include <weir/weir.hpp>

#include "common/listening.hpp"

namespace {

weir::task<> serve(weir::shard& shard, const std::vector<examples::offer>& offers,
                   examples::announcement& announce) {
  std::vector<weir::tcp_listener> listeners;
  std::vector<examples::offer> got;  // with the ports that they have got
  for (auto& one : offers) {
    listeners.push_back(examples::listen_for(shard, one));
    got.push_back({one.service, listeners.back().local_endpoint()});
  }
  announce.shard_listens(shard, got);
  while (!shard.stop_requested()) co_await weir::sleep_for(std::chrono::milliseconds(20));
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<examples::offer> offers;
  weir::config_parser parser("lazy_server", "Listens, and never accepts.");
  parser.repeated("--lazy", "ADDR:PORT", "any number of times",
                  [&](std::string_view text) { return examples::add_offer(offers, "lazy", text); });
  auto settings = parser.parse_or_exit(argc, argv);
  examples::announcement announce("lazy_server");
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, offers, announce); });
}
