// Server-sent events (HTML Living Standard 9.2): an answer that goes on for as long as there is
// something to tell, which browsers read with EventSource.
//
//   site.get("/ticks", [](http::request&) -> task<http::response> {
//     co_return http::event_stream([](http::event_writer& to) -> task<> {
//       for (int i = 0;; ++i) {
//         co_await to.send({.data = std::to_string(i)});   // the text outlives the co_await
//         co_await weir::sleep_for(1s);
//       }
//     });
//   });
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "weir/detail/timer.hpp"
#include "weir/http/body.hpp"
#include "weir/http/response.hpp"
#include "weir/task.hpp"

namespace weir::http {

struct server_event {
  std::string_view data;               ///< any text; may have several lines
  std::string_view name = {};          ///< of its kind; empty: "message"
  std::string_view id = {};            ///< what a client that comes again has seen: Last-Event-ID
  std::optional<duration> retry = {};  ///< how long a client waits before it comes again
};

/// What goes over the wire for it. Throws std::invalid_argument where a name or an id has a line
/// end or a zero byte, and for an event of nothing.
std::string event_text(const server_event& what);

class event_writer {
 public:
  explicit event_writer(body_writer& to) : to_(&to) {}

  /// Returns when the connection has taken it, at the client's speed. Throws io_error once the
  /// client has gone.
  task<> send(const server_event& what);
  /// A line that clients pass over: whoever stands between sees that the connection lives, and a
  /// client that has gone is noticed.
  task<> keep_alive();

 private:
  body_writer* to_;
};

/// The answer. `tell` is kept until it returns, which ends the stream: clients come again, unless
/// they are answered 204. At the request to stop it has the server's drain to return.
response event_stream(std::function<task<>(event_writer&)> tell);

}  // namespace weir::http
