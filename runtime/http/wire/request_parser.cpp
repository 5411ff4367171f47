// HTTP/1 requests out of bytes (request_parser.hpp).
#include "runtime/http/wire/request_parser.hpp"

#include <algorithm>
#include <charconv>

namespace weir::http::wire {
namespace {

constexpr int bad_request = 400;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// A method's name as they all are: in capitals.
bool looks_like_a_method(std::string_view word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  });
}

/// Which of the fields that say how a request is to be read.
enum class concern : std::uint8_t { none, host, expect, connection, length, coding };
concern concern_of(std::string_view name) {
  const auto if_it_is = [&](std::string_view word, concern what) {
    return equals_ignoring_case(name, word) ? what : concern::none;
  };
  switch (name.size()) {
    case 4: return if_it_is("host", concern::host);
    case 6: return if_it_is("expect", concern::expect);
    case 10: return if_it_is("connection", concern::connection);
    case 14: return if_it_is("content-length", concern::length);
    case 17: return if_it_is("transfer-encoding", concern::coding);
    default: return concern::none;
  }
}

method method_of(std::uint8_t code) {
  switch (code) {
    case HTTP_GET: return method::get;
    case HTTP_HEAD: return method::head;
    case HTTP_POST: return method::post;
    case HTTP_PUT: return method::put;
    case HTTP_DELETE: return method::delete_;
    case HTTP_OPTIONS: return method::options;
    case HTTP_PATCH: return method::patch;
    case HTTP_CONNECT: return method::connect;
    case HTTP_TRACE: return method::trace;
    default: return method::other;
  }
}

const llhttp_settings_t callbacks = [] {
  llhttp_settings_t s;
  llhttp_settings_init(&s);
  s.on_headers_complete = [](llhttp_t*) { return static_cast<int>(HPE_PAUSED); };
  return s;
}();

}  // namespace

request_parser::request_parser(const request_limits& limits) : limits_(limits) {}

request_parser::outcome request_parser::refuse(int status) {
  refusal_ = status;
  return outcome::refused;
}

request_parser::outcome request_parser::feed(std::span<const std::byte>& bytes) {
  if (refusal_ != 0) return outcome::refused;
  return at_ == at::in_body ? feed_body(bytes) : feed_head(bytes);
}

request_parser::outcome request_parser::feed_head(std::span<const std::byte>& bytes) {
  if (!begun_) splitter_.begin(limits_.head, true);  // what head() refers to goes here
  begun_ = true;
  for (;;) {
    const auto found = splitter_.feed(bytes);
    // An empty line that came in two pieces was none of a request's.
    at_ = splitter_.text().empty() ? at::between : at::in_head;
    switch (found) {
      case head_splitter::outcome::more: return outcome::more;
      case head_splitter::outcome::malformed: return refuse(bad_request);
      case head_splitter::outcome::too_long: return refuse(splitter_.in_fields() ? 431 : 414);
      case head_splitter::outcome::line:
        if (const int status = check_request_line()) return refuse(status);
        break;
      case head_splitter::outcome::complete:
        if (const int status = read_head()) return refuse(status);
        body_.begin(head_.body, head_.length, {limits_.body, limits_.extensions, limits_.head});
        at_ = at::in_body;
        return outcome::head;
    }
  }
}

request_parser::outcome request_parser::feed_body(std::span<const std::byte>& bytes) {
  switch (body_.feed(bytes)) {
    case body_decoder::outcome::more: return outcome::more;
    case body_decoder::outcome::content: return outcome::content;
    case body_decoder::outcome::malformed: return refuse(bad_request);
    case body_decoder::outcome::too_long: return refuse(413);
    case body_decoder::outcome::trailers_long: return refuse(431);
    case body_decoder::outcome::complete: break;
  }
  at_ = at::between;
  begun_ = false;
  return outcome::complete;
}

