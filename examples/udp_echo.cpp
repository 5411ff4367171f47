// A UDP echo server, whole: one socket on each shard, no sessions. Port 7 needs root; try --backend
// asio.
#include <vector>
#include <weir/weir.hpp>

weir::task<> serve(weir::shard& shard) {
  auto socket = shard.bind_udp({"127.0.0.1", 7});
  std::vector<std::byte> buffer(weir::udp_socket::max_payload);  // so that nothing is cut short
  while (auto got = co_await socket.receive_from(buffer))        // ends once shutdown is requested
    // A sender may be anybody, even one that cannot be answered: that is no reason to stop.
    (void)co_await socket.send_to(std::span(buffer).first(got.n), got.from).nothrow();
}
int main(int argc, char** argv) { return weir::run(weir::config::from_args(argc, argv), serve); }
