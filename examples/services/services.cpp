// See services.hpp.
#include "services/services.hpp"

#include <string>
#include <vector>

namespace services {
namespace {

constexpr std::size_t line_length = 72;  // RFC 864: "one popular pattern is 72 chraracter lines"
constexpr char first_character = ' ';
constexpr std::size_t characters = 95;  // the printing ones of ASCII
constexpr std::size_t repetitions = 9;  // one write is worth 62 KiB
constexpr weir::duration lending_time =
    std::chrono::milliseconds(20);  // how long a write may hold lent bytes

std::string make_pattern() {
  std::string out;
  for (std::size_t line = 0; line < repetitions * characters; ++line) {
    for (std::size_t i = 0; i < line_length; ++i)
      out += static_cast<char>(first_character + static_cast<char>((line + i) % characters));
    out += "\r\n";
  }
  return out;
}

/// The pattern stays where it is for good, so a back end that can send from the caller's memory
/// need not copy it first, and has nothing to give back.
weir::owned_buffer pattern_to_send() {
  return {std::as_bytes(std::span(chargen_pattern())), [](void*) noexcept {}, nullptr};
}

/// discard() for a stream that somebody else owns.
weir::task<> throw_away(weir::any_stream& peer, weir::duration idle) {
  for (;;) {
    auto chunk = co_await peer.receive().timeout(idle);
    if (!chunk) co_return;
  }
}

/// Sends a lent chunk back. Lent bytes belong to all of a shard's connections: a peer that takes
/// its time shall wait at its own session's expense, not at everybody's, so what it has not taken
/// soon is copied and the buffer given back.
weir::task<> send_back(weir::any_stream& peer, weir::lent_buffer& chunk, weir::duration idle) {
  auto sent = co_await peer.write_all(chunk.bytes()).timeout(lending_time).nothrow();
  if (!sent.ec) co_return;
  if (sent.ec != std::errc::timed_out) throw weir::io_error(sent.ec, "write_all");
  auto left = chunk.bytes().subspan(sent.n);
  std::vector<std::byte> copy(left.begin(), left.end());
  chunk.release();
  co_await peer.write_all(std::span<const std::byte>(copy)).timeout(idle);
}

}  // namespace

weir::task<> echo(weir::any_stream peer, limits limit) {
  for (;;) {
    // Lent bytes: nothing is copied, and a session that waits owns no buffer. What it needs for
    // writing lives in a frame of its own, which an idle session does not have either.
    auto chunk = co_await peer.receive().timeout(limit.idle);
    if (!chunk) co_return;
    co_await send_back(peer, chunk, limit.idle);
  }
}

weir::task<> udp_echo(weir::udp_socket& socket) {
  constexpr std::uint16_t first_free_port = 1024;
  std::vector<std::byte> buffer(weir::udp_socket::max_payload);
  while (auto got = co_await socket.receive_from(buffer)) {
    // A service of its own sits there, by a forged address perhaps: two that answer each other
    // would never stop.
    if (got.from.port < first_free_port) continue;
    // Who cannot be answered goes without.
    (void)co_await socket.send_to(std::span(buffer).first(got.n), got.from).nothrow();
  }
}

std::string_view chargen_pattern() {
  static const std::string pattern = make_pattern();
  return pattern;
}

weir::task<> discard(weir::any_stream peer, limits limit) { co_await throw_away(peer, limit.idle); }

weir::task<> chargen(weir::any_stream peer, limits limit) {
  weir::scope reading(peer.owner(), {.max = 1});
  reading.spawn(throw_away(peer, weir::no_limit));
  for (;;) {
    auto sent = co_await peer.write_all(pattern_to_send()).timeout(limit.idle).nothrow();
    if (sent.ec) break;
  }
  reading.cancel();
  co_await reading.join();
}

}  // namespace services
