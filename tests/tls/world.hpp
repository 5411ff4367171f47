// Two simulated hosts that speak TLS with each other: what the server does with the connection,
// what the client does, and how it ended for each.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <string>

#include "tls/certificates.hpp"
#include "weir/sim.hpp"
#include "weir/tls.hpp"
#include "weir/weir.hpp"

namespace tls_test {

using namespace std::chrono_literals;
using weir::any_stream;
using weir::shard;
using weir::task;
namespace tls = weir::tls;

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline task<std::string> read_all(any_stream& from) {
  std::string out;
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto n = co_await from.read_some(buffer);
    if (n == 0) break;
    out += text_of(std::span(buffer).first(n));
  }
  co_return out;
}

/// Two hosts, an authority, a server's certificate.
struct world {
  explicit world(const weir::sim::link_options& wire = {.delay = 1ms}, std::uint64_t seed = 1)
      : net({.seed = seed}),
        server(net.add_host("10.0.0.1/24")),
        client(net.add_host("10.0.0.2/24")),
        link(net.link(server, client, wire)) {
    use(trusted.issue());
    trusting.authorities = trusted.certificate();
  }
  void use(const issued& own) {
    serving.certificate = own.certificate;
    serving.key = own.key;
  }
  weir::endpoint where() const { return {server.address(), 443}; }

  using side = std::function<task<>(tls::tls_stream&)>;
  /// One connection: what the server does with it, what the client does.
  void talk(side serve, side use_it) {
    net.start(server, [&](shard& s) { return accept_one(s, serve); });
    net.start(client, [&](shard& s) { return connect_one(s, use_it); });
    net.run();
  }
  task<> accept_one(shard& s, side& then) {
    tls::server_context context(serving);
    auto listener = s.listen(where());
    auto peer = co_await listener.accept();
    any_stream plain = std::move(*peer);
    try {
      auto secure = co_await tls::accept(std::move(plain), context);
      co_await then(secure);
    } catch (const weir::io_error& e) {
      server_failure = e.code();
    }
    server_words = context.last_failure();
    renewed_keys = context.counters().renewed_keys;
  }
  task<> connect_one(shard& s, side& then) {
    tls::client_context context(trusting);
    any_stream plain = co_await s.connect(where());
    try {
      auto secure = co_await tls::connect(std::move(plain), context, how);
      co_await then(secure);
    } catch (const tls::tls_error& e) {
      client_failure = e.code();
      client_words = e.details();
    } catch (const weir::io_error& e) {
      client_failure = e.code();
    }
  }

  weir::sim::network net;
  weir::sim::host& server;
  weir::sim::host& client;
  weir::sim::link& link;
  authority trusted;
  tls::context_options serving, trusting;
  tls::connect_options how{.name = "server.test", .alpn = {}};
  std::error_code server_failure, client_failure;
  std::string server_words, client_words;
  std::uint64_t renewed_keys = 0;  // by the server
};

inline task<> echo(tls::tls_stream& peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
  co_await peer.close_notify();
}

inline task<> say_hello(tls::tls_stream& peer) {
  co_await peer.write_all("hello");
  co_await peer.close_notify();
  auto answer = co_await read_all(peer);
  CHECK(answer == "hello");
}

inline task<> wait_for_the_end(tls::tls_stream& peer) {
  std::array<std::byte, 64> buffer;
  (void)co_await peer.read_some(buffer);
}

}  // namespace tls_test
