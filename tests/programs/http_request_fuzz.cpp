// Hostile requests: whatever comes, and however it is cut, the HTTP server's parser ends within its
// bounds and decides the same.
#include <algorithm>
#include <string>

#include "fuzz/fuzz_support.hpp"
#include "http/wire/request_parser.hpp"
#include "http_server/files.hpp"

namespace {

constexpr http::request_limits limits{.head = 256, .body = 64};

/// What a parser makes of the bytes, as one text.
std::string decide(std::span<const std::byte> text, std::size_t chunk) {
  http::request_parser parser(limits);
  std::string out;
  while (!text.empty()) {
    auto piece = text.first(std::min(chunk, text.size()));
    text = text.subspan(piece.size());
    while (!piece.empty()) {
      auto before = piece.size();
      auto what = parser.feed(piece);
      if (what == http::request_parser::outcome::refused) {
        // An unknown method is 501 or 400 according to how much of it had come.
        auto status = parser.refusal() == 501 ? 400 : parser.refusal();
        weir::fuzz::claim(status >= 400 && status < 600, "a refusal is an error's status");
        return out + std::to_string(status);
      }
      if (what == http::request_parser::outcome::more) break;
      weir::fuzz::claim(piece.size() < before, "a request takes bytes");
      auto target = parser.current().target;
      weir::fuzz::claim(target.size() <= limits.head, "a target is bounded");
      if (auto path = http::path_of(target))
        if (auto apart = http::take_apart(*path))
          for (auto& segment : apart->segments)
            weir::fuzz::claim(!segment.starts_with('.') && segment.find('/') == std::string::npos,
                              "a segment stays in its folder");
      out += std::string(target) + (parser.current().keep_alive ? " keep\n" : " close\n");
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
