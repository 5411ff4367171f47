// Which handler answers which request (weir/http/router.hpp).
#include "weir/http/router.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace weir::http {
namespace {

/// "/a/b/" has the segments "a", "b" and "". Nothing for an escape that is none.
std::optional<std::vector<std::string>> split(std::string_view path) {
  std::vector<std::string> out;
  if (!path.starts_with('/')) return std::nullopt;
  while (!path.empty()) {
    path.remove_prefix(1);
    const auto end = std::min(path.find('/'), path.size());
    if (!percent_decode(path.substr(0, end), out.emplace_back())) return std::nullopt;
    path.remove_prefix(end);
  }
  return out;
}

}  // namespace

router& router::on(method what, std::string_view pattern, handler answer) {
  const auto wrong = [&] {
    return std::invalid_argument(fmt::format("http route '{}': no such pattern", pattern));
  };
  route made{what, {}, {}, false, std::move(answer)};
  if (!pattern.starts_with('/')) throw wrong();
  for (auto rest = pattern; !rest.empty();) {
    rest.remove_prefix(1);
    const auto end = std::min(rest.find('/'), rest.size());
    auto one = rest.substr(0, end);
    rest.remove_prefix(end);
    segment s;
    s.is_name = one.starts_with('{') && one.ends_with('}');
    if (s.is_name) {
      one = one.substr(1, one.size() - 2);
      s.takes_rest = one.ends_with("...");
      if (s.takes_rest) one.remove_suffix(3);
      if (one.empty() || (s.takes_rest && !rest.empty())) throw wrong();
      made.has_names = true;
    }
    if (one.find_first_of("{}") != std::string_view::npos) throw wrong();
    s.text = one;
    made.segments.push_back(std::move(s));
  }
  if (!made.has_names && pattern.find('%') == std::string_view::npos) made.literal = pattern;
  routes_.push_back(std::move(made));
  return *this;
}

bool router::matches(const route& of, const decoded& path) {
  for (std::size_t i = 0; i < of.segments.size(); ++i) {
    const auto& s = of.segments[i];
    if (i >= path.size()) return false;
    if (s.takes_rest) return true;
    if (s.is_name ? path[i].empty() : path[i] != s.text) return false;
  }
  return of.segments.size() == path.size();
}

void router::note_parts(const route& of, const decoded& path, request& asked) {
  for (std::size_t i = 0; i < of.segments.size(); ++i) {
    const auto& s = of.segments[i];
    if (!s.is_name) continue;
    auto value = path[i];
    for (std::size_t k = i + 1; s.takes_rest && k < path.size(); ++k) value += "/" + path[k];
    asked.set_path_part(s.text, std::move(value));
  }
}

task<response> router::operator()(request& asked) const {
  // Most paths stand in the table as they are.
  const auto wanted = asked.method() == method::head ? method::get : asked.method();
  for (const auto& r : routes_)
    if (r.what == wanted && r.literal == asked.path() && !r.literal.empty()) return r.answer(asked);
  return search(asked);
}

task<response> router::search(request& asked) const {
  const auto wanted = asked.method() == method::head ? method::get : asked.method();
  const auto path = split(asked.path());
  if (!path && asked.path() != "*") co_return plain_status(400);
  const route* found = nullptr;
  std::string allowed;
  for (const auto& r : routes_) {
    if (!path || !matches(r, *path)) continue;
    if (r.what != wanted) {
      const auto word = name(r.what);
      if (!list_contains(allowed, word))
        allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", word);
      if (r.what == method::get && !list_contains(allowed, "HEAD")) allowed += ", HEAD";
    } else if (found == nullptr || (found->has_names && !r.has_names)) {
      found = &r;
    }
  }
  if (found != nullptr) {
    note_parts(*found, *path, asked);
    auto made = co_await found->answer(asked);
    co_return made;
  }
  if (!allowed.empty()) {
    auto refused = plain_status(405);
    refused.field("Allow", allowed);
    co_return refused;
  }
  if (!otherwise_) co_return plain_status(404);
  auto made = co_await otherwise_(asked);
  co_return made;
}

}  // namespace weir::http
