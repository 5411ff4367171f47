// Requests, answers and bodies as handlers see them (weir/http/body.hpp, request.hpp,
// response.hpp).

#include <algorithm>
#include <array>
#include <stdexcept>

#include <fmt/format.h>

#include "runtime/http/wire/body_decoder.hpp"
#include "weir/http/body.hpp"
#include "weir/http/request.hpp"
#include "weir/http/response.hpp"

namespace weir::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// What the connection says of itself; said twice, it would be a lie.
bool is_framing_field(std::string_view name) {
  static constexpr std::array<std::string_view, 5> own = {"content-length", "transfer-encoding",
                                                          "connection", "date", "trailer"};
  return std::any_of(own.begin(), own.end(), [&](auto o) {
    return name.size() == o.size() && equals_ignoring_case(name, o);
  });
}

response with_type(std::string_view type, std::string body) {
  response out;
  out.field("Content-Type", type).body(std::move(body));
  return out;
}

}  // namespace

status_error::status_error(int status)
    : std::runtime_error(fmt::format("{} {}", status, reason_phrase(status))), status_(status) {}

task<std::string> body_reader::read_all(read_all_options options) {
  std::string out;
  for (;;) {
    auto piece = co_await read();
    if (piece.empty()) break;
    if (piece.size() > options.max - out.size()) throw status_error(413);
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  co_return out;
}

std::string_view request::field(std::string_view name) const {
  const auto* found = find_field(fields(), name);
  return found == nullptr ? std::string_view() : found->value;
}

std::string_view request::path(std::string_view name) const {
  for (const auto& [key, value] : path_parts_)
    if (key == name) return value;
  return {};
}

void request::set_path_part(std::string name, std::string value) {
  path_parts_.emplace_back(std::move(name), std::move(value));
}

bool percent_decode(std::string_view text, std::string& into) {
  into.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      into += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return false;
    const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return false;
    into += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return true;
}

response& response::field(std::string_view name, std::string_view value) {
  if (!wire::is_token(name) || !wire::is_field_value(value))
    throw std::invalid_argument("a header field with a character that it must not have");
  if (is_framing_field(name))
    throw std::invalid_argument(fmt::format("{} is the connection's own field", name));
  if (fields_.capacity() == 0) fields_.reserve(4);  // as many as most answers have
  fields_.emplace_back(name, value);
  return *this;
}

std::string_view response::field(std::string_view name) const {
  for (const auto& [key, value] : fields_)
    if (equals_ignoring_case(key, name)) return value;
  return {};
}

response& response::remove(std::string_view name) {
  std::erase_if(fields_, [&](const auto& one) { return equals_ignoring_case(one.first, name); });
  return *this;
}

response text(std::string body) { return with_type("text/plain; charset=utf-8", std::move(body)); }
response html(std::string body) { return with_type("text/html; charset=utf-8", std::move(body)); }
response json(std::string body) { return with_type("application/json", std::move(body)); }

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out += '"';
}

response plain_status(int status) {
  response out(status);
  out.field("Content-Type", "text/plain")
      .body(fmt::format("{} {}\n", status, reason_phrase(status)));
  return out;
}

response redirect(int status, std::string_view location) {
  auto out = plain_status(status);
  out.field("Location", location);
  return out;
}

}  // namespace weir::http
