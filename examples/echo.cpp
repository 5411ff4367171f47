// An echo server, whole: it stands in the README as it stands here. Port 7 needs root; try
// --backend asio.
#include <array>
#include <weir/weir.hpp>
using namespace std::chrono_literals;

weir::task<> session(weir::tcp_stream peer) {  // by value: lives in the frame
  std::array<std::byte, 4096> buffer;
  while (auto n = co_await peer.read_some(buffer).timeout(30s))  // 0 at end of stream
    co_await peer.write_all(std::span(buffer).first(n));
}
weir::task<> serve(weir::shard& shard) {  // runs on every shard
  auto listener = shard.listen({"127.0.0.1", 7});
  weir::scope sessions(shard, {.max = 10'000});
  while (auto peer = co_await listener.accept())  // empty once shutdown is requested
    sessions.spawn(session(std::move(*peer)));
  co_await sessions.drain(5s);  // wait, then cancel the rest
}
int main(int argc, char** argv) { return weir::run(weir::config::from_args(argc, argv), serve); }
