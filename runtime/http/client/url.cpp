// URLs (weir/http/url.hpp).
#include "weir/http/url.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "runtime/http/wire/target.hpp"
#include "weir/http/message.hpp"

namespace weir::http {
namespace {

constexpr std::uint16_t port_of(std::string_view scheme) { return scheme == "https" ? 443 : 80; }

std::string lowered(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool may_stand_in_target(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
}

/// RFC 3986 5.2.4. `path` begins with a slash.
std::string without_dots(std::string_view path) {
  std::vector<std::string_view> kept;
  bool folder = false;
  while (!path.empty()) {
    path.remove_prefix(1);
    const auto end = std::min(path.find('/'), path.size());
    const auto segment = path.substr(0, end);
    path.remove_prefix(end);
    folder = segment == "." || segment == "..";
    if (segment == ".." && !kept.empty()) kept.pop_back();
    if (!folder) kept.push_back(segment);
  }
  std::string out;
  for (const auto segment : kept) (out += '/') += segment;
  if (folder || out.empty()) out += '/';
  return out;
}

}  // namespace

std::optional<url> url::parse(std::string_view text) {
  const auto mark = text.find("://");
  if (mark == std::string_view::npos) return std::nullopt;
  url out;
  out.scheme = lowered(text.substr(0, mark));
  if (out.scheme != "http" && out.scheme != "https") return std::nullopt;
  text = text.substr(mark + 3);
  text = text.substr(0, text.find('#'));
  const auto end = std::min(text.find_first_of("/?"), text.size());
  const auto authority = text.substr(0, end);
  if (!wire::is_host(authority)) return std::nullopt;
  auto host = authority, port = std::string_view();
  if (const auto colon = authority.rfind(':');
      colon != std::string_view::npos && authority.find(']', colon) == std::string_view::npos) {
    host = authority.substr(0, colon);
    port = authority.substr(colon + 1);
  }
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  out.host = lowered(host);
  unsigned number = 0;
  for (const char c : port) number = number * 10 + static_cast<unsigned>(c - '0');
  out.port = port.empty() ? port_of(out.scheme) : static_cast<std::uint16_t>(number);
  out.target = text.substr(end);
  if (!out.target.starts_with('/')) out.target.insert(0, "/");
  if (out.port == 0 || !may_stand_in_target(out.target)) return std::nullopt;
  return out;
}

std::optional<url> url::resolve(std::string_view reference) const {
  reference = reference.substr(0, reference.find('#'));
  const auto colon = reference.find(':');
  if (colon != std::string_view::npos && reference.find_first_of("/?") > colon)
    return parse(reference);
  if (reference.starts_with("//")) return parse(scheme + ":" + std::string(reference));
  if (!may_stand_in_target(reference)) return std::nullopt;
  url out = *this;
  const auto path = target.substr(0, target.find('?'));
  const auto mark = std::min(reference.find('?'), reference.size());
  if (reference.empty()) return out;
  if (mark == 0)
    out.target = path + std::string(reference);
  else if (reference.starts_with('/'))
    out.target = without_dots(reference.substr(0, mark)) + std::string(reference.substr(mark));
  else
    out.target =
        without_dots(path.substr(0, path.rfind('/') + 1) + std::string(reference.substr(0, mark))) +
        std::string(reference.substr(mark));
  return out;
}

std::string url::host_field() const {
  auto out = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != port_of(scheme)) out += fmt::format(":{}", port);
  return out;
}

std::string url::origin() const { return fmt::format("{}://{}:{}", scheme, host, port); }
std::string url::to_string() const { return scheme + "://" + host_field() + target; }

}  // namespace weir::http
