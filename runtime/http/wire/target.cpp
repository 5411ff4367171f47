// The target of a request (target.hpp).
#include "runtime/http/wire/target.hpp"

#include <algorithm>
#include <array>

namespace weir::http::wire {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// RFC 3986's reg-name without the comma, which no name has and a list of hosts does.
constexpr std::array<bool, 256> name_characters = [] {
  std::array<bool, 256> out{};
  for (unsigned c = '0'; c <= '9'; ++c) out[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) out[c] = out[c - 'a' + 'A'] = true;
  for (const char c : std::string_view("-._~%!$&'()*+;="))
    out[static_cast<unsigned char>(c)] = true;
  return out;
}();
bool is_name_character(char c) { return name_characters[static_cast<unsigned char>(c)]; }

bool is_bracketed_character(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
}

bool is_port(std::string_view text) {
  if (text.size() > 5) return false;
  unsigned value = 0;
  for (const char c : text) {
    if (!is_digit(c)) return false;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  return value <= 65535;
}

void split_path(std::string_view text, target_parts& out) {
  text = text.substr(0, text.find('#'));
  const auto mark = text.find('?');
  out.path = text.substr(0, mark);
  if (mark != std::string_view::npos) out.query = text.substr(mark);
}

}  // namespace

bool is_host(std::string_view text) {
  auto port = std::string_view();
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos || end == 1) return false;
    if (!std::all_of(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(end),
                     is_bracketed_character))
      return false;
    port = text.substr(end + 1);
  } else {
    std::size_t end = 0;
    while (end < text.size() && is_name_character(text[end])) ++end;
    if (end == 0) return false;
    port = text.substr(end);
  }
  return port.empty() || (port.front() == ':' && is_port(port.substr(1)));
}

std::optional<target_parts> parse_target(std::string_view target, method of) {
  target_parts out;
  if (of == method::connect) {
    if (!is_host(target) || target.find(':') == std::string_view::npos) return std::nullopt;
    out.authority = target;
    return out;
  }
  if (target.starts_with('/')) {
    split_path(target, out);
    return out;
  }
  if (target == "*") {
    if (of != method::options) return std::nullopt;
    out.path = target;
    return out;
  }
  // RFC 9110 4.2.3: the scheme's case does not matter.
  const auto mark = target.find("://");
  if (mark == std::string_view::npos) return std::nullopt;
  const auto scheme = target.substr(0, mark);
  if (!equals_ignoring_case(scheme, "http") && !equals_ignoring_case(scheme, "https"))
    return std::nullopt;
  const auto rest = target.substr(mark + 3);
  const auto end = std::min(rest.find_first_of("/?#"), rest.size());
  out.authority = rest.substr(0, end);
  if (!is_host(out.authority)) return std::nullopt;
  split_path(rest.substr(end), out);
  if (out.path.empty()) out.path = of == method::options && out.query.empty() ? "*" : "/";
  return out;
}

}  // namespace weir::http::wire
