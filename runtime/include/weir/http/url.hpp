// URLs of http and https, as far as a client needs them (RFC 3986): taken apart, and a reference
// put on a base.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::http {

struct url {
  std::string scheme;  ///< "http" or "https"
  std::string host;    ///< in lower case; an IPv6 address without its brackets
  std::uint16_t port = 80;
  std::string target;  ///< path and query, never empty; a fragment is dropped

  /// Nothing for another scheme, a user in it, and characters that may not stand in one.
  static std::optional<url> parse(std::string_view text);
  /// What `reference` means where this URL is the base (RFC 3986 5.2).
  std::optional<url> resolve(std::string_view reference) const;
  /// "example.org", "[::1]:8080": the scheme's own port is left out.
  std::string host_field() const;
  /// "http://example.org:80": what connections are kept by.
  std::string origin() const;
  std::string to_string() const;
};

}  // namespace weir::http
