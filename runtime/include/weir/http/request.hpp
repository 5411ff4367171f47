// A request as a handler sees it: its head, its path's parts, its body. Lives until the answer was
// sent; everything that it gives refers to it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/http/body.hpp"
#include "weir/http/message.hpp"
#include "weir/stack/address.hpp"

namespace weir {
class shard;
}

namespace weir::http {

namespace detail {

/// What a request's head says, as it lies in the connection.
struct request_parts {
  http::method method = http::method::get;
  std::string_view method_name, target, path, query, host;
  unsigned major_version = 1, minor_version = 1;
  std::span<const http::field> fields;
};

}  // namespace detail

class request {
 public:
  request(shard& owner, const endpoint& remote, const detail::request_parts& parts,
          body_reader body)
      : owner_(&owner), remote_(remote), parts_(parts), body_(body) {}
  request(const request&) = delete;
  request& operator=(const request&) = delete;

  http::method method() const { return parts_.method; }
  std::string_view method_name() const { return parts_.method_name; }
  std::string_view target() const { return parts_.target; }  ///< as it was sent
  std::string_view path() const { return parts_.path; }      ///< not decoded
  std::string_view query() const { return parts_.query; }    ///< with its '?'; not decoded
  /// Which host is asked for, with its port if it was named: one valid host, or nothing (HTTP/1.0).
  std::string_view host() const { return parts_.host; }
  unsigned major_version() const { return parts_.major_version; }  ///< of HTTP: 1 or 2
  unsigned minor_version() const { return parts_.minor_version; }

  std::span<const http::field> fields() const { return parts_.fields; }
  /// The value of the first field of that name; empty where there is none.
  std::string_view field(std::string_view name) const;
  bool has_field(std::string_view name) const { return find_field(fields(), name) != nullptr; }

  /// What stood in the path where the route's pattern has {name}, decoded; empty where it has not.
  std::string_view path(std::string_view name) const;

  body_reader& body() { return body_; }
  const endpoint& remote() const { return remote_; }
  shard& owner() const { return *owner_; }

  /// For routers.
  void set_path_part(std::string name, std::string value);

 private:
  shard* owner_;
  endpoint remote_;
  detail::request_parts parts_;
  body_reader body_;
  std::vector<std::pair<std::string, std::string>> path_parts_;
};

/// RFC 3986 2.1: "%20" is a space. False: an escape that is none.
bool percent_decode(std::string_view text, std::string& into);

}  // namespace weir::http
