// Hostile answers: whatever comes, and however it is cut, a client's parser ends within its bounds
// and decides the same; and what a WebSocket's peer may say of compression, or compress.
#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "fuzz/fuzz_support.hpp"
#include "runtime/http/wire/response_parser.hpp"
#if WEIR_FUZZ_WEBSOCKET
#include "runtime/http/websocket/deflate.hpp"
#endif

namespace {

using namespace weir::http::wire;
using weir::fuzz::claim;

constexpr response_limits limits{.head = 256, .fields = 8, .body = 64, .extensions = 16};

std::string decide(std::span<const std::byte> text, std::size_t chunk, weir::http::method asked) {
  using outcome = response_parser::outcome;
  response_parser parser(limits);
  parser.expect(asked);
  std::string out;
  std::size_t content = 0;
  while (!text.empty()) {
    auto piece = text.first(std::min(chunk, text.size()));
    text = text.subspan(piece.size());
    for (;;) {
      const auto before = piece.size();
      const auto what = parser.feed(piece);
      if (what == outcome::malformed) return out + "malformed";
      if (what == outcome::more) break;
      claim(what == outcome::complete || piece.size() < before, "an event takes bytes");
      const auto& head = parser.head();
      if (what == outcome::head) {
        claim(head.status >= 100 && head.status <= 999, "a status has three digits");
        claim(head.fields.size() <= limits.fields, "fields are bounded");
        out += std::to_string(head.status) + (head.keep_alive ? " keep\n" : " close\n");
      } else if (what == outcome::content) {
        content += parser.content().size();
        claim(content <= limits.body, "a body is bounded");
        claim(asked != weir::http::method::head, "HEAD has no body");
        out.append(reinterpret_cast<const char*>(parser.content().data()), parser.content().size());
      } else {
        claim(head.body != framing::length || content == head.length,
              "a body has the length that was said");
        return out + "complete " + std::to_string(piece.size() + text.size());
      }
    }
  }
  return out + (parser.end() ? "ended" : "more");
}

void decompress([[maybe_unused]] std::string_view text) {
#if WEIR_FUZZ_WEBSOCKET
  bool too_long = false;
  const auto out = weir::http::detail::inflate(text, 1000, too_long);
  claim(!out || out->size() <= 1000, "what is inflated is bounded");
  claim(!(out && too_long), "too long is no message");
  const auto answer = weir::http::detail::accept_deflate(text);
  claim(answer.empty() || answer.starts_with("permessage-deflate; server_no_context_takeover"),
        "an answer is ours");
  (void)weir::http::detail::read_deflate_answer(text);
  const auto again =
      weir::http::detail::inflate(weir::http::detail::deflate(text), text.size(), too_long);
  claim(again == text, "what was deflated is inflated");
#endif
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::fuzz::input input(data, size);
  const auto first = input.number8();
  const auto asked = first % 2 == 0 ? weir::http::method::get : weir::http::method::head;
  const auto text = input.all();
  claim(decide(text, text.size() + 1, asked) == decide(text, first / 2 % 32 + 1u, asked),
        "cuts change nothing");
  decompress({reinterpret_cast<const char*>(text.data()), text.size()});
  return 0;
}
