// Calling an operation only describes it; without co_await nothing is read.
// expect: nodiscard
#include <array>

#include <weir/net.hpp>

weir::task<> session(weir::tcp_stream peer) {
  std::array<std::byte, 16> buffer;
  co_await peer.read_some(buffer);
#ifdef MUST_NOT_COMPILE
  peer.read_some(buffer);
#endif
}
