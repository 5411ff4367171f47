// HTTP/1 answers out of bytes (response_parser.hpp).
#include "runtime/http/wire/response_parser.hpp"

#include <algorithm>
#include <charconv>

namespace weir::http::wire {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// RFC 9112 4: "HTTP/1.1 200 " and a reason that may be empty; the last space is often left out.
bool is_status_line(std::string_view line) {
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || !is_digit(line[7]) || line[8] != ' ')
    return false;
  if (!is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]) || line[9] == '0')
    return false;
  return line.size() == 12 || line[12] == ' ';
}

}  // namespace

response_parser::response_parser(const response_limits& limits) : limits_(limits) {
  llhttp_settings_init(&settings_);
  settings_.on_headers_complete = [](llhttp_t*) { return static_cast<int>(HPE_PAUSED); };
}

void response_parser::expect(method asked) {
  asked_ = asked;
  begun_ = in_body_ = false;
}

response_parser::outcome response_parser::feed(std::span<const std::byte>& bytes) {
  if (!in_body_) return feed_head(bytes);
  switch (body_.feed(bytes)) {
    case body_decoder::outcome::more: return outcome::more;
    case body_decoder::outcome::content: return outcome::content;
    case body_decoder::outcome::complete: return outcome::complete;
    default: return outcome::malformed;
  }
}

response_parser::outcome response_parser::feed_head(std::span<const std::byte>& bytes) {
  if (!begun_) splitter_.begin(limits_.head, false);
  begun_ = true;
  for (;;) {
    switch (splitter_.feed(bytes)) {
      case head_splitter::outcome::more: return outcome::more;
      case head_splitter::outcome::malformed:
      case head_splitter::outcome::too_long: return outcome::malformed;
      case head_splitter::outcome::line: {
        auto& text = splitter_.text();
        if (!is_status_line(std::string_view(text).substr(0, text.size() - 2)))
          return outcome::malformed;
        head_ = {};
        head_.minor_version = text[7] == '0' ? 0 : 1;
        if (text[7] > '1') text[7] = '1';  // RFC 9110 2.5
        break;
      }
      case head_splitter::outcome::complete:
        if (!read_head()) return outcome::malformed;
        if (head_.interim()) {
          begun_ = false;
        } else {
          body_.begin(head_.body, head_.length, {limits_.body, limits_.extensions, limits_.head});
          in_body_ = true;
        }
        return outcome::head;
    }
  }
}

bool response_parser::read_head() {
  const std::string_view text = splitter_.text();
  llhttp_t parser;
  llhttp_init(&parser, HTTP_RESPONSE, &settings_);
  auto error = llhttp_execute(&parser, text.data(), text.size());
  if (error == HPE_OK) error = llhttp_execute(&parser, "\r\n", 2);
  if (error != HPE_PAUSED) return false;
  head_.status = parser.status_code;
  fields_.clear();
  if (!parse_fields(text.substr(text.find("\r\n") + 2), fields_)) return false;
  head_.fields = fields_;
  return fields_.size() <= limits_.fields && read_framing();
}

/// RFC 9112 6.3.
bool response_parser::read_framing() {
  bool chunked = false, has_length = false, close = false, keep = false;
  for (const auto& f : fields_) {
    if (equals_ignoring_case(f.name, "connection")) {
      close = close || list_contains(f.value, "close");
      keep = keep || list_contains(f.value, "keep-alive");
    } else if (equals_ignoring_case(f.name, "content-length")) {
      const auto* const end = f.value.data() + f.value.size();
      if (has_length || f.value.empty() || !is_digit(f.value.front())) return false;
      const auto read = std::from_chars(f.value.data(), end, head_.length);
      if (read.ptr != end || read.ec != std::errc()) return false;
      has_length = true;
    } else if (equals_ignoring_case(f.name, "transfer-encoding")) {
      if (chunked || head_.minor_version == 0 || !equals_ignoring_case(f.value, "chunked"))
        return false;
      chunked = true;
    }
  }
  if (chunked && has_length) return false;
  head_.keep_alive = !close && (head_.minor_version >= 1 || keep);
  const bool without = asked_ == method::head || head_.status < 200 || head_.status == 204 ||
                       head_.status == 304 || (asked_ == method::connect && head_.status < 300);
  if (without)
    head_.length = 0;
  else
    head_.body = chunked ? framing::chunked : has_length ? framing::length : framing::until_close;
  if (head_.body == framing::until_close) head_.keep_alive = false;
  return true;
}

bool response_parser::end() { return in_body_ && body_.ends_with_connection(); }

}  // namespace weir::http::wire
