// One request and its answer on one connection, and the connections that are kept between them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "http/wire/response_parser.hpp"
#include "weir/http/client.hpp"
#include "weir/sync.hpp"

namespace weir::http {

namespace detail {

/// Whether TLS was built in.
bool can_secure();
/// The connector where none is given.
task<any_stream> connect_to_host(shard& owner, const url& to);

/// A connection to an origin.
struct client_connection {
  explicit client_connection(any_stream s) : stream(std::move(s)) {}

  any_stream stream;
  instant idle_since;
  std::array<std::byte, 16 * 1024> buffer;
};

/// The connections of one origin: those that are kept, and the right to open more.
struct client_origin {
  explicit client_origin(std::size_t most) : permits(most) {}
  semaphore permits;
  std::vector<std::unique_ptr<client_connection>> idle;
};

}  // namespace detail

struct client::state {
  state(shard& on, const client_settings& how, connector by)
      : owner(on), settings(how), connect(std::move(by)) {}

  detail::client_origin& origin_of(const url& to);
  /// A kept connection that still stands, or none.
  task<std::unique_ptr<detail::client_connection>> take_idle(detail::client_origin& of);
  task<std::unique_ptr<detail::client_connection>> open(const url& to);
  task<any_stream> reach(const url& to);
  task<any_stream> secure(any_stream plain, const url& to);
  tls::client_context& trusted();
  void keep(detail::client_origin& of, std::unique_ptr<detail::client_connection> one);

  shard& owner;
  client_settings settings;
  connector connect;
  tls::client_context* trust = nullptr;
  std::shared_ptr<tls::client_context> own_trust;
  client_counters counters;
  std::map<std::string, std::unique_ptr<detail::client_origin>> origins;
  std::size_t idle = 0;  // connections, of all origins
};

namespace detail {

/// Has a connection, and the permit of its origin for it, until the answer was read to its end.
class exchange final : private body_source, private body_sink {
 public:
  exchange(client::state& of, client_origin& origin, http::url to)
      : client_(of), origin_(origin), to_(std::move(to)), parser_({.head = of.settings.max_head}) {}
  exchange(const exchange&) = delete;
  exchange& operator=(const exchange&) = delete;
  ~exchange() { leave(); }

  /// Finds a connection, sends the request and reads the answer's head.
  task<> perform(const client_request& asked, method as, bool with_body, bool keep_user);
  /// Reads what is left of a body that nobody wants, if it is small.
  task<> drop_body();

  const wire::response_head& head() const { return parser_.head(); }
  const http::url& to() const { return to_; }
  body_reader body() { return body_reader(static_cast<body_source&>(*this)); }

 private:
  void leave();
  task<> connect(bool kept);
  task<std::error_code> attempt(const client_request& asked, method as);
  void write_head(const client_request& asked, method as, bool keep_user);
  task<std::error_code> send_body(const client_request& asked);
  task<> send_beside(const client_request& asked);
  task<> read_beside();
  task<std::error_code> read_head(duration limit);
  task<std::error_code> send(std::span<const std::byte> bytes);

  task<std::span<const std::byte>> read_body() override;
  std::span<const field> body_trailers() const override { return parser_.trailers(); }
  task<> write_body(std::span<const std::byte> bytes) override;
  void add_trailer(std::string_view name, std::string_view value) override;

  client::state& client_;
  client_origin& origin_;
  http::url to_;
  wire::response_parser parser_;
  std::unique_ptr<client_connection> connection_;
  std::span<const std::byte> unread_;
  std::string head_, trailers_;
  event may_send_body_;
  std::error_code sent_, read_;
  bool permitted_ = true;
  bool kept_ = false;  // the connection has had a request before
  bool with_body_ = true;
  bool chunked_ = false;
  bool all_sent_ = false;
  bool head_read_ = false;
  bool complete_ = false;  // the answer's last byte was taken
};

}  // namespace detail

}  // namespace weir::http
