// The head's end (head_splitter.hpp).
#include "runtime/http/wire/head_splitter.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace weir::http::wire {
namespace {

bool is_control(unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; }

/// The first control character from here on (tabs are some, too): eight bytes at a time.
std::size_t skip_text(const char* data, std::size_t from, std::size_t size) {
  constexpr std::uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
  for (; from + 8 <= size; from += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, data + from, 8);
    const auto deleted = eight ^ (0x7f * ones);
    const auto below = (eight - 0x20 * ones) & ~eight, is_deleted = (deleted - ones) & ~deleted;
    const auto found = (below | is_deleted) & tops;
    if (found == 0) continue;
    // The lowest mark is right; a borrow may have made one above it.
    if constexpr (std::endian::native == std::endian::little)
      return from + static_cast<unsigned>(std::countr_zero(found)) / 8;
    break;
  }
  while (from < size && static_cast<unsigned char>(data[from]) >= 0x20 && data[from] != 0x7f)
    ++from;
  return from;
}

}  // namespace

void head_splitter::begin(std::size_t most_bytes, bool skip_empty_lines) {
  text_.clear();
  most_ = most_bytes;
  taken_ = 0;
  state_ = at::line_begin;
  line_is_empty_ = true;
  first_line_ended_ = false;
  skip_empty_lines_ = skip_empty_lines;
}

head_splitter::outcome head_splitter::feed(std::span<const std::byte>& bytes) {
  const auto size = std::min(bytes.size(), most_ - taken_);
  const auto* const data = reinterpret_cast<const char*>(bytes.data());
  std::size_t skipped = 0;  // empty lines before the head
  const auto take = [&](std::size_t n) {
    text_.append(data + skipped, n - skipped);
    bytes = bytes.subspan(n);
    taken_ += n;
  };
  for (std::size_t i = 0; i < size; ++i) {
    const char c = data[i];
    if (state_ == at::after_cr) {
      if (c != '\n') return outcome::malformed;
      state_ = at::line_begin;
      if (!line_is_empty_) {
        line_is_empty_ = true;
        if (first_line_ended_) continue;
        first_line_ended_ = true;
        take(i + 1);
        return outcome::line;
      }
      if (first_line_ended_ || !skip_empty_lines_) {
        take(i + 1);
        text_.resize(text_.size() - 2);
        return outcome::complete;
      }
      text_.clear();
      skipped = i + 1;
      continue;
    }
    if (c == '\r') {
      state_ = at::after_cr;
      continue;
    }
    if (is_control(static_cast<unsigned char>(c))) return outcome::malformed;
    // A folded line: one that begins with whitespace goes on with the line before.
    if (state_ == at::line_begin && (c == ' ' || c == '\t')) return outcome::malformed;
    state_ = at::in_line;
    line_is_empty_ = false;
    i = skip_text(data, i + 1, size) - 1;
  }
  take(size);
  return taken_ >= most_ ? outcome::too_long : outcome::more;
}

}  // namespace weir::http::wire
