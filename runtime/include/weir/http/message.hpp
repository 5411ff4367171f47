// The words of HTTP that requests and answers share (RFC 9110): methods, fields, statuses.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace weir::http {

enum class method : std::uint8_t {
  get,
  head,
  post,
  put,
  delete_,
  options,
  patch,
  connect,
  trace,
  other,  ///< one of the registered methods that have no name here
};
/// "GET"; empty for `other`.
std::string_view name(method what);

/// A header or trailer field.
struct field {
  std::string_view name;
  std::string_view value;  ///< without the whitespace around it
};

/// Names, schemes, hosts and most values are compared without regard to case (RFC 9110 5.1).
bool equals_ignoring_case(std::string_view a, std::string_view b);
/// The first field of that name; null where there is none.
const field* find_field(std::span<const field> fields, std::string_view name);
/// Whether a comma-separated list contains a word (RFC 9110 5.6.1); parameters are not looked at.
bool list_contains(std::string_view list, std::string_view word);

/// "Not Found"; "Unknown" for what no RFC has named.
std::string_view reason_phrase(int status);

}  // namespace weir::http
