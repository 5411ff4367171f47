// The target of a request and the host that it names (RFC 9112 3.2 and 3.3).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "weir/http/message.hpp"

namespace weir::http::wire {

/// A request's target, taken apart where it lies. Nothing is decoded.
struct target_parts {
  std::string_view authority;  ///< of an absolute form, or CONNECT's; else empty
  std::string_view path;       ///< "/a/b"; "*" for OPTIONS *; empty for CONNECT
  std::string_view query;      ///< with its question mark; empty where there is none
};
/// Nothing for what is none of the four forms, or not the one that the method takes.
std::optional<target_parts> parse_target(std::string_view target, method of);

/// Whether a Host field's value, or an authority, is one host with an optional port (RFC 9110 7.2,
/// RFC 3986 3.2.2): not empty, no user, no list.
bool is_host(std::string_view text);

}  // namespace weir::http::wire
