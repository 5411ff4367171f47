// A write that was begun is owed to the peer: only reads end with the request to stop.
// expect: (constraints not satisfied|no matching)
#include <array>

#include <weir/net.hpp>

weir::task<> session(weir::tcp_stream peer) {
  std::array<std::byte, 4> bytes{};
  (void)co_await peer.read_some(bytes).until_stop();
#ifdef MUST_NOT_COMPILE
  (void)co_await peer.write_all(bytes).until_stop();
#endif
}
