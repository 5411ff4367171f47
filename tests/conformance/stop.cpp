// The stop of a shard: a write that waits with until_stop() ends when it is requested. Reads,
// accepts and datagrams have their cases beside the others of their kind.
#include "conformance/harness.hpp"

namespace conformance {

namespace {

const auto cancelled = std::errc::operation_canceled;

}  // namespace

struct write_until_stop_ends_when_stop_is_requested {
  static constexpr std::uint64_t far_too_much = 64 << 20;

  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    const auto bytes = pattern(far_too_much);
    s.here.post([&s] { s.here.request_stop(); });
    const auto sent = co_await stream.write_all(bytes).until_stop().nothrow();
    CHECK(sent.ec == cancelled);
    CHECK(sent.n < bytes.size());
    s.signal(1, sent.n);  // what has gone is told, and it is what arrives
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    const auto sent = co_await s.wait(1);
    CHECK(co_await read_pattern(stream, sent) == sent);
  }
};
CONFORMANCE(write_until_stop_ends_when_stop_is_requested);

}  // namespace conformance
