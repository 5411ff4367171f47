// A secured stream over the streams of weir/testing.hpp: cut at every byte, failing at every
// operation; and over kernel sockets.
#include <doctest/doctest.h>

#include <array>
#include <string>

#include "tls/certificates.hpp"
#include "weir/runtime.hpp"
#include "weir/sim.hpp"
#include "weir/testing.hpp"
#include "weir/tls.hpp"
#include "weir/weir.hpp"

using namespace std::chrono_literals;
using weir::any_stream;
using weir::shard;
using weir::task;
namespace tls = weir::tls;

namespace {

struct certificates {
  certificates() {
    const auto own = authority.issue();
    serving.certificate = own.certificate;
    serving.key = own.key;
    trusting.authorities = authority.certificate();
  }
  tls_test::authority authority;
  tls::context_options serving, trusting;
};

task<> echo(any_stream plain, tls::server_context& ours) {
  auto peer = co_await tls::accept(std::move(plain), ours);
  std::array<std::byte, 256> buffer;
  for (;;) {
    auto n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
  co_await peer.close_notify();
}

task<> echo_server(shard& s, weir::endpoint where, const tls::context_options& options) {
  tls::server_context ours(options);
  auto listener = s.listen(where);
  weir::scope sessions(s);
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    sessions.spawn(echo(std::move(*peer), ours));
  }
  co_await sessions.drain(5s);
}

/// A whole conversation. Throws where something fails.
task<std::string> converse(any_stream plain, tls::client_context& trust) {
  auto peer = co_await tls::connect(std::move(plain), trust, {.name = "server.test", .alpn = {}});
  co_await peer.write_all("what is said comes back");
  co_await peer.close_notify();
  std::string out;
  std::array<std::byte, 256> buffer;
  for (;;) {
    auto n = co_await peer.read_some(buffer);
    if (n == 0) break;
    out.append(reinterpret_cast<const char*>(buffer.data()), n);
  }
  co_return out;
}

/// Runs `client` beside an echo server, in the simulator.
template <class Client>
void beside_a_server(Client client) {
  certificates made;
  weir::sim::network net;
  auto& server = net.add_host("10.0.0.1/24");
  auto& other = net.add_host("10.0.0.2/24");
  net.link(server, other, {.delay = 1ms});
  const weir::endpoint where{server.address(), 443};
  net.start(server, [&](shard& s) { return echo_server(s, where, made.serving); });
  net.start(other, [&](shard& s) -> task<> {
    tls::client_context trust(made.trusting);
    co_await client(s, where, trust);
    server.shard().request_stop();
  });
  net.run();
}

}  // namespace

TEST_CASE("a_secured_stream_does_not_mind_where_its_bytes_are_cut") {
  std::size_t places = 0;
  beside_a_server([&](shard& s, weir::endpoint where, tls::client_context& trust) -> task<> {
    for (weir::testing::cut at{0};; at = {at.place + 1}) {
      any_stream plain = co_await s.connect(where);
      auto cut = weir::testing::cutting(std::move(plain), at);
      auto heard = co_await converse(std::move(cut), trust);
      CHECK(heard == "what is said comes back");
      if (at.place != 0 && !at.reached) break;
      ++places;
    }
  });
  CHECK(places > 500);
}

TEST_CASE("a_secured_stream_says_whichever_operation_of_its_inner_stream_fails") {
  std::size_t failures = 0;
  beside_a_server([&](shard& s, weir::endpoint where, tls::client_context& trust) -> task<> {
    for (std::size_t n = 0;; ++n) {
      weir::testing::fault at{n, std::make_error_code(std::errc::host_unreachable)};
      any_stream plain = co_await s.connect(where);
      auto failing = weir::testing::failing(std::move(plain), at);
      std::error_code failure;
      try {
        auto heard = co_await converse(std::move(failing), trust);
        CHECK(heard == "what is said comes back");
      } catch (const weir::io_error& e) {
        failure = e.code();
      }
      if (!at.reached) break;
      ++failures;
      CHECK(failure == std::errc::host_unreachable);
    }
  });
  CHECK(failures >= 5);
}

TEST_CASE("a_secured_stream_is_the_same_on_kernel_sockets") {
  for (const std::string backend : {"uring", "asio"}) {
    CAPTURE(backend);
    certificates made;
    weir::config settings;
    settings.backend = backend;
    std::string heard;
    const int code = weir::run(settings, [&](shard& s) -> task<> {
      tls::server_context ours(made.serving);
      tls::client_context trust(made.trusting);
      auto listener = s.listen({"127.0.0.1", 0});
      weir::scope sessions(s);
      auto plain = co_await s.connect(listener.local_endpoint());
      auto peer = co_await listener.accept();
      sessions.spawn(echo(std::move(*peer), ours));
      heard = co_await converse(std::move(plain), trust);
      co_await sessions.join();
    });
    if (code != 0) {
      MESSAGE("SKIPPED: " << backend << " is not to be had here");
      continue;
    }
    CHECK(heard == "what is said comes back");
  }
}
