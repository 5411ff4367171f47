// What may stand in keys that take a text.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>

#include "runtime/config/keys.hpp"
#include "weir/unix_endpoint.hpp"

namespace weir::detail {

inline bool is_device_name(const std::string& name) {
  // The kernel's rule (dev_valid_name), without its template character '%'.
  if (name.size() > 15 || name == "." || name == "..") return false;
  return std::none_of(name.begin(), name.end(), [](unsigned char c) {
    return c == '/' || c == ':' || c == '%' || std::isspace(c) != 0 || c < 0x20 || c == 0x7f;
  });
}
inline bool is_network_text(const std::string& name) { return is_network_name(name); }
inline bool is_endpoint(const std::string& text) { return endpoint::parse(text).has_value(); }
inline bool is_unix_name(const std::string& text) {
  const auto name = unix_endpoint::parse(text);
  return name && !name->is_unnamed();
}
inline bool is_anything(const std::string&) { return true; }

}  // namespace weir::detail
