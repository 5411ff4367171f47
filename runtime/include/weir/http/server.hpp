// An HTTP/1.1 server for a shard: connections in, requests to a handler, answers out, in order and
// within limits. Keep-alive, pipelining, chunked bodies and trailers both ways, Expect, HEAD. Ends
// gracefully: the request to stop ends idle connections, what was asked is still answered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "weir/config.hpp"
#include "weir/http/router.hpp"
#include "weir/net.hpp"
#include "weir/scope.hpp"
#include "weir/shard.hpp"
#include "weir/stream.hpp"

namespace weir::tls {
class server_context;
}

namespace weir::http {

/// no_limit: none.
struct server_settings {
  std::size_t max_head = 16 * 1024;  ///< bytes of request line and fields, of trailers; 414, 431
  std::size_t max_fields = 128;      ///< 431
  std::uint64_t max_body = 1024 * 1024;   ///< bytes; 413
  std::size_t max_connections = 100'000;  ///< one more is closed at once, and counted
  duration head_timeout =
      std::chrono::seconds(10);  ///< from a request's first byte to its head's end; 408
  duration body_timeout = std::chrono::seconds(30);   ///< to wait for a body, and a second more for
                                                      ///< each least_body_rate that came; 408
  std::uint64_t least_body_rate = 4096;               ///< bytes a second
  duration idle_timeout = std::chrono::seconds(60);   ///< between requests
  duration write_timeout = std::chrono::seconds(30);  ///< for a client that does not read
  duration linger =
      std::chrono::seconds(30);  ///< after a last answer, for a client that still sends
  duration linger_silence = std::chrono::seconds(2);  ///< and for one that does not
  duration drain = std::chrono::seconds(5);           ///< for connections after the request to stop
  /// Compresses answers for clients that ask for it (gzip, zstd): texts of 200, 403 and 404 that
  /// are not compressed and do not say "Cache-Control: no-transform". Off, since a secret that is
  /// compressed beside what an attacker chose can be guessed by its length (BREACH).
  bool compress = false;
  std::size_t compress_least = 1024;  ///< bytes of a body that is worth it
  std::size_t compress_at_once = 64;  ///< bodies on their way, half a MiB each; more go as they are
};

/// Configuration's [http] as settings.
server_settings settings_from(const config::http_section& section);

struct server_counters {
  std::uint64_t connections = 0;
  std::uint64_t refused_connections = 0;  ///< beyond max_connections
  std::uint64_t failed_handshakes = 0;    ///< of TLS
  std::uint64_t requests = 0;             ///< that were handed to the handler
  std::uint64_t refused_requests = 0;     ///< that were not: malformed, too large, too slow
  std::uint64_t refusals = 0;             ///< status_error that a handler threw or let pass
  std::uint64_t refused_bodies = 0;       ///< of requests: malformed or too large; 400, 413
  std::uint64_t slow_bodies = 0;          ///< of requests, that took too long; 408
  std::uint64_t slow_readers = 0;         ///< answers whose client did not read in write_timeout
  std::uint64_t refused_streams = 0;  ///< requests of HTTP/2 beyond those at once; REFUSED_STREAM
  std::uint64_t floods = 0;           ///< HTTP/2 connections that were ended for frames without end
  std::uint64_t failed_upgrades = 0;  ///< connections that were taken over and ended with an error
  std::uint64_t failures = 0;         ///< handlers that threw; 500
  std::uint64_t compressed = 0;       ///< answers
  std::uint64_t uncompressed = 0;     ///< that were not, beyond compress_at_once
};

/// One answered request. Refers to the request.
struct access_entry {
  const request* asked;  ///< null: it was refused before it was one
  endpoint remote;
  int status;
  std::uint64_t bytes;  ///< of the answer's body
  duration took;
};
/// In the common log format, without a line end. Whatever a client sent is escaped: no line can be
/// forged.
std::string common_log_line(const access_entry& entry, std::int64_t seconds_since_1970);

class server {
 public:
  /// `answer` is kept. On the shard's thread, like everything here. Without settings of its own it
  /// has those of the configuration.
  server(shard& owner, handler answer);
  server(shard& owner, handler answer, const server_settings& settings);
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Serves until the shard is asked to stop, then drains. The listeners are closed then.
  task<> run(std::span<tcp_listener> listeners);
  task<> run(tcp_listener& listener) { return run(std::span(&listener, 1)); }
  /// One connection, to its end.
  task<> session(any_stream peer);

  /// The same behind TLS: each connection begins with its handshake. Not there where weir was built
  /// without TLS. Both may run at once, with limits of their own.
  task<> run(std::span<tcp_listener> listeners, tls::server_context& with);
  task<> run(tcp_listener& listener, tls::server_context& with) {
    return run(std::span(&listener, 1), with);
  }
  task<> session(any_stream peer, tls::server_context& with);

  /// Called after each answer; must not throw.
  void on_access(std::function<void(const access_entry&)> note);
  /// Called for what a handler threw, before 500 is answered; without it a line is logged.
  void on_failure(std::function<void(std::exception_ptr, const request&)> note);
  const server_counters& counters() const;

  struct state;

 private:
  std::unique_ptr<state> state_;
};

}  // namespace weir::http
