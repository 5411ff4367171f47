// WebSocket (RFC 6455) on a connection that HTTP has handed over, both sides, with
// permessage-deflate (RFC 7692). One coroutine receives; any may send, also meanwhile.
//
//   site.get("/chat", [](http::request& r) -> task<http::response> {
//     co_return http::websocket_upgrade(r, [](http::websocket& peer) -> task<> {
//       for (;;) {
//         auto said = co_await peer.receive();
//         if (!said) break;  // closed
//         co_await peer.send(said->data);
//       }
//     });
//   });
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "weir/http/request.hpp"
#include "weir/http/response.hpp"
#include "weir/http/url.hpp"
#include "weir/stream.hpp"
#include "weir/task.hpp"

namespace weir::http {

/// no_limit: never.
struct websocket_settings {
  std::size_t max_message = 1024 * 1024;  ///< bytes, decompressed; beyond: closed with 1009
  std::size_t max_fragments = 4096;       ///< of a message; beyond: closed with 1009
  bool compress = true;                   ///< permessage-deflate, where the peer has it
  std::size_t compress_from = 256;        ///< bytes; a shorter message is sent as it is
  duration ping_after = std::chrono::seconds(30);  ///< of silence; after as long again: timed_out
  /// For a peer that does not read; of a client also for the server's answer to its handshake.
  duration write_timeout = std::chrono::seconds(30);
  duration close_timeout = std::chrono::seconds(5);  ///< for the peer's half of the closing
  /// Of a server: take pages of other origins than its own host, whose browser sends its user's
  /// cookies along.
  bool any_origin = false;
};

namespace detail {
class websocket_state;
}

class websocket {
 public:
  struct message {
    bool is_text = true;  ///< valid UTF-8
    std::string data;
  };

  explicit websocket(std::unique_ptr<detail::websocket_state> state);
  websocket(websocket&&) noexcept;
  websocket& operator=(websocket&&) noexcept;
  ~websocket();

  /// The next message; nothing once the connection is closed, by the peer's closing, by its breach
  /// of the protocol, by the request to stop (1001) or by close(). Pings are answered on the way.
  /// Throws io_error: connection_reset, timed_out, error::end_of_stream (ended without a closing).
  task<std::optional<message>> receive();
  /// Returns when the connection has taken the message. Throws io_error; broken_pipe after close().
  task<> send(std::string_view text);
  task<> send_binary(std::span<const std::byte> bytes);
  /// Says goodbye and waits for the peer's answer, while nobody receives. A reason has at most 123
  /// bytes, a code is 1000 to 1014 without 1004 to 1006, or 3000 to 4999. Throws
  /// std::invalid_argument, io_error.
  task<> close(std::uint16_t code = 1000, std::string reason = {});

  /// What the peer closed with: 1005 where it named no code, 1006 where it said nothing.
  std::uint16_t close_code() const;
  const std::string& close_reason() const;
  /// Whether messages are compressed.
  bool compressed() const;

 private:
  std::unique_ptr<detail::websocket_state> state_;
};

/// The answer to a request that asks for a WebSocket: 101, after which `session` runs; it is closed
/// when that returns. 400, 403 (another origin) or 426 for what is no such request.
response websocket_upgrade(const request& asked, std::function<task<>(websocket&)> session,
                           const websocket_settings& settings = {});

/// On a connection to the URL's host. Throws io_error: protocol_error where the server does not
/// switch.
task<websocket> open_websocket(any_stream stream, url to, const websocket_settings& settings = {});

}  // namespace weir::http
