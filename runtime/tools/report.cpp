// See report.hpp.
#include "runtime/tools/report.hpp"

#include <fmt/format.h>

namespace probe {
namespace {

std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\')
      out += std::string("\\") + static_cast<char>(c);
    else if (c < 0x20)
      out += fmt::format("\\u{:04x}", c);
    else
      out += static_cast<char>(c);
  }
  return out + '"';
}

std::string json_value(const value& v) {
  if (auto* truth = std::get_if<bool>(&v)) return *truth ? "true" : "false";
  if (auto* number = std::get_if<std::int64_t>(&v)) return std::to_string(*number);
  return json_string(std::get<std::string>(v));
}

std::string text_value(const fact& f) {
  if (auto* truth = std::get_if<bool>(&f.value)) {
    if (f.has_reason) return *truth ? "usable" : "NOT usable";
    return *truth ? "yes" : "no";
  }
  if (auto* number = std::get_if<std::int64_t>(&f.value)) return std::to_string(*number);
  return std::get<std::string>(f.value);
}

}  // namespace

std::string report::to_json() const {
  auto out = fmt::format("{{\n  \"kernel\": {}", json_string(kernel));
  for (auto& g : groups) {
    out += fmt::format(",\n  {}: {{", json_string(g.key));
    bool first = true;
    for (auto& f : g.facts) {
      auto shown = f.has_reason ? fmt::format("{{\"usable\": {}, \"reason\": {}}}",
                                              json_value(f.value), json_string(f.remark))
                                : json_value(f.value);
      out += fmt::format("{}\n    {}: {}", first ? "" : ",", json_string(f.key), shown);
      first = false;
    }
    out += "\n  }";
  }
  return out + "\n}\n";
}

std::string report::to_text() const {
  auto out = fmt::format("kernel {}\n", kernel);
  for (auto& g : groups) {
    out += fmt::format("\n{}\n", g.title);
    for (auto& f : g.facts)
      out += fmt::format("  {:<34} {}{}\n", f.label, text_value(f),
                         f.remark.empty() ? "" : " - " + f.remark);
  }
  return out;
}

}  // namespace probe
