// Reading writes into the buffer, writing only looks at it.
// expect: (no known conversion|cannot convert|could not convert|no matching|no viable)
#include <span>

#include <weir/net.hpp>

weir::task<> session(weir::tcp_stream peer, std::span<const std::byte> bytes) {
  co_await peer.write_all(bytes);
#ifdef MUST_NOT_COMPILE
  co_await peer.read_some(bytes);
#endif
}
