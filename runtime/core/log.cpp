// Lines on stderr, and what may stand in them.
#include "core/log.hpp"

#include <cstdio>

namespace weir::detail {
namespace {

/// The length of the well-formed UTF-8 sequence (RFC 3629) that the text begins with; 0: none, or
/// one of the control characters.
std::size_t harmless(std::string_view text) {
  const auto at = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto in = [&](std::size_t i, unsigned least, unsigned most) {
    return at(i) >= least && at(i) <= most;
  };
  const auto first = at(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  if (first == 0xc2) return in(1, 0xa0, 0xbf) ? 2 : 0;  // below: C1, with another terminal's CSI
  if (first >= 0xc3 && first <= 0xdf) return in(1, 0x80, 0xbf) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool second = in(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf);
    return second && in(2, 0x80, 0xbf) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool second = in(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf);
    return second && in(2, 0x80, 0xbf) && in(3, 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto length = harmless(text);
    if (length == 0) {
      constexpr std::string_view digits = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(text[0]);
      out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
    out += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

void log_line(std::string_view text) noexcept try {
  std::fprintf(stderr, "weir: %s\n", printable(text).c_str());
} catch (...) {  // no memory for it
  std::fputs("weir: a line is missing here\n", stderr);
}

}  // namespace weir::detail
