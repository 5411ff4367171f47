// Requests and their answers as the client has them, and the connections that are kept between
// them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "runtime/http/wire/response_parser.hpp"
#include "weir/http/client.hpp"
#include "weir/scope.hpp"
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

class h2_link;

/// The connections of one origin: those that are kept, and the right to open more.
struct client_origin {
  explicit client_origin(std::size_t most) : permits(most) {}
  semaphore permits;
  std::vector<std::unique_ptr<client_connection>> idle;
  // HTTP/2: one connection for all requests, as long as it takes more.
  std::shared_ptr<h2_link> link;
  semaphore opening{1};    // until it is known what the origin speaks
  bool speaks_h1 = false;  // it was asked, and has no HTTP/2
};

/// Gives a permit back, unless somebody else has it.
class permit_guard {
 public:
  explicit permit_guard(semaphore& of) : of_(&of) {}
  ~permit_guard() {
    if (of_ != nullptr) of_->release();
  }
  permit_guard(const permit_guard&) = delete;
  permit_guard& operator=(const permit_guard&) = delete;
  void keep() { of_ = nullptr; }

 private:
  semaphore* of_;
};

/// A stream to an origin, and what it has agreed to speak.
struct reached {
  any_stream stream;
  bool h2 = false;
};

}  // namespace detail

struct client::state {
  state(shard& on, const client_settings& how, connector by)
      : owner(on), settings(how), connect(std::move(by)), links(on) {
    links.on_failure([](const std::exception_ptr&) {});  // of a connection: its requests hear it
  }
  ~state() { *self = nullptr; }
  state(const state&) = delete;
  state& operator=(const state&) = delete;

  std::shared_ptr<detail::client_origin> origin_of(const url& to);
  /// A kept connection that still stands, or none.
  task<std::unique_ptr<detail::client_connection>> take_idle(detail::client_origin& of);
  /// With `h2`, HTTP/2 is offered.
  task<detail::reached> open(const url& to, bool h2);
  task<detail::reached> reach(const url& to, bool h2);
  task<detail::reached> secure(any_stream plain, const url& to, bool h2);
  /// Finds a connection, or the right to one.
  task<std::unique_ptr<detail::exchange>> begin(const url& to);
  /// The same in HTTP/2; null where the origin has none, and then `opened` may be a connection,
  /// whose permit is the caller's.
  task<std::unique_ptr<detail::exchange>> begin_h2(
      const std::shared_ptr<detail::client_origin>& origin, const url& to,
      std::unique_ptr<detail::client_connection>& opened);
  bool may_speak_h2(const url& to) const;
  tls::client_context& trusted();
  void keep(detail::client_origin& of, std::unique_ptr<detail::client_connection> one);
  /// Closes the idle connections whose time is over. Gives when the next one's is.
  std::optional<instant> close_expired();
  void close_oldest();
  /// Closes connections as their time ends, while any is idle: one that the server has ended would
  /// stay half closed until somebody asks its origin again.
  static task<> sweep(std::shared_ptr<state*> of);

  shard& owner;
  client_settings settings;
  connector connect;
  tls::client_context* trust = nullptr;
  std::shared_ptr<tls::client_context> own_trust;
  client_counters counters;
  std::map<std::string, std::shared_ptr<detail::client_origin>> origins;
  std::size_t idle = 0;                                           // connections, of all origins
  bool sweeping = false;                                          // sweep() runs
  std::shared_ptr<state*> self = std::make_shared<state*>(this);  // null once this has gone
  scope links;  // the tasks of HTTP/2 connections, and sweep()
};

namespace detail {

/// One request and its answer, until the answer was read to its end.
class exchange {
 public:
  explicit exchange(http::url to) : to_(std::move(to)) {}
  exchange(const exchange&) = delete;
  exchange& operator=(const exchange&) = delete;
  virtual ~exchange() = default;

  /// Sends the request and reads the answer's head. False: no server has processed it, and it may
  /// be sent again, on another connection.
  virtual task<bool> perform(const client_request& asked, method as, bool with_body,
                             bool keep_user) = 0;
  virtual const wire::response_head& head() const = 0;
  virtual unsigned major_version() const = 0;
  virtual body_reader body() = 0;
  /// Reads what is left of a body that nobody wants, if it is small.
  task<> drop_body();
  const http::url& to() const { return to_; }

 protected:
  http::url to_;
};

/// RFC 9110 9.2.2.
bool is_idempotent(method what);
/// Of a streamed body whose length was said, to be exactly so long. Throw std::logic_error.
void take_from(std::optional<std::uint64_t>& left, std::size_t bytes);
void check_all_written(const std::optional<std::uint64_t>& left);
/// Why two that ran at once, and of which one cancelled the other, came to nothing.
std::error_code first_failure(std::error_code sent, std::error_code read);
bool names_a_user(std::string_view field);
/// The client's own Accept-Encoding goes with this request.
bool asks_for_codings(const client_settings& how, const client_request& asked);

}  // namespace detail

}  // namespace weir::http
