// See services.hpp.
#include "services/services.hpp"

#include <string>

namespace services {
namespace {

constexpr std::size_t line_length = 72;  // RFC 864: "one popular pattern is 72 chraracter lines"
constexpr char first_character = ' ';
constexpr std::size_t characters = 95;  // the printing ones of ASCII

std::string make_pattern() {
  std::string out;
  for (std::size_t line = 0; line < characters; ++line) {
    for (std::size_t i = 0; i < line_length; ++i)
      out += static_cast<char>(first_character + static_cast<char>((line + i) % characters));
    out += "\r\n";
  }
  return out;
}

/// discard() for a stream that somebody else owns.
weir::task<> throw_away(weir::tcp_stream& peer, weir::duration idle) {
  for (;;) {
    auto chunk = co_await peer.receive().timeout(idle);
    if (!chunk) co_return;
  }
}

}  // namespace

std::string_view chargen_pattern() {
  static const std::string pattern = make_pattern();
  return pattern;
}

weir::task<> echo(weir::tcp_stream peer, limits limit) {
  for (;;) {
    // Lent bytes: nothing is copied, and a session that waits owns no buffer.
    auto chunk = co_await peer.receive().timeout(limit.idle);
    if (!chunk) co_return;
    co_await peer.write_all(chunk.bytes()).timeout(limit.idle);
  }
}

weir::task<> discard(weir::tcp_stream peer, limits limit) { co_await throw_away(peer, limit.idle); }

weir::task<> chargen(weir::tcp_stream peer, limits limit) {
  weir::scope reading(peer.owner(), {.max = 1});
  reading.spawn(throw_away(peer, weir::duration(-1)));
  for (;;) {
    auto sent = co_await peer.write_all(chargen_pattern()).timeout(limit.idle).nothrow();
    if (sent.ec) break;
  }
  reading.cancel();
  co_await reading.join();
}

}  // namespace services
