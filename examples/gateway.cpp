// gateway: whoever sends into weir's network for any address at all is connected to a host of the
// kernel's network, at the port that was meant, and answered only once that one has answered:
//   gateway --backend stack --host 192.0.2.1
#include <chrono>
#include <cstdio>
#include <string>

#include <weir/weir.hpp>

namespace {

using namespace std::chrono_literals;

weir::task<> carry(weir::connection_request asked, weir::ip_address host) {
  const weir::endpoint to{host, asked.destination().port};
  auto outside = co_await weir::connect(to, {.network = "kernel"}).nothrow();
  if (!outside) co_return asked.refuse(outside.error());  // the peer is told the truth
  auto inside = co_await asked.accept();
  co_await weir::relay(std::move(inside), std::move(*outside), {.idle = 5min});
}

weir::task<> serve(weir::shard& shard, weir::ip_address host) {
  auto listener = shard.listen_any(weir::any_destination::v4(), {.ask = true});
  std::printf("listening for any address\n");
  std::fflush(stdout);
  weir::scope flows(shard, {.max = 10'000});
  for (;;) {
    auto asked = co_await listener.accept_request();
    if (!asked) break;
    flows.spawn(carry(std::move(*asked), host));
  }
  co_await flows.drain(5s);
}

}  // namespace

int main(int argc, char** argv) {
  std::string host = "127.0.0.1";
  weir::config_parser parser("gateway", "Connects whoever asks for anybody with one host.");
  parser.value("--host", "ADDRESS", "with whom", host);
  const auto settings = parser.parse_or_exit(argc, argv);
  const auto address = weir::ip_address::parse(host);
  if (!address) {
    std::fprintf(stderr, "gateway: --host: '%s' is no address\n", host.c_str());
    return 2;
  }
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, *address); });
}
