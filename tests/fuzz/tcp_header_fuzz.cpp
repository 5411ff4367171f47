// TCP headers and options: what was understood can be emitted and understood again, the same.
#include <array>

#include "fuzz/fuzz_support.hpp"
#include "stack/wire/tcp.hpp"

using namespace weir;
using namespace weir::fuzz;
namespace wire = weir::stack::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto bytes = input(data, size).all();
  wire::tcp_segment s;
  (void)wire::parse_tcp(bytes, true, s);
  if (wire::parse_tcp(bytes, false, s) != wire::parse_status::ok) return 0;
  claim_inside(s.payload, bytes, "payload inside the segment");
  claim(s.options.sack_count <= s.options.sack.size(), "as many blocks as there is room for");
  claim(s.segment_count() == 1, "a single segment");
  auto fits = wire::tcp_options_length(s.options);
  claim(fits <= wire::max_tcp_options && fits % 4 == 0, "options fit and are aligned");
  std::array<std::byte, wire::max_tcp_header> out;
  auto length = wire::emit_tcp_header(out, s);
  claim(length == wire::min_tcp_header + fits, "emitted as long as announced");
  wire::tcp_segment again;
  claim(wire::parse_tcp(std::span(out).first(length), false, again) == wire::parse_status::ok,
        "parses again");
  claim(again.sequence == s.sequence && again.flags == s.flags && again.window == s.window,
        "same fields");
  auto expected = s.options;
  expected.malformed = false;
  // Fewer blocks may fit behind our padding than the sender squeezed in.
  claim(again.options.sack_count <= expected.sack_count, "no block appears");
  expected.sack_count = again.options.sack_count;
  for (std::size_t i = expected.sack_count; i < expected.sack.size(); ++i) expected.sack[i] = {};
  claim(again.options == expected, "same options");
  return 0;
}