/// As soon as the line is there: who sends something else than HTTP/1 is not waited for. RFC 9112
/// 2.3 and 3: method, target and version, one space between them.
int request_parser::check_request_line() {
  auto& text = splitter_.text();
  const auto line = std::string_view(text).substr(0, text.size() - 2);  // without its CR LF
  const auto first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == 0) return bad_request;
  if (last == first || line.find(' ', first + 1) != last) return bad_request;
  if (line.find('\t') != std::string_view::npos) return bad_request;
  const auto version = line.substr(last + 1);
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) ||
      version[6] != '.' || !is_digit(version[7]))
    return bad_request;
  if (version[5] != '1') return 505;
  head_ = {};
  // RFC 9110 2.5: a minor version that is not known yet is the highest that is. llhttp refuses it.
  if (version[7] > '1') text[last + 8] = '1';
  head_.minor_version = version[7] == '0' ? 0 : 1;
  method_end_ = first;
  target_end_ = last;
  line_end_ = line.size();
  return 0;
}

/// The status for what llhttp has against the head; 0: nothing.
int request_parser::ask_llhttp() {
  const std::string_view text = splitter_.text();
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &callbacks);
  auto error = llhttp_execute(&parser, text.data(), text.size());
  if (error == HPE_OK) error = llhttp_execute(&parser, "\r\n", 2);
  if (error == HPE_INVALID_METHOD && looks_like_a_method(text.substr(0, method_end_))) return 501;
  if (error != HPE_PAUSED) return bad_request;
  head_.method = method_of(parser.method);
  return 0;
}

int request_parser::read_head() {
  const std::string_view text = splitter_.text();
  if (const int status = ask_llhttp()) return status;
  head_.method_name = text.substr(0, method_end_);
  head_.target = text.substr(method_end_ + 1, target_end_ - method_end_ - 1);
  const auto parts = parse_target(head_.target, head_.method);
  if (!parts) return bad_request;
  head_.parts = *parts;
  fields_.clear();
  if (!parse_fields(text.substr(line_end_ + 2), fields_)) return bad_request;
  head_.fields = fields_;
  if (fields_.size() > limits_.fields) return 431;
  return read_fields();
}

int request_parser::read_fields() {
  head_.keep_alive = head_.minor_version >= 1 && head_.method != method::connect;
  bool close = false;
  int expectation = 0;
  const field* host = nullptr;
  bool one_host = true;
  for (const auto& f : fields_) {
    switch (const auto what = concern_of(f.name)) {
      case concern::none: break;
      case concern::host:
        one_host = host == nullptr && is_host(f.value);
        host = &f;
        break;
      case concern::connection:
        if (list_contains(f.value, "close")) close = true;
        if (head_.minor_version == 0 && list_contains(f.value, "keep-alive"))
          head_.keep_alive = true;
        break;
      case concern::expect:
        // RFC 9110 10.1.1: of HTTP/1.0 it is ignored.
        if (head_.minor_version == 0) break;
        head_.expects_continue = equals_ignoring_case(f.value, "100-continue");
        if (!head_.expects_continue) expectation = 417;
        break;
      case concern::length:
      case concern::coding:
        if (const int status = read_framing(f, what == concern::length)) return status;
    }
  }
  if (close) head_.keep_alive = false;
  // RFC 9112 3.2: exactly one Host in HTTP/1.1, and a target that names a host counts instead.
  if (!one_host || (host == nullptr && head_.minor_version >= 1)) return bad_request;
  head_.host = head_.parts.authority;
  if (head_.host.empty() && host != nullptr) head_.host = host->value;
  if (head_.body == framing::length && head_.length > limits_.body) return 413;
  return expectation;
}

/// RFC 9112 6: one length, or chunks, or neither. Whatever could be understood in two ways is
/// refused, even where the RFC lets a server choose one of them.
int request_parser::read_framing(const field& f, bool length) {
  if (head_.body != framing::none) return bad_request;
  if (length) {
    const auto* const end = f.value.data() + f.value.size();
    if (f.value.empty() || !is_digit(f.value.front())) return bad_request;
    const auto read = std::from_chars(f.value.data(), end, head_.length);
    if (read.ptr != end) return bad_request;
    if (read.ec == std::errc::result_out_of_range) return 413;
    head_.body = framing::length;
    return 0;
  }
  if (head_.minor_version == 0) return bad_request;  // RFC 9112 6.1: its framing is faulty
  // Nobody sends another coding, and "identity" is none: what hides behind them is smuggling.
  if (!equals_ignoring_case(f.value, "chunked")) return 501;
  head_.body = framing::chunked;
  return 0;
}

}  // namespace weir::http::wire
