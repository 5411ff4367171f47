// Coroutines for tests of several networks on one shard: echo servers on a network, and clients
// that leave by one.
#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

#include "weir/relay.hpp"
#include "weir/weir.hpp"

namespace networks_test {

using namespace std::chrono_literals;

inline weir::task<> echo_stream(weir::tcp_stream peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
}

/// Until the stop.
inline weir::task<> serve_echo(weir::tcp_listener listener) {
  auto& here = co_await weir::this_shard();
  weir::scope sessions(here);
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    sessions.spawn(echo_stream(std::move(*peer)));
  }
  co_await sessions.drain(10s);
}

inline weir::task<> serve_echo(weir::udp_socket socket) {
  std::array<std::byte, 2048> buffer;
  for (;;) {
    auto got = co_await socket.receive_from(buffer);
    if (got.ec) break;
    co_await socket.send_to(std::span(buffer).first(got.n), got.from);
  }
}

/// What connects is joined with `to` on another network.
inline weir::task<> join(weir::tcp_stream inside, weir::endpoint to, std::string_view via) {
  auto outside = co_await weir::connect(to, {.network = via});
  co_await weir::relay(std::move(inside), std::move(outside));
}
inline weir::task<> serve_relay(weir::tcp_listener listener, weir::endpoint to,
                                std::string_view via) {
  auto& here = co_await weir::this_shard();
  weir::scope sessions(here);
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    sessions.spawn(join(std::move(*peer), to, via));
  }
  co_await sessions.drain(10s);
}

inline std::string pattern(std::size_t size, std::size_t seed) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    out[i] = static_cast<char>((i * 31 + i / 251 + seed) % 256);
  return out;
}

inline weir::task<> send_all(weir::tcp_stream& peer, const std::string& bytes) {
  co_await peer.write_all(bytes);
  peer.shutdown_send();
}

/// Everything comes back, in order, and then the end. Throws else.
inline weir::task<> talk_tcp(weir::endpoint to, std::string_view via, std::size_t size) {
  auto& here = co_await weir::this_shard();
  auto peer = co_await weir::connect(to, {.network = via}).timeout(20s);
  const auto sent = pattern(size, to.port);
  weir::scope writing(here);
  writing.spawn(send_all(peer, sent));
  std::string back;
  std::array<char, 8192> buffer;
  for (;;) {
    auto n = co_await peer.read_some(std::as_writable_bytes(std::span(buffer))).timeout(20s);
    if (n == 0) break;
    back.append(buffer.data(), n);
  }
  co_await writing.join();
  if (back != sent)
    throw std::runtime_error(to.to_string() + " via " + std::string(via) + ": other bytes");
}

inline weir::task<> talk_udp(weir::endpoint to, std::string_view via) {
  auto& here = co_await weir::this_shard();
  auto socket = here.connect_udp(to, {}, {.network = via});
  const auto sent = pattern(700, to.port);
  co_await socket.send(sent);
  std::array<std::byte, 2048> buffer;
  auto got = co_await socket.receive(buffer).timeout(20s);
  const std::string back(reinterpret_cast<const char*>(buffer.data()), got.n);
  if (back != sent)
    throw std::runtime_error(to.to_string() + " via " + std::string(via) + ": other bytes");
}

}  // namespace networks_test
