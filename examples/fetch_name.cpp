// Connects to a host by name and says whom it reached: fetch_name --host example.org --port 80.
// What could not be reached, and why, is in the error.
#include <cstdio>
#include <cstdlib>
#include <weir/resolve.hpp>
#include <weir/weir.hpp>

using namespace std::chrono_literals;

int main(int argc, char** argv) {
  std::string host = "localhost", port = "80";
  weir::config_parser options("fetch_name", "connects to a host by name");
  options.value("--host", "NAME", "whom to connect to", host);
  options.value("--port", "PORT", "at which port", port);
  const auto settings = options.parse_or_exit(argc, argv);
  int code = 0;
  auto fetch = [&](weir::shard& shard) -> weir::task<> {
    try {
      auto& names = weir::resolver_of(shard);
      auto addresses = co_await names.addresses(host).timeout(5s);
      for (const auto& one : addresses) std::printf("address %s\n", one.to_string().c_str());
      auto peer = co_await weir::connect(host, static_cast<std::uint16_t>(std::atoi(port.c_str())))
                      .timeout(5s);
      std::printf("connected %s\n", peer.remote_endpoint().to_string().c_str());
    } catch (const weir::io_error& error) {
      std::fprintf(stderr, "fetch_name: %s\n", error.what());
      code = 1;
    }
  };
  const int ended = weir::run(settings, fetch);
  return ended != 0 ? ended : code;
}
