// One connection of the HTTP server: requests in, answers out, in order, within the limits. Knows
// no back end.
#pragma once

#include <cstdint>
#include <memory>

#include <weir/weir.hpp>

#include "http/wire/request_parser.hpp"
#include "http/wire/response.hpp"
#include "http_server/files.hpp"

namespace http {

using namespace weir::http::wire;

/// What a server is told by its command line. Negative durations: no limit.
struct settings {
  request_limits limits;
  weir::duration request_timeout =
      std::chrono::seconds(10);  ///< from a request's first byte to its last
  weir::duration idle_timeout = std::chrono::seconds(60);   ///< between requests
  weir::duration write_timeout = std::chrono::seconds(30);  ///< without progress
  std::shared_ptr<const file_root> files;                   ///< null: none
};

/// One shard's server: what its sessions share.
struct site {
  explicit site(const http::settings& wanted) : settings(wanted) {}
  const http::settings& settings;
  date_cache date;
  std::uint64_t exhausted = 0;  ///< requests that got 503, out of descriptors
};

/// `here` outlives the session.
weir::task<> session(weir::tcp_stream peer, site& here);

}  // namespace http
