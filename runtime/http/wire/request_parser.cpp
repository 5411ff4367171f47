// See request_parser.hpp.
#include "http/wire/request_parser.hpp"

#include <algorithm>
#include <cctype>

namespace http {
namespace {

constexpr std::size_t longest_field_of_interest = 6;  // "expect"
constexpr std::size_t longest_method = 24;

bool equals_lowercase(std::string_view text, std::string_view lowercase) {
  return text.size() == lowercase.size() &&
         std::equal(text.begin(), text.end(), lowercase.begin(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) == b;
         });
}

/// RFC 9110 5.6.2.
bool is_token_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

/// RFC 9110 5.5: whitespace around a field's value is no part of it.
std::string_view trimmed(std::string_view value) {
  const auto first = value.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return value.substr(first, value.find_last_not_of(" \t") - first + 1);
}

/// A request line that begins with a method's name, though one that nobody knows.
bool looks_like_a_method(std::string_view bytes) {
  auto end = bytes.find(' ');
  auto word = bytes.substr(0, end);
  return end != std::string_view::npos && !word.empty() &&
         std::all_of(word.begin(), word.end(),
                     [](unsigned char c) { return std::isupper(c) != 0 || c == '-'; });
}

}  // namespace

llhttp_settings_t request_parser::callbacks() {
  llhttp_settings_t s;
  llhttp_settings_init(&s);
  s.on_url = [](llhttp_t* p, const char* at, std::size_t length) {
    self(p).target_.append(at, length);  // bounded by the head's limit
    return 0;
  };
  s.on_url_complete = [](llhttp_t* p) {
    self(p).in_target_ = false;
    return 0;
  };
  s.on_header_field = [](llhttp_t* p, const char* at, std::size_t length) {
    auto& me = self(p);
    // RFC 9112 5.1: whitespace in a name is what smuggling hides behind, and llhttp 8.1 lets it
    // pass.
    if (!std::all_of(at, at + length, is_token_character)) return me.refuse(400);
    auto& field = me.field_;
    field.append(at, std::min(length, longest_field_of_interest + 1 - field.size()));
    return 0;
  };
  s.on_header_field_complete = [](llhttp_t* p) {
    auto& me = self(p);
    if (me.field_.empty()) return me.refuse(400);
    me.in_host_ = me.in_head_ && equals_lowercase(me.field_, "host");
    if (me.in_host_) ++me.hosts_;
    if (me.in_head_ && equals_lowercase(me.field_, "expect")) me.expects_ = true;
    me.field_.clear();
    return 0;
  };
  s.on_header_value = [](llhttp_t* p, const char* at, std::size_t length) {
    if (self(p).in_host_) self(p).host_.append(at, length);  // bounded by the head's limit
    return 0;
  };
  s.on_header_value_complete = [](llhttp_t* p) {
    self(p).in_host_ = false;
    return 0;
  };
  s.on_headers_complete = [](llhttp_t* p) { return self(p).head_complete(); };
  s.on_body = [](llhttp_t* p, const char*, std::size_t length) {
    auto& me = self(p);
    me.content_bytes_ += length;
    return me.content_bytes_ > me.limits_.body ? me.refuse(413) : 0;
  };
  s.on_message_complete = [](llhttp_t* p) {
    auto& me = self(p);
    me.request_.keep_alive = llhttp_should_keep_alive(p) != 0 && p->method != HTTP_CONNECT;
    me.request_.target = me.target_;
    me.request_.host = trimmed(me.host_);
    me.complete_ = true;
    return static_cast<int>(HPE_PAUSED);
  };
  return s;
}

request_parser::request_parser(const request_limits& limits)
    : limits_(limits), settings_(callbacks()) {
  llhttp_init(&parser_, HTTP_REQUEST, &settings_);
  parser_.data = this;
}

int request_parser::refuse(int status) {
  refusal_ = status;
  return HPE_USER;
}

int request_parser::head_complete() {
  in_head_ = false;
  if (parser_.http_major != 1) return refuse(505);
  // RFC 9112 3.2: exactly one Host in HTTP/1.1.
  if (hosts_ > 1 || (hosts_ == 0 && parser_.http_minor >= 1)) return refuse(400);
  request_.method = parser_.method == HTTP_GET    ? method::get
                    : parser_.method == HTTP_HEAD ? method::head
                                                  : method::other;
  if ((parser_.flags & F_CONTENT_LENGTH) != 0 && parser_.content_length > limits_.body)
    return refuse(413);
  // RFC 9110 10.1.1: whoever asks before sending a body gets the final answer, as no body is
  // wanted.
  if (expects_) return refuse(request_.method == method::other ? 405 : 417);
  return HPE_PAUSED;  // here the head ends: what follows counts against the body's limit
}

void request_parser::begin() {
  begun_ = true;
  in_head_ = in_target_ = true;
  complete_ = expects_ = in_host_ = false;
  head_bytes_ = body_bytes_ = content_bytes_ = hosts_ = 0;
  target_.clear();
  host_.clear();
  field_.clear();
  first_bytes_.clear();
}

request_parser::outcome request_parser::feed(std::span<const std::byte>& bytes) {
  if (refusal_ != 0) return outcome::refused;
  bool head_ended = false;  // a request without a body is complete without another byte
  while (!bytes.empty() || head_ended) {
    head_ended = false;
    if (!begun_) begin();
    // The head is fed in no more than its limit allows; chunk headers and trailers count against a
    // limit as well.
    auto left =
        in_head_ ? limits_.head - head_bytes_ : 2 * limits_.body + limits_.head - body_bytes_;
    auto size = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left));
    auto* data = reinterpret_cast<const char*>(bytes.data());
    if (first_bytes_.size() < longest_method && in_head_)
      first_bytes_.append(data, std::min(size, longest_method - first_bytes_.size()));
    bool was_in_head = in_head_;
    auto error = llhttp_execute(&parser_, data, size);
    auto taken =
        error == HPE_OK ? size : static_cast<std::size_t>(llhttp_get_error_pos(&parser_) - data);
    if (error != HPE_OK && error != HPE_PAUSED && error != HPE_PAUSED_UPGRADE)
      return after_error(error);
    bytes = bytes.subspan(taken);
    (was_in_head ? head_bytes_ : body_bytes_) += taken;
    if (error == HPE_PAUSED) {
      llhttp_resume(&parser_);
      if (complete_) {
        begun_ = false;
        return outcome::complete;
      }
      head_ended = true;
      continue;
    }
    // RFC 9110 7.8: an offer to upgrade may be ignored; what follows is the next request.
    if (error == HPE_PAUSED_UPGRADE) llhttp_resume_after_upgrade(&parser_);
    if (in_head_ && head_bytes_ >= limits_.head)
      return refuse(in_target_ ? 414 : 431), outcome::refused;
    if (!in_head_ && body_bytes_ >= 2 * limits_.body + limits_.head)
      return refuse(413), outcome::refused;
  }
  return outcome::more;
}

request_parser::outcome request_parser::after_error(llhttp_errno_t error) {
  if (refusal_ == 0) refusal_ = 400;
  if (error == HPE_INVALID_METHOD && looks_like_a_method(first_bytes_)) refusal_ = 501;
  if (error == HPE_INVALID_VERSION || error == HPE_PAUSED_H2_UPGRADE) refusal_ = 505;
  return outcome::refused;
}

}  // namespace http
