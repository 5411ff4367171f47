// A server that computes for long without holding anybody up: each line is a number, the answer its
// largest prime factor. The factoring runs on the pool's threads (offload.threads), so that easy
// questions are answered while hard ones are still thought about.
#include <charconv>
#include <string>

#include <weir/weir.hpp>

using namespace std::chrono_literals;

namespace {

std::uint64_t largest_factor(std::uint64_t n) {
  std::uint64_t largest = 1;
  for (std::uint64_t f = 2; f <= n / f; ++f)
    for (; n % f == 0; n /= f) largest = f;
  return n > 1 ? n : largest;
}

weir::task<> session(weir::tcp_stream peer) {
  std::array<std::byte, 64> storage;
  weir::buffered_reader lines(peer, storage);
  for (;;) {
    auto line = co_await lines.read_line().timeout(60s).until_stop().nothrow();
    if (!line || !*line) co_return;  // silent, stopping, gone, or no number that long
    std::uint64_t number = 0;
    std::from_chars((*line)->data(), (*line)->data() + (*line)->size(), number);
    auto factor = co_await weir::offload([&number] { return largest_factor(number); }).nothrow();
    const auto answer = factor ? std::to_string(*factor) : factor.error().message();
    co_await peer.write_all(answer + "\n").timeout(60s);
  }
}

weir::task<> serve(weir::shard& shard, weir::endpoint where) {
  auto listener = shard.listen(where);
  std::printf("listening factors %s\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  weir::scope sessions(shard, {.max = 1000});
  while (auto peer = co_await listener.accept()) sessions.spawn(session(std::move(*peer)));
  co_await sessions.drain(5s);
}

}  // namespace

int main(int argc, char** argv) {
  std::string listen = "127.0.0.1:7010";
  weir::config_parser options("factors", "answers each number with its largest prime factor");
  options.value("--factors", "ADDR:PORT", "where to listen", listen);
  const auto settings = options.parse_or_exit(argc, argv);
  const auto where = weir::endpoint::parse(listen);
  if (!where) return std::fputs("factors: --factors: must be ADDR:PORT\n", stderr), 2;
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, *where); });
}
