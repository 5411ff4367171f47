// What the connections of one server share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/http/server/compress.hpp"
#include "runtime/http/wire/response.hpp"
#include "weir/http/server.hpp"

namespace weir::http {

/// What an HTTP/2 client says first (RFC 9113 3.4).
inline constexpr std::string_view h2_preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#if WEIR_HTTP_WITH_H2
inline constexpr bool speaks_h2 = true;
#else
inline constexpr bool speaks_h2 = false;
#endif
/// A connection that speaks HTTP/2, of which `early` has been read (http/h2).
task<> run_h2(any_stream& peer, server::state& here, std::string early);

struct server::state {
  state(shard& on, handler by, const server_settings& how);

  /// One connection, to its end; where `h2` is not said already, its first bytes tell.
  task<> converse(any_stream& peer, bool h2);
  enum class outcome : std::uint8_t { answered, refused, failed };
  /// The answer for what a handler has thrown, within its catch: a refusal, or a failure of its
  /// own. Throws on what nobody answers.
  response instead(const request& asked, outcome& how);
  /// What is wrong with a handler's answer; null: nothing.
  static const char* fault_of(const request& asked, response& with);
  /// The answer in place of such a one: a failure of the handler's.
  response faulty(const request& asked, const char* fault, outcome& how);
  /// A request's body that cannot be read on, counted; to be thrown.
  status_error refused_body(int status);
  /// What a connection ended with: of its client it is no news, anything else is logged.
  void session_failed(const std::exception_ptr& failure);
  /// Accepts until the stop, then drains.
  task<> run(std::span<tcp_listener> listeners, std::function<task<>(any_stream)> session);

  /// Seconds since 1970. In a simulation they pass with its clock, so that runs are equal.
  std::int64_t wall_clock() const;

  shard& owner;
  handler answer;
  server_settings settings;
  const bool simulated;
  std::shared_ptr<server_counters> counted = std::make_shared<server_counters>();
  server_counters& counters = *counted;  // shown with the shard
  compressor compress{settings, counters};
  wire::date_cache date;
  std::function<void(const access_entry&)> on_access;
  std::function<void(std::exception_ptr, const request&)> on_failure;
};

}  // namespace weir::http
