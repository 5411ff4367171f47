// An HTTP client for a shard: http and https, HTTP/1.1 and HTTP/2, connections kept by origin,
// bodies streamed both ways, redirects, a timeout for each phase, and a second try only where it is
// safe.
//
//   weir::http::client web(shard);
//   auto got = co_await web.get("https://example.org/");
//   if (got.status() == 200) use(co_await got.body().read_all({.max = 64 * 1024}));
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "weir/http/body.hpp"
#include "weir/http/message.hpp"
#include "weir/http/url.hpp"
#include "weir/net.hpp"
#include "weir/stream.hpp"
#include "weir/task.hpp"

namespace weir {
class config_parser;
}
namespace weir::tls {
class client_context;
}

namespace weir::http {

/// When HTTP/2 is spoken (RFC 9113), where it was built in.
enum class http2_use : std::uint8_t {
  never,
  where_agreed,  ///< over TLS, where the server takes it (ALPN)
  always,        ///< the same, and in the clear, with servers that are known to take it
};

/// no_limit: none. with_timeout() bounds it all.
struct client_settings {
  duration connect_timeout = std::chrono::seconds(10);  ///< names and handshakes included
  duration write_timeout = std::chrono::seconds(30);    ///< for a peer that does not read
  duration head_timeout =
      std::chrono::seconds(30);  ///< from the request's end to the answer's head
  duration body_timeout = std::chrono::seconds(30);     ///< between two pieces of the answer's body
  duration continue_timeout = std::chrono::seconds(1);  ///< with expect_continue(), then it is sent
  duration idle_timeout = std::chrono::seconds(30);     ///< a kept connection is not used after it
  unsigned max_redirects = 10;                 ///< followed; the next one is given as it is
  std::size_t max_head = 64 * 1024;            ///< bytes
  std::size_t max_connections_per_origin = 8;  ///< more requests wait; HTTP/2 takes one
  std::size_t max_idle_connections = 64;       ///< kept, of all origins
  http2_use http2 = http2_use::where_agreed;
  /// Asks for compressed answers (zstd, gzip, as they were built in), and gives their bodies
  /// decompressed. Not for requests that ask for a range, or for a coding in their own words.
  bool decode = false;
  std::uint64_t most_expansion = 100;  ///< times what came, beyond a first MiB; limit_exceeded
  /// Requests for http go to this proxy, which is given the whole URL; for https it opens a way.
  std::optional<endpoint> proxy = {};
};

/// Adds a program's keys for a client: --client.connect_timeout_ms and its like, which are a
/// section [client] in a file and WEIR_CLIENT_... in the environment (docs/http.md has the list).
/// `into` has the defaults, is filled by the parser's parse(), and outlives it.
void add_client_keys(config_parser& parser, client_settings& into);

struct client_counters {
  std::uint64_t requests = 0;     ///< sent, redirected and repeated ones as well
  std::uint64_t connections = 0;  ///< opened
  std::uint64_t reused = 0;       ///< requests on a connection that had one before
  std::uint64_t repeated = 0;     ///< since the connection ended before they were processed
  std::uint64_t redirects = 0;    ///< followed
};

/// A request as a client makes it. Its fields are checked as an answer's are: see
/// response::field().
class client_request {
 public:
  using producer = std::function<task<>(body_writer&)>;
  struct stream_part {
    producer write;
    std::optional<std::uint64_t> length;
  };
  using any_body = std::variant<std::monostate, std::string, stream_part>;

  client_request(http::method what, std::string url) : method_(what), url_(std::move(url)) {}

  client_request& field(std::string_view name, std::string_view value);
  /// A text can be sent again: after a redirect, or on a new connection.
  client_request& body(std::string text) { return body_ = std::move(text), *this; }
  /// Written piece by piece, once; in chunks where its length is not said.
  client_request& body(producer write, std::optional<std::uint64_t> length = {}) {
    return body_ = stream_part{std::move(write), length}, *this;
  }
  /// Asks before it sends the body (RFC 9110 10.1.1).
  client_request& expect_continue() { return expects_ = true, *this; }

  http::method method() const { return method_; }
  const std::string& url() const { return url_; }
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }
  const any_body& body() const { return body_; }
  bool expects() const { return expects_; }

 private:
  http::method method_;
  std::string url_;
  std::vector<std::pair<std::string, std::string>> fields_;
  any_body body_;
  bool expects_ = false;
};

namespace detail {
class exchange;
class decoding;
}  // namespace detail

/// An answer, whose body is still to be read. Its connection is kept for the next request once the
/// body was read to its end, and closed where it was not. Goes before its client.
class client_answer {
 public:
  explicit client_answer(std::unique_ptr<detail::exchange> of,
                         std::unique_ptr<detail::decoding> decoded = {});
  client_answer(client_answer&&) noexcept;
  client_answer& operator=(client_answer&&) noexcept;
  ~client_answer();

  int status() const;
  unsigned major_version() const;  ///< 1 or 2
  std::span<const http::field> fields() const;
  std::string_view field(std::string_view name) const;
  /// Whose answer it is, after redirects.
  const http::url& from() const;
  /// read() throws io_error: timed_out, connection_reset, error::end_of_stream (the connection
  /// ended within the body), protocol_error (malformed), error::limit_exceeded (most_expansion).
  body_reader body();
  /// Its body is given decompressed; the fields say what came.
  bool decoded() const { return decoded_ != nullptr; }

 private:
  std::unique_ptr<detail::exchange> exchange_;
  std::unique_ptr<detail::decoding> decoded_;
};

class client {
 public:
  /// Opens the connection to a host, before it is secured. Without one it is weir::connect() where
  /// names were built in; else hosts are addresses, and "localhost" is ::1 or 127.0.0.1.
  using connector = std::function<task<any_stream>(shard&, const url& to)>;

  /// On the shard's thread, like everything here.
  explicit client(shard& owner, const client_settings& settings = {}, connector by = {});
  /// With a context of its own for https, which outlives it; else what [tls] in the configuration
  /// says is trusted.
  client(shard& owner, tls::client_context& trust, const client_settings& settings = {},
         connector by = {});
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// Throws io_error: what connecting throws (tls::tls_error says whom it does not trust),
  /// timed_out (what() names the phase), protocol_error (the answer is malformed, too large, or a
  /// redirect that leads nowhere), error::end_of_stream; std::invalid_argument for a URL that is
  /// none, or that cannot be followed here (https where TLS was not built in).
  task<client_answer> get(std::string url);
  /// `asked` stays until the answer is there. A kept connection that has ended meanwhile is
  /// replaced once, where the method is idempotent (RFC 9110 9.2.2) and the body can be sent again.
  /// 301, 302 and 303 become GET, as browsers have it; fields that name a user are left out on
  /// another origin.
  task<client_answer> send(client_request& asked);

  void close_idle();
  const client_counters& counters() const;

  struct state;

 private:
  std::unique_ptr<state> state_;
};

}  // namespace weir::http
