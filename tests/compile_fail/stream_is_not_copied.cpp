// A stream closes its socket when it goes, so it has one owner.
// expect: deleted
#include <utility>

#include <weir/net.hpp>

void take(weir::tcp_stream peer);
void give(weir::tcp_stream peer) {
#ifdef MUST_NOT_COMPILE
  take(peer);
#else
  take(std::move(peer));
#endif
}
