// One client of the admin endpoint: GET and HEAD of /metrics, /sockets, /tasks, /recorder and the
// live page, in bounds of size and time. Whoever asks under a name that is not this machine's own
// is refused, since a web page elsewhere could point such a name here (DNS rebinding).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/http/wire/request_parser.hpp"
#include "runtime/http/wire/response.hpp"
#include "runtime/observe/collector.hpp"
#include "runtime/observe/exposition.hpp"
#include "runtime/observe/own_pages.hpp"
#include "runtime/observe/task_collector.hpp"
#include "weir/net.hpp"
#include "weir/sync.hpp"

namespace weir::detail {

/// A client that has nothing to wait for: no request of its own is being answered. It may be asked
/// to leave.
struct admin_waiter {
  instant since;
  event leave;
};

/// What the sessions of one endpoint share. On the endpoint's shard.
struct admin_site {
  static constexpr std::size_t most_clients = 16;
  /// Clients that are told to come again, or have been asked to leave, and are not gone yet.
  static constexpr std::size_t most_departing = 16;
  static constexpr std::size_t shown_connections = 200;  ///< of each shard, unless asked for others
  static constexpr std::size_t most_connections = 4096;
  static constexpr std::size_t shown_tasks = 1000;  ///< of each shard, the longest waits
  static constexpr std::size_t most_tasks = 100'000;
  static constexpr std::size_t shown_events = 1000;  ///< of each shard, the last
  static constexpr std::size_t most_events = 100'000;
  static constexpr http::wire::request_limits limits = {.head = 8 * 1024, .body = 4 * 1024};
  static constexpr duration request_time = std::chrono::seconds(5);
  static constexpr duration idle_time = std::chrono::seconds(15);
  static constexpr duration write_time = std::chrono::seconds(10);

  admin_site(shard& home, std::vector<shard*> targets)
      : shards(targets),
        tasks(home, targets),
        pages(home, targets),
        snapshots(home, std::move(targets)),
        home_(home) {}

  /// Whether one more client may be served. Where there are too many, whoever has waited longest
  /// without a whole request leaves for it: a client that holds a connection keeps nobody out.
  bool make_room();

  /// Prometheus' text of what the shards said last: written once for each answer of theirs, however
  /// many ask for it. What is the process's own is as old as that (collector::fresh).
  std::shared_ptr<const std::string> metrics_of(std::shared_ptr<const process_snapshot> shown);
  /// Brings the process's own facts up to date. What the kernel makes a text of, for us to read, is
  /// asked for four times a second at most.
  void look_at_process();

  std::vector<shard*> shards;
  task_collector tasks;
  page_asker pages;
  collector snapshots;
  process_facts facts;
  std::string page;                     ///< the live page
  const stall_watch* stalls = nullptr;  ///< null: nobody watches
  http::wire::date_cache date;
  bool loopback = true;                ///< it listens on a loopback address
  std::size_t clients = 0;             ///< without those that were asked to leave
  std::vector<admin_waiter*> waiting;  ///< of these

 private:
  static constexpr duration looked_lately = std::chrono::milliseconds(250);

  shard& home_;
  instant looked_;                                   // when the kernel was asked last
  std::shared_ptr<const process_snapshot> written_;  // what metrics_ was written of
  std::shared_ptr<const std::string> metrics_;
};

/// What a request asks for.
struct admin_request {
  enum class what : std::uint8_t {
    page,
    metrics,
    sockets,
    tasks,
    recorder,
    health,
    readiness,
    own,
    nothing,
    bad
  };
  what wanted = what::nothing;
  std::size_t connections = admin_site::shown_connections;
  task_bounds tasks = {.listed = admin_site::shown_tasks};
  std::size_t events = admin_site::shown_events;
  std::string own, query;  ///< a page of the program's own, and what it is asked
};
/// From a request's path and query: "/sockets", "?connections=1000"; "/tasks",
/// "?listed=1000&stuck_ms=10000"; "/recorder", "?events=1000"; "/own/cache", "?whatever".
admin_request read_target(std::string_view path, std::string_view query);

/// Whether a Host field's value names this machine and nothing else: localhost, a loopback address,
/// and where the endpoint listens beyond loopback any address. A name would be whatever its owner
/// says.
bool is_own_host(std::string_view host, bool loopback_only);

/// Whether a browser says that it asks on behalf of a page of somebody else's: Sec-Fetch-Site
/// (W3C), or an Origin that is not the Host. The answer would be kept from that page, but its
/// question would still cost something, and its time tells.
bool is_cross_site(std::span<const http::field> fields, std::string_view host);

/// `here` outlives both. A session counts as a client from before it is spawned.
task<> admin_session(tcp_stream peer, admin_site& here);
/// 503, for whom there is no room.
task<> admin_refusal(tcp_stream peer, admin_site& here);

}  // namespace weir::detail
