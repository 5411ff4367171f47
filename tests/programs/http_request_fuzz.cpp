// Hostile requests: whatever comes, and however it is cut, the parser ends within its bounds, hands
// out nothing that could be read in two ways, and decides the same.
#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "fuzz/fuzz_support.hpp"
#include "runtime/http/wire/request_parser.hpp"
#include "weir/http/files.hpp"

using namespace weir::http::wire;

namespace {

constexpr request_limits limits{.head = 256, .fields = 8, .body = 64, .extensions = 16};

void check_path(std::string_view path) {
  const auto apart = weir::http::take_apart(path);
  if (!apart) return;
  for (const auto& segment : apart->segments)
    weir::fuzz::claim(!segment.starts_with('.') && segment.find('/') == std::string::npos,
                      "a segment stays in its folder");
}

void check_fields(std::span<const weir::http::field> fields) {
  for (const auto& f : fields) {
    weir::fuzz::claim(is_token(f.name), "a name is a token");
    const auto harmless = [](unsigned char c) { return c == '\t' || (c >= 0x20 && c != 0x7f); };
    weir::fuzz::claim(std::all_of(f.value.begin(), f.value.end(), harmless),
                      "a value has no line ends in it");
  }
}

/// What a parser makes of the bytes, as one text.
std::string decide(std::span<const std::byte> text, std::size_t chunk) {
  using outcome = request_parser::outcome;
  request_parser parser(limits);
  std::string out;
  std::size_t content = 0;
  while (!text.empty()) {
    auto piece = text.first(std::min(chunk, text.size()));
    text = text.subspan(piece.size());
    for (;;) {
      const auto before = piece.size();
      const auto what = parser.feed(piece);
      if (what == outcome::refused) {
        weir::fuzz::claim(parser.refusal() >= 400 && parser.refusal() < 600,
                          "a refusal is an error's status");
        return out + std::to_string(parser.refusal());
      }
      if (what == outcome::more) break;
      weir::fuzz::claim(what == outcome::complete || piece.size() < before, "an event takes bytes");
      const auto& head = parser.head();
      if (what == outcome::head) {
        weir::fuzz::claim(head.target.size() <= limits.head, "a target is bounded");
        weir::fuzz::claim(head.minor_version == 0 || is_host(head.host), "a host is one host");
        check_path(head.parts.path);
        check_fields(head.fields);
        content = 0;
      } else if (what == outcome::content) {
        content += parser.content().size();
        weir::fuzz::claim(content <= limits.body, "a body is bounded");
        out.append(reinterpret_cast<const char*>(parser.content().data()), parser.content().size());
      } else {
        check_fields(parser.trailers());
        weir::fuzz::claim(head.body != framing::length || content == head.length,
                          "a body has the length that was said");
        out += std::string(head.target) + (head.keep_alive ? " keep\n" : " close\n");
      }
    }
  }
  return out + (parser.idle() ? "idle" : "more");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::fuzz::input input(data, size);
  std::size_t chunk = input.number8() % 32 + 1u;
  auto text = input.all();
  weir::fuzz::claim(decide(text, text.size() + 1) == decide(text, chunk), "cuts change nothing");
  return 0;
}
