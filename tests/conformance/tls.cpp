// TLS over the streams of every back end: what a secured stream promises, and how handshakes end.
#include "weir/tls.hpp"

#include "conformance/harness.hpp"
#include "tls/certificates.hpp"

namespace conformance {

namespace {

namespace tls = weir::tls;

/// What both sides of a case know.
struct certificates {
  certificates() {
    tls_test::authority authority;
    const auto own = authority.issue();
    serving.certificate = own.certificate;
    serving.key = own.key;
    trusting.authorities = authority.certificate();
  }
  tls::context_options serving, trusting;
};
const certificates& made() {
  static const certificates all;
  return all;
}
constexpr tls::connect_options asked{.name = "server.test", .alpn = {}};

task<> read_to_the_end(tls::tls_stream& from, std::uint64_t& total) {
  std::vector<std::byte> buffer(16 * 1024);
  for (;;) {
    auto n = co_await from.read_some(buffer);
    if (n == 0) break;
    std::size_t same = 0;
    while (same < n && buffer[same] == pattern_at(total + same)) ++same;
    REQUIRE(same == n);
    total += n;
  }
}

task<> write_and_end(tls::tls_stream& to, std::uint64_t size) {
  const auto bytes = pattern(size);
  co_await to.write_all(bytes);
  co_await to.close_notify();
}

/// Until the other side has gone, in whatever way.
task<> hold(tcp_stream stream) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto got = co_await stream.read_some(buffer).nothrow();
    if (got.ec || got.n == 0) break;
  }
}

}  // namespace

struct tls_echo_goes_on_after_a_half_close {
  static constexpr std::uint64_t size = 300'000;
  static task<> subject(side& s) {
    auto plain = co_await s.accept_one();
    tls::server_context ours(made().serving);
    auto peer = co_await tls::accept(std::move(plain), ours);
    std::vector<std::byte> buffer(16 * 1024);
    for (;;) {
      auto n = co_await peer.read_some(buffer);
      if (n == 0) break;
      co_await peer.write_all(std::span(buffer).first(n));
    }
    co_await peer.write_all("and the last");
    co_await peer.close_notify();
    co_await s.wait(1);
  }
  static task<> peer(side& s) {
    auto plain = co_await s.connect();
    tls::client_context trust(made().trusting);
    auto there = co_await tls::connect(std::move(plain), trust, asked);
    auto echo = [](tls::tls_stream& from) -> task<> {
      std::vector<std::byte> buffer(size);
      co_await from.read_exactly(buffer);
      CHECK(buffer == pattern(size));
    };
    co_await weir::when_all(write_and_end(there, size), echo(there));
    std::array<std::byte, 12> last;
    co_await there.read_exactly(last);
    CHECK(text_of(last) == "and the last");
    CHECK(co_await there.read_some(last) == 0);
    s.signal(1);
  }
};
CONFORMANCE(tls_echo_goes_on_after_a_half_close);

struct tls_subject_is_a_client_as_well {
  static task<> subject(side& s) {
    auto plain = co_await s.connect();
    tls::client_context trust(made().trusting);
    auto there = co_await tls::connect(std::move(plain), trust, asked);
    std::uint64_t total = 0;
    co_await read_to_the_end(there, total);
    CHECK(total == 200'000);
    co_await there.close_notify();
  }
  static task<> peer(side& s) {
    auto plain = co_await s.accept_one();
    tls::server_context ours(made().serving);
    auto there = co_await tls::accept(std::move(plain), ours);
    co_await write_and_end(there, 200'000);
    std::array<std::byte, 1> end;
    CHECK(co_await there.read_some(end) == 0);
  }
};
CONFORMANCE(tls_subject_is_a_client_as_well);

struct tls_end_without_close_notify_is_truncated {
  static task<> subject(side& s) {
    auto plain = co_await s.connect();
    tls::client_context trust(made().trusting);
    auto there = co_await tls::connect(std::move(plain), trust, asked);
    std::array<std::byte, 4> half;
    co_await there.read_exactly(half);
    auto end = co_await there.read_some(half).nothrow();
    CHECK(end.ec == weir::error::truncated);
  }
  static task<> peer(side& s) {
    auto plain = co_await s.accept_one();
    tls::server_context ours(made().serving);
    auto there = co_await tls::accept(std::move(plain), ours);
    co_await there.write_all("half");
  }
};
CONFORMANCE(tls_end_without_close_notify_is_truncated);

struct tls_handshake_ends_in_time_with_a_silent_peer {
  static task<> subject(side& s) {
    auto plain = co_await s.connect();
    tls::client_context trust(made().trusting);
    auto none = co_await tls::connect(std::move(plain), trust, asked).timeout(50ms).nothrow();
    REQUIRE_FALSE(none);
    CHECK(none.error() == std::errc::timed_out);
  }
  static task<> peer(side& s) { co_await hold(co_await s.accept_one()); }
};
CONFORMANCE(tls_handshake_ends_in_time_with_a_silent_peer);

struct tls_handshake_that_is_cancelled_resets_its_connection {
  static task<> handshake(tcp_stream plain, tls::server_context& ours, std::error_code& how) {
    auto none = co_await tls::accept(std::move(plain), ours).nothrow();
    if (!none) how = none.error();
  }
  static task<> subject(side& s) {
    tls::server_context ours(made().serving);
    std::error_code how;
    weir::scope shaking(s.here);
    auto plain = co_await s.accept_one();
    shaking.spawn(handshake(std::move(plain), ours, how));
    co_await s.wait(1);
    shaking.cancel();
    co_await shaking.join();
    CHECK(how == std::errc::operation_canceled);
    co_await s.wait(2);
  }
  static task<> peer(side& s) {
    auto plain = co_await s.connect();
    s.signal(1);
    std::array<std::byte, 1> one;
    auto got = co_await plain.read_some(one).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
    s.signal(2);
  }
};
CONFORMANCE(tls_handshake_that_is_cancelled_resets_its_connection);

}  // namespace conformance
