// One client of the admin endpoint: GET and HEAD of /metrics, /sockets and the live page, within
// bounds of size and time. Whoever asks under a name that is not this machine's own is refused,
// since a web page elsewhere could point such a name here (DNS rebinding).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "http/wire/request_parser.hpp"
#include "http/wire/response.hpp"
#include "observe/collector.hpp"
#include "observe/exposition.hpp"
#include "weir/net.hpp"

namespace weir::detail {

/// What the sessions of one endpoint share. On the endpoint's shard.
struct admin_site {
  static constexpr std::size_t most_clients = 16;
  static constexpr std::size_t shown_connections = 200;  ///< of each shard, unless asked for others
  static constexpr std::size_t most_connections = 4096;
  static constexpr http::request_limits limits = {.head = 8 * 1024, .body = 4 * 1024};
  static constexpr duration request_time = std::chrono::seconds(5);
  static constexpr duration idle_time = std::chrono::seconds(15);
  static constexpr duration write_time = std::chrono::seconds(10);

  admin_site(shard& home, std::vector<shard*> targets) : snapshots(home, std::move(targets)) {}

  collector snapshots;
  process_facts facts;
  http::date_cache date;
  bool loopback = true;  ///< it listens on a loopback address
};

/// What a request asks for.
struct admin_request {
  enum class what : std::uint8_t { page, metrics, sockets, nothing, bad };
  what wanted = what::nothing;
  std::size_t connections = admin_site::shown_connections;
};
/// From a request's target: "/sockets?connections=1000".
admin_request read_target(std::string_view target);

/// Whether a Host field's value names this machine and nothing else: localhost, a loopback address,
/// and where the endpoint listens beyond loopback any address. A name would be whatever its owner
/// says.
bool is_own_host(std::string_view host, bool loopback_only);

/// `here` outlives the session.
task<> admin_session(tcp_stream peer, admin_site& here);

}  // namespace weir::detail
