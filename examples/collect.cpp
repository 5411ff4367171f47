// Collects what programs of this machine say in datagrams, as a syslog daemon does: a line for
// each, with the process and user from which the kernel says it came.
//
//   collect --socket /run/app.log
#include <array>
#include <cstdio>
#include <string>

#include <weir/weir.hpp>

namespace {

weir::task<> collect(weir::shard& shard, const weir::unix_endpoint& name) {
  auto socket = weir::bind_datagrams(shard, name);
  std::printf("collecting on %s\n", socket.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  std::array<std::byte, 8192> buffer;
  for (;;) {
    auto got = co_await socket.receive_from(buffer).nothrow();
    if (got.ec && got.ec != std::errc::message_size) break;  // stopping
    const auto& who = got.from.credentials;
    const auto text = weir::as_text(std::span(buffer).first(got.n));
    std::printf("%d (user %u): %.*s%s\n", who.pid, who.uid, static_cast<int>(text.size()),
                text.data(), got.ec ? "..." : "");
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string name = "@collect";
  weir::config_parser options("collect", "prints the datagrams that programs send to a socket");
  options.value("--socket", "NAME", "a path, or @NAME", name);
  auto settings = options.parse_or_exit(argc, argv);
  settings.shards = 1;
  const auto where = weir::unix_endpoint::parse("unix:" + name);
  if (!where) return std::fputs("collect: --socket: a path, or @NAME\n", stderr), 2;
  return weir::run(settings, [&](weir::shard& shard) { return collect(shard, *where); });
}
