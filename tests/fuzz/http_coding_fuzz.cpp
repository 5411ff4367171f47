// Hostile content codings: what a client may say of the codings that it takes, and what a server
// may say that it has compressed. A decoder ends, within its memory, and decides the same however
// its input is cut.
#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/fuzz_support.hpp"
#include "runtime/http/coding/coding.hpp"

namespace {

using namespace weir::http;
using weir::fuzz::claim;

constexpr std::size_t most = 64 * 1024;  // bytes that are looked at

struct decoded {
  std::string text;
  bool malformed = false, complete = false;
  bool operator==(const decoded&) const = default;
};

decoded decode(coding what, std::span<const std::byte> in, std::size_t chunk, std::size_t room) {
  const auto by = decoder::make(what);
  std::vector<std::byte> block(room);
  decoded out;
  while (!in.empty() && out.text.size() < most) {
    auto piece = in.first(std::min(chunk, in.size()));
    in = in.subspan(piece.size());
    for (;;) {
      const auto before = piece.size();
      const auto n = by->read(piece, block);
      if (!n) {
        out.malformed = true;
        return out;
      }
      claim(*n <= room, "no more is given than there is room for");
      out.text.append(reinterpret_cast<const char*>(block.data()), *n);
      if (out.text.size() >= most) break;
      if (*n == 0 && (piece.empty() || piece.size() == before)) break;
    }
  }
  out.text.resize(std::min(out.text.size(), most));
  out.complete = out.text.size() < most && by->complete();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span input(reinterpret_cast<const std::byte*>(data), size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::array fields = {field{"Accept-Encoding", text},
                             field{"accept-encoding", text.substr(size / 2)}};
  claim(knows(negotiate(fields)), "a coding that was built in is chosen");
  (void)read_coding(text);
  for (const auto what : {coding::gzip, coding::zstd}) {
    if (!knows(what)) continue;
    const auto whole = decode(what, input, std::max<std::size_t>(size, 1), 4096);
    if (!whole.malformed) claim(whole == decode(what, input, 7, 100), "the cuts change nothing");
    std::string packed;
    encoder::make(what)->add(input, encoder::then::end, packed);
    const auto back = decode(what, std::as_bytes(std::span(packed)), 11, 333);
    claim(size >= most || (back.text == text && back.complete), "what was encoded comes back");
  }
  return 0;
}
