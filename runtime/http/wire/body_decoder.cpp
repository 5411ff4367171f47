// The body of a message (body_decoder.hpp).
#include "runtime/http/wire/body_decoder.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

namespace weir::http::wire {
namespace {

constexpr unsigned most_digits = 15;  // of a chunk's size: no sum of two of them overflows

constexpr std::array<bool, 256> token_characters = [] {
  std::array<bool, 256> out{};
  for (unsigned c = '0'; c <= '9'; ++c) out[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) out[c] = out[c - 'a' + 'A'] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~"))
    out[static_cast<unsigned char>(c)] = true;
  return out;
}();

constexpr std::array<bool, 256> value_characters = [] {
  std::array<bool, 256> out{};
  for (unsigned c = 0x20; c < 256; ++c) out[c] = c != 0x7f;
  out['\t'] = true;
  return out;
}();

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return token_characters[static_cast<unsigned char>(c)];
  });
}

bool is_field_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return value_characters[static_cast<unsigned char>(c)]; });
}

bool parse_fields(std::string_view lines, std::vector<field>& into) {
  assert(lines.empty() || lines.ends_with("\r\n"));  // so no search below goes beyond the end
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  const char *at = lines.data(), *const end = at + lines.size();
  while (at != end) {
    const char* const name = at;
    while (token_characters[static_cast<unsigned char>(*at)]) ++at;
    if (at == name || *at != ':') return false;
    const std::string_view word(name, static_cast<std::size_t>(at - name));
    const char* value = at + 1;
    const char* line_end =
        static_cast<const char*>(std::memchr(value, '\r', static_cast<std::size_t>(end - value)));
    at = line_end + 2;
    while (blank(*value)) ++value;
    while (line_end != value && blank(line_end[-1])) --line_end;
    into.push_back({word, {value, static_cast<std::size_t>(line_end - value)}});
  }
  return true;
}

void body_decoder::begin(framing how, std::uint64_t length, const body_limits& limits) {
  how_ = how;
  left_ = length;
  total_ = 0;
  extensions_ = 0;
  digits_ = 0;
  state_ = at::size;
  limits_ = limits;
  content_ = {};
  trailers_.clear();
  if (how == framing::chunked) left_ = 0;
  if (how == framing::until_close) left_ = UINT64_MAX;
}

body_decoder::outcome body_decoder::feed(std::span<const std::byte>& bytes) {
  switch (how_) {
    case framing::none: return outcome::complete;
    case framing::chunked: return feed_chunked(bytes);
    case framing::length:
      if (left_ == 0) return outcome::complete;
      if (left_ > limits_.content - total_) return outcome::too_long;
      break;
    case framing::until_close: break;
  }
  return bytes.empty() ? outcome::more : give(bytes);
}

/// Hands out what there is of the body or chunk.
body_decoder::outcome body_decoder::give(std::span<const std::byte>& bytes) {
  const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_));
  if (n > limits_.content - total_) return outcome::too_long;
  content_ = bytes.first(n);
  bytes = bytes.subspan(n);
  left_ -= n;
  total_ += n;
  return outcome::content;
}

body_decoder::outcome body_decoder::feed_chunked(std::span<const std::byte>& bytes) {
  while (!bytes.empty()) {
    if (state_ == at::trailers) return feed_trailers(bytes);
    if (state_ == at::data) {
      if (left_ != 0) return give(bytes);
      state_ = at::data_cr;
    }
    const auto result = feed_chunk_line(static_cast<char>(bytes.front()));
    if (result != outcome::more) return result;
    bytes = bytes.subspan(1);
  }
  return outcome::more;
}

/// One byte between two chunks' data.
body_decoder::outcome body_decoder::feed_chunk_line(char c) {
  switch (state_) {
    case at::size:
      if (const int digit = hex_digit(c); digit >= 0) {
        if (++digits_ > most_digits) return outcome::too_long;
        left_ = left_ * 16 + static_cast<unsigned>(digit);
        return left_ > limits_.content - total_ ? outcome::too_long : outcome::more;
      }
      if (digits_ == 0) return outcome::malformed;
      [[fallthrough]];
    case at::padding:
    case at::extension:
      if (c == '\r') {
        state_ = at::size_lf;
        return outcome::more;
      }
      // RFC 9112 7.1.1: extensions begin with a semicolon, and there may be whitespace before it.
      if (state_ != at::extension) {
        if (c != ';' && c != ' ' && c != '\t') return outcome::malformed;
        state_ = c == ';' ? at::extension : at::padding;
      }
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
        return outcome::malformed;
      return ++extensions_ > limits_.extensions ? outcome::too_long : outcome::more;
    case at::size_lf:
      if (c != '\n') return outcome::malformed;
      digits_ = 0;
      state_ = left_ == 0 ? at::trailers : at::data;
      if (left_ == 0) trailer_lines_.begin(limits_.trailers, false);
      return outcome::more;
    case at::data_cr: state_ = at::data_lf; return c == '\r' ? outcome::more : outcome::malformed;
    case at::data_lf: state_ = at::size; return c == '\n' ? outcome::more : outcome::malformed;
    case at::data:
    case at::trailers: break;
  }
  return outcome::malformed;
}

body_decoder::outcome body_decoder::feed_trailers(std::span<const std::byte>& bytes) {
  for (;;) {
    switch (trailer_lines_.feed(bytes)) {
      case head_splitter::outcome::more: return outcome::more;
      case head_splitter::outcome::line: break;
      case head_splitter::outcome::malformed: return outcome::malformed;
      case head_splitter::outcome::too_long: return outcome::trailers_long;
      case head_splitter::outcome::complete:
        if (!parse_fields(trailer_lines_.text(), trailers_)) return outcome::malformed;
        how_ = framing::none;
        return outcome::complete;
    }
  }
}

}  // namespace weir::http::wire
