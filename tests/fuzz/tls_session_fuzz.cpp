// TLS sessions in a simulated network: whatever a peer sends to a server or to a client, and
// whatever somebody between changes in an honest conversation, it ends in time, nobody is told
// anything that was not said, and the next client is served.
#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "fuzz/fuzz_support.hpp"
#include "tls/certificates.hpp"
#include "weir/sim.hpp"
#include "weir/tls.hpp"
#include "weir/weir.hpp"

namespace {

using namespace std::chrono_literals;
using weir::task;
using weir::fuzz::claim;
namespace tls = weir::tls;

constexpr std::string_view said = "what is said comes back, or nothing does";

struct certificates {
  certificates() {
    tls_test::authority authority;
    const auto own = authority.issue();
    serving.certificate = own.certificate;
    serving.key = own.key;
    serving.alpn = "h2,http/1.1";
    trusting.authorities = authority.certificate();
  }
  tls::context_options serving, trusting;
};

task<> echo(weir::tcp_stream plain, tls::server_context& ours) {
  auto made = co_await tls::accept(std::move(plain), ours).nothrow();
  if (!made) co_return;
  std::array<std::byte, 100> buffer;
  for (;;) {
    auto got = co_await made->read_some(buffer).timeout(10s).nothrow();
    if (got.ec || got.n == 0) break;
    auto back = co_await made->write_all(std::span(buffer).first(got.n)).timeout(10s).nothrow();
    if (back.ec) co_return;
  }
  (void)co_await made->close_notify().timeout(10s).nothrow();
}

task<> serve(weir::shard& s, const tls::context_options& options) {
  tls::server_context ours(options);
  auto listener = s.listen({"10.0.0.1", 443});
  weir::scope sessions(s);
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    sessions.spawn(echo(std::move(*peer), ours));
  }
  co_await sessions.drain(1h);
}

/// True: it went as it should. Otherwise nothing wrong was heard.
task<bool> converse(weir::shard& s, weir::endpoint to, tls::client_context& trust) {
  auto plain = co_await s.connect(to);
  constexpr tls::connect_options how{.name = "server.test", .alpn = "http/1.1"};
  auto made = co_await tls::connect(std::move(plain), trust, how).nothrow();
  if (!made) co_return false;
  auto sent = co_await made->write_all(said).timeout(10s).nothrow();
  if (sent.ec) co_return false;
  (void)co_await made->close_notify().timeout(10s).nothrow();
  std::string heard;
  std::array<std::byte, 64> buffer;
  for (;;) {
    auto got = co_await made->read_some(buffer).timeout(10min).nothrow();
    claim(got.ec != std::errc::timed_out, "a session ends in time");
    heard.append(reinterpret_cast<const char*>(buffer.data()), got.n);
    claim(said.starts_with(heard), "what is heard was said");
    if (got.ec) co_return false;
    if (got.n == 0) co_return heard == said;
  }
}

/// Sends the bytes in pieces, and reads what comes until the other side has ended it.
task<> babble(weir::tcp_stream peer, std::span<const std::byte> bytes, std::size_t piece) {
  while (!bytes.empty()) {
    const auto next = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(next.size());
    auto sent = co_await peer.write_all(next).nothrow();
    if (sent.ec) break;
    co_await weir::yield();
  }
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto got = co_await peer.read_some(buffer).timeout(10min).nothrow();
    claim(got.ec != std::errc::timed_out, "a handshake ends in time");
    if (got.ec || got.n == 0) break;
  }
}

/// One direction of somebody between: each change is where, counted from the last one, and what.
task<> pass(weir::tcp_stream& from, weir::tcp_stream& to, weir::fuzz::input changes) {
  std::size_t next = changes.number16() % 4096;
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto got = co_await from.read_some(buffer).nothrow();
    if (got.ec || got.n == 0) break;
    auto bytes = std::span(buffer).first(got.n);
    for (; next < bytes.size() && !changes.empty(); next += 1u + changes.number16() % 4096)
      bytes[next] ^= std::byte(changes.number8());
    next -= std::min(next, bytes.size());
    auto sent = co_await to.write_all(bytes).nothrow();
    if (sent.ec) break;
  }
  std::error_code ignored;
  to.shutdown_send(ignored);
}

task<> stand_between(weir::shard& s, weir::fuzz::input up, weir::fuzz::input down) {
  auto listener = s.listen({"10.0.0.3", 443});
  auto here = co_await listener.accept();
  auto there = co_await s.connect({"10.0.0.1", 443});
  co_await weir::when_all(pass(*here, there, up), pass(there, *here, down));
}

/// A server that babbles.
task<> lie(weir::shard& s, std::span<const std::byte> bytes, std::size_t piece) {
  auto listener = s.listen({"10.0.0.3", 443});
  auto peer = co_await listener.accept();
  co_await babble(std::move(*peer), bytes, piece);
}

// Not in LLVMFuzzerTestOneInput itself: g++ 12 gives coroutine lambdas in an extern "C" function
// one name.
void play(weir::fuzz::input input) {
  static const certificates made;
  const auto first = input.number8();
  const std::size_t piece = input.number8() + 1u;
  auto serving = made.serving;
  if (first & 4) serving.maximum = tls::version::tls1_2;
  weir::sim::network net({.seed = 1});
  auto& server = net.add_host("10.0.0.1/24");
  auto& client = net.add_host("10.0.0.2/24");
  auto& middle = net.add_host("10.0.0.3/24");
  net.link(server, client, {.delay = 1ms});
  net.link(server, middle, {.delay = 1ms});
  net.link(client, middle, {.delay = 1ms});
  net.start(server, [&](weir::shard& s) { return serve(s, serving); });
  const auto bytes = input.all();
  const bool to_server = first % 4 == 0, to_client = first % 4 == 1;
  net.start(client, [&](weir::shard& s) -> task<> {
    tls::client_context trust(made.trusting);
    if (to_server) {
      auto raw = co_await s.connect({"10.0.0.1", 443});
      co_await babble(std::move(raw), bytes, piece);
    } else {
      (void)co_await converse(s, {"10.0.0.3", 443}, trust);
    }
    const bool served = co_await converse(s, {"10.0.0.1", 443}, trust);
    claim(served, "the next client is served");
    server.shard().request_stop();
  });
  if (to_client)
    net.start(middle, [&](weir::shard& s) { return lie(s, bytes, piece); });
  else if (!to_server)
    net.start(middle, [&](weir::shard& s) {
      const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
      const auto half = bytes.size() / 2;
      return stand_between(s, {data, half}, {data + half, bytes.size() - half});
    });
  net.run();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  play({data, size});
  return 0;
}
